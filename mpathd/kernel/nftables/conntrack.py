"""Connections, as conntrack knows them: they are told to it, and those of a mark are told by it, and forgotten."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from ..netlink import F_ACK, F_CREATE, F_EXCL, NESTED, attribute, attributes
from .netlink import Netfilter

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
CT_NEW, CT_GET, CT_DELETE = (1 << 8 | kind for kind in range(3))  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_*
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_STATUS, CTA_PROTOINFO, CTA_TIMEOUT, CTA_MARK, CTA_MARK_MASK = 1, 2, 3, 4, 7, 8, 21
CTA_TUPLE_IP, CTA_TUPLE_PROTO = 1, 2
STATUS = 0x2 | 0x4 | 0x8  # IPS_SEEN_REPLY, IPS_ASSURED, IPS_CONFIRMED (without it: EBUSY)
# As if established, and with any window, of which nothing is known (IP_CT_TCP_FLAG_BE_LIBERAL, flag and mask).
LIBERAL = b"\x08\x08"
ESTABLISHED_TCP = attribute(
    CTA_PROTOINFO | NESTED,
    attribute(1 | NESTED, attribute(1, b"\x03") + attribute(4, LIBERAL) + attribute(5, LIBERAL)),
)
LASTS = {TCP: 432_000, UDP: 120}  # seconds: the kernel's own (nf_conntrack_proto_tcp.c, nf_conntrack_proto_udp.c)
BATCH = 256  # messages at a time: 40 KiB, less than a socket takes

U32 = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Talk:
    """A connection, as conntrack sees it: who opened it comes first.

    Args:
        protocol: TCP or UDP.
        source: address of who opened it, 4 or 16 bytes.
        sport: port, 2 bytes in network order.
        destination: of the other.
        dport: likewise.
    """

    protocol: int
    source: bytes
    sport: bytes
    destination: bytes
    dport: bytes


def entry(talk: Talk) -> bytes:
    """Build conntrack's attributes of a connection.

    Args:
        talk: the connection.
    """
    out = _tuple(CTA_TUPLE_ORIG, talk.protocol, talk.source, talk.sport, talk.destination, talk.dport)
    out += _tuple(CTA_TUPLE_REPLY, talk.protocol, talk.destination, talk.dport, talk.source, talk.sport)
    if talk.protocol == TCP:
        out += ESTABLISHED_TCP
    return out + attribute(CTA_STATUS, U32.pack(STATUS)) + attribute(CTA_TIMEOUT, U32.pack(LASTS[talk.protocol]))


def _tuple(kind: int, protocol: int, source: bytes, sport: bytes, destination: bytes, dport: bytes) -> bytes:
    first = 1 if len(source) == 4 else 3  # CTA_IP_V4_SRC and _DST, or V6
    addresses = attribute(first, source) + attribute(first + 1, destination)
    ports = attribute(1, bytes((protocol,))) + attribute(2, sport) + attribute(3, dport)
    return attribute(
        kind | NESTED, attribute(CTA_TUPLE_IP | NESTED, addresses) + attribute(CTA_TUPLE_PROTO | NESTED, ports)
    )


def introduce(netfilter: Netfilter, found: Iterable[Talk]) -> None:
    """Tell conntrack of connections; of those that it knows it hears nothing new.

    Args:
        netfilter: the socket to tell by.
        found: the connections.
    """
    bodies = [(socket.AF_INET if len(t.source) == 4 else socket.AF_INET6, entry(t)) for t in found]
    for at in range(0, len(bodies), BATCH):
        netfilter.tell(CT_NEW, F_CREATE | F_EXCL, bodies[at : at + BATCH])  # what conntrack knows better stays


def _marked(mark: int, mask: int) -> bytes:
    return b"".join(attribute(kind, U32.pack(n)) for kind, n in ((CTA_MARK, mark), (CTA_MARK_MASK, mask)))


def forget(netfilter: Netfilter, mark: int, mask: int) -> int:
    """Delete the conntrack entries of a mark and give errno, 0 if it is done: their next packets start anew.

    Args:
        netfilter: the socket to ask by.
        mark: of the session.
        mask: the bits of it that count; other programs' bits do not.
    """
    number, _ = netfilter.ask(CT_DELETE, _marked(mark, mask), F_ACK)
    return number


def flows(netfilter: Netfilter, mark: int, mask: int) -> set[bytes]:
    """Give where the connections of a mark go, as keys of nft: destination, protocol, its port and ours, each in whole
    registers of four bytes; of a translated one with both ports.

    Args:
        netfilter: the socket to ask by.
        mark: of the session.
        mask: the bits of it that count.
    """
    out: set[bytes] = set()
    for body in netfilter.dump(CT_GET, _marked(mark, mask), 0):
        found = attributes(body, 0, len(body))
        there, back = (_read(found.get(kind, b"")) for kind in (CTA_TUPLE_ORIG, CTA_TUPLE_REPLY))
        if there is not None and back is not None:
            out |= {_key(there, sport) for sport in (there.sport, back.dport)}
    return out


def _key(talk: Talk, sport: bytes) -> bytes:
    parts = (talk.destination, bytes((talk.protocol,)), talk.dport, sport)
    return b"".join(part + b"\0" * (-len(part) & 3) for part in parts)


def _read(data: bytes) -> Talk | None:
    """A tuple that conntrack tells; None for what has no ports."""
    parts = attributes(data, 0, len(data))
    inner = [parts.get(kind, b"") for kind in (CTA_TUPLE_IP, CTA_TUPLE_PROTO)]
    ip, proto = (attributes(part, 0, len(part)) for part in inner)
    first = 1 if 1 in ip else 3  # CTA_IP_V4_SRC and _DST, or V6
    if not {first, first + 1} <= set(ip) or not {1, 2, 3} <= set(proto):  # CTA_PROTO_NUM, _SRC_PORT, _DST_PORT
        return None
    return Talk(proto[1][0], ip[first], proto[2], ip[first + 1], proto[3])
