"""A packet as it was seen on a device, and how it is read from its bytes."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import Literal

ETH_IP, ETH_IPV6, ETH_ARP = 0x0800, 0x86DD, 0x0806
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
EXTENSIONS = {0: 8, 43: 8, 60: 8, 135: 8, 51: 4}  # header to the unit of its length field (51: less one)
FRAGMENT = 44
WITH_PORTS = {UDP, 33, 132, 136}  # DCCP, SCTP and UDP-Lite have their ports where UDP has them
FLAGS = "FSRPAUEC"
PROTOCOLS = {TCP: "tcp", UDP: "udp", ICMP: "icmp", ICMP6: "icmp6"}

Way = Literal["in", "out"]


@dataclass(frozen=True, slots=True)
class Packet:
    """What was seen.

    Args:
        host, dev: where.
        way: "in" to that host, "out" of it.
        at: seconds since the epoch, by the kernel's clock, when it was seen.
        family: 4, 6, or the EtherType of what is no IP (0x0806: ARP).
        src, dst: addresses; empty when not IP.
        proto: IP protocol number.
        sport, dport: ports; for ICMP type and code; 0 where there are none.
        flags: TCP flags, letters of "FSRPAUEC".
        ttl: time to live, hop limit.
        payload: what follows the TCP, UDP or ICMP header.
        raw: the packet from its IP header on.
    """

    host: str
    dev: str
    way: Way
    at: float
    family: int
    src: str = ""
    dst: str = ""
    proto: int = 0
    sport: int = 0
    dport: int = 0
    flags: str = ""
    ttl: int = 0
    payload: bytes = b""
    raw: bytes = b""

    def __str__(self) -> str:
        if self.family not in {4, 6}:
            return f"{self.host} {self.dev} {self.way} ethertype 0x{self.family:04x} ({len(self.raw)} bytes)"
        kind = PROTOCOLS.get(self.proto, str(self.proto))
        flags = f" [{self.flags}]" if self.flags else ""
        return (
            f"{self.host} {self.dev} {self.way} {kind} {self.src} {self.sport} > {self.dst} {self.dport}{flags}"
            f" ttl {self.ttl} ({len(self.payload)} bytes)"
        )


def parse(host: str, dev: str, way: Way, at: float, ethertype: int, raw: bytes) -> Packet:
    """Reads a packet; what cannot be read stays in `raw`, and no packet is left out.

    Args:
        host: where it was seen.
        dev: device on which it was seen.
        way: into the host or out of it.
        at: when.
        ethertype: protocol of the frame.
        raw: its bytes from the network header on.
    """
    if ethertype == ETH_IP and len(raw) >= 20:
        return _ipv4(host, dev, way, at, raw)
    if ethertype == ETH_IPV6 and len(raw) >= 40:
        return _ipv6(host, dev, way, at, raw)
    return Packet(host, dev, way, at, ethertype, raw=raw)


def _ipv4(host: str, dev: str, way: Way, at: float, raw: bytes) -> Packet:
    (length,), (place, ttl, proto) = struct.unpack_from("!H", raw, 2), struct.unpack_from("!HBB", raw, 6)
    src, dst = (str(ipaddress.IPv4Address(raw[start : start + 4])) for start in (12, 16))
    body = raw[(raw[0] & 15) * 4 : length or None]
    upper = _upper(proto, body, whole=not place & 0x1FFF)
    return Packet(host, dev, way, at, 4, src, dst, proto, *upper[:3], ttl, upper[3], raw)


def _ipv6(host: str, dev: str, way: Way, at: float, raw: bytes) -> Packet:
    length, proto, ttl = struct.unpack_from("!HBB", raw, 4)
    src, dst = (str(ipaddress.IPv6Address(raw[start : start + 16])) for start in (8, 24))
    end, place, whole = 40 + length if length else len(raw), 40, True
    while len(raw) >= place + 8 and (proto in EXTENSIONS or proto == FRAGMENT):
        if proto == FRAGMENT:
            whole = whole and not struct.unpack_from("!H", raw, place + 2)[0] & 0xFFF8
            size = 8
        else:
            size = raw[place + 1] * EXTENSIONS[proto] + 8
        proto, place = raw[place], place + size
    upper = _upper(proto, raw[place:end], whole=whole)
    return Packet(host, dev, way, at, 6, src, dst, proto, *upper[:3], ttl, upper[3], raw)


def _upper(proto: int, body: bytes, *, whole: bool) -> tuple[int, int, str, bytes]:
    """Source and destination port, TCP flags, payload; a later fragment is all payload."""
    if whole and proto == TCP and len(body) >= 20:
        flags = "".join(letter for bit, letter in enumerate(FLAGS) if body[13] & 1 << bit)
        return *struct.unpack_from("!HH", body), flags, body[(body[12] >> 4) * 4 :]
    if whole and proto in WITH_PORTS and len(body) >= 8:
        return *struct.unpack_from("!HH", body), "", body[8:]
    if whole and proto in {ICMP, ICMP6} and len(body) >= 8:
        return body[0], body[1], "", body[8:]
    return 0, 0, "", body
