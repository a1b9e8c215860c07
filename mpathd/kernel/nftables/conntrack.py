"""Connections of sessions, as conntrack knows them: those of a mark are told, and forgotten."""

from __future__ import annotations

import struct

from ..netlink import F_ACK, attribute, attributes
from .netlink import Netfilter

CT_GET, CT_DELETE = (1 << 8) | 1, (1 << 8) | 2  # NFNL_SUBSYS_CTNETLINK; IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_DELETE
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_MARK, CTA_MARK_MASK = 1, 2, 8, 21
IP, PROTO = 1, 2  # CTA_TUPLE_IP, CTA_TUPLE_PROTO


def _marked(mark: int, mask: int) -> bytes:
    return b"".join(attribute(kind, struct.pack(">I", n)) for kind, n in ((CTA_MARK, mark), (CTA_MARK_MASK, mask)))


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
        there, back = (_tuple(found.get(kind, b"")) for kind in (CTA_TUPLE_ORIG, CTA_TUPLE_REPLY))
        if there is None or back is None:
            continue
        out |= {b"".join((there[1], there[2], there[4], sport)) for sport in (there[3], back[4])}
    return out


def _tuple(data: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes] | None:
    """Source, destination, protocol and both ports; None for what has no ports."""
    parts = attributes(data, 0, len(data))
    ip, proto = (attributes(parts.get(kind, b""), 0, len(parts.get(kind, b""))) for kind in (IP, PROTO))
    first = 1 if 1 in ip else 3  # CTA_IP_V4_SRC and _DST, or V6
    if not {first, first + 1} <= set(ip) or not {1, 2, 3} <= set(proto):  # CTA_PROTO_NUM, _SRC_PORT, _DST_PORT
        return None
    number, sport, dport = (proto[kind].ljust(4, b"\0") for kind in (1, 2, 3))
    return ip[first], ip[first + 1], number, sport, dport
