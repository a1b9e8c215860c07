"""Router advertisements (RFC 4861), sent from a lab's router."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct

from .topology import Advert

ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
SOLICITATION, ADVERTISEMENT = 133, 134
PREFERENCE = {"low": 0b11, "medium": 0b00, "high": 0b01}  # RFC 4191
ICMP6_FILTER = 1
JOIN_GROUP = 20  # IPV6_JOIN_GROUP


def message(advert: Advert, mac: bytes) -> bytes:
    """The ICMPv6 message; the kernel fills in its checksum.

    Args:
        advert: what is announced.
        mac: Ethernet address of the sending interface.
    """
    flags = PREFERENCE[advert.preference] << 3
    parts = [struct.pack("!BBHBBHII", ADVERTISEMENT, 0, 0, 64, flags, advert.lifetime, 0, 0)]
    parts.append(struct.pack("!BB6s", 1, 1, mac))
    if advert.prefix:
        prefix = ipaddress.IPv6Network(advert.prefix)
        parts.append(
            struct.pack(
                "!BBBBIII16s",
                *(3, 4, prefix.prefixlen, 0xC0, advert.valid, advert.preferred, 0),
                prefix.network_address.packed,
            ),
        )
    return b"".join(parts)


def listen(dev: str) -> socket.socket:
    """A socket on the interface that hears router solicitations and may advertise; open it in the router."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    index = socket.if_nametoindex(dev)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, dev.encode())
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
    group = socket.inet_pton(socket.AF_INET6, ALL_ROUTERS) + struct.pack("@I", index)
    sock.setsockopt(socket.IPPROTO_IPV6, JOIN_GROUP, group)
    passes = bytearray(b"\xff" * 32)  # a set bit blocks its type
    passes[SOLICITATION // 32 * 4 + SOLICITATION % 32 // 8] &= ~(1 << SOLICITATION % 8) & 0xFF
    sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, bytes(passes))
    return sock


def send(sock: socket.socket, advert: Advert, mac: bytes) -> None:
    """Sends the advertisement to all nodes of the link."""
    sock.sendto(message(advert, mac), (ALL_NODES, 0))


def hardware(sock: socket.socket, dev: str) -> bytes:
    """The Ethernet address of an interface in the namespace of the socket."""
    answer: bytes = fcntl.ioctl(sock, 0x8927, struct.pack("16s24x", dev.encode()))  # SIOCGIFHWADDR
    return answer[18:24]
