"""Packets are read from their bytes; what cannot be read is kept, not lost."""

from __future__ import annotations

import ipaddress
import struct

from labkit.packet import ETH_ARP, ETH_IP, ETH_IPV6, Packet, parse

A4, B4 = "10.0.1.2", "192.0.2.9"
A6, B6 = "fd00:0:1::2", "2001:db8:9::9"
UDP = struct.pack("!HHHH", 4000, 53, 11, 0) + b"abc"
TCP = struct.pack("!HHIIBBHHH", 4000, 80, 1, 0, 0x60, 0x12, 1, 0, 0) + b"\1\1\1\1" + b"data"


def ipv4(proto: int, body: bytes, *, place: int = 0, options: bytes = b"") -> bytes:
    """An IPv4 packet."""
    head = 5 + len(options) // 4
    start = struct.pack("!BBHHHBBH", 0x40 | head, 0, head * 4 + len(body), 1, place, 61, proto, 0)
    return start + ipaddress.IPv4Address(A4).packed + ipaddress.IPv4Address(B4).packed + options + body


def ipv6(proto: int, body: bytes) -> bytes:
    """An IPv6 packet."""
    start = struct.pack("!IHBB", 6 << 28, len(body), proto, 62)
    return start + ipaddress.IPv6Address(A6).packed + ipaddress.IPv6Address(B6).packed + body


def read(raw: bytes, ethertype: int) -> Packet:
    """Reads it as seen coming in."""
    return parse("r1", "eth0", "in", 1.5, ethertype, raw)


def test_udp() -> None:
    raw = ipv4(17, UDP)
    want = Packet("r1", "eth0", "in", 1.5, 4, A4, B4, 17, 4000, 53, "", 61, b"abc", raw)
    assert read(raw, ETH_IP) == want
    assert str(want) == "r1 eth0 in udp 10.0.1.2 4000 > 192.0.2.9 53 ttl 61 (3 bytes)"


def test_options_of_ip_and_tcp_are_stepped_over() -> None:
    packet = read(ipv4(6, TCP, options=b"\1" * 8), ETH_IP)
    assert (packet.sport, packet.dport, packet.flags, packet.payload) == (4000, 80, "SA", b"data")


def test_padding_after_the_packet_is_no_payload() -> None:
    assert read(ipv4(17, UDP) + b"\0" * 18, ETH_IP).payload == b"abc"


def test_a_later_fragment_has_no_ports() -> None:
    packet = read(ipv4(17, UDP, place=0x2001), ETH_IP)
    assert (packet.proto, packet.sport, packet.payload) == (17, 0, UDP)


def test_ipv6_with_extension_headers() -> None:
    hop, fragment = bytes([44, 0, *[0] * 6]), bytes([17, 0, 0, 1, *[0] * 4])  # the first fragment
    packet = read(ipv6(0, hop + fragment + UDP), ETH_IPV6)
    assert (packet.family, packet.src, packet.dst, packet.ttl) == (6, A6, B6, 62)
    assert (packet.proto, packet.dport, packet.payload) == (17, 53, b"abc")


def test_icmp_shows_type_and_code() -> None:
    assert (read(ipv6(58, bytes(8)), ETH_IPV6).sport, read(ipv4(1, bytes([3, 1, *[0] * 6])), ETH_IP).dport) == (0, 1)


def test_what_is_no_ip_and_what_is_cut_short_is_kept() -> None:
    assert read(bytes(28), ETH_ARP) == Packet("r1", "eth0", "in", 1.5, ETH_ARP, raw=bytes(28))
    assert read(b"\x45", ETH_IP).raw == b"\x45"
    assert read(ipv4(6, b"\0"), ETH_IP).payload == b"\0"
