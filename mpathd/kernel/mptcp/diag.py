"""Connections and subflows that are alive, read from sock_diag.

MPTCP's own list has the connections; their subflows are TCP connections, and are in that list, with an attribute of
MPTCP's. Both carry the same token. One dump of each list per family, read as it comes: what is kept is what is MPTCP's.
"""

from __future__ import annotations

import errno
import heapq
import struct
from collections.abc import Callable, Container, Iterator
from functools import lru_cache, partial
from typing import TypeVar

from ...model.connections import Connection, Subflow, TcpState
from ...model.words import Address, Family
from ..netlink import U32, attribute, attributes
from ..sockdiag import (
    ATTRS_AT,
    ID,
    ID_AT,
    ID_REST,
    MESSAGE,
    NETLINK_SOCK_DIAG,
    SOCK_DIAG_BY_FAMILY,
    TAIL,
    TAIL_AT,
    request,
)
from .codec import plain
from .socket import Interrupted, Netlink

IPPROTO_TCP, IPPROTO_MPTCP = 6, 262
INFO, MARK, ULP_INFO = 2, 15, 19  # INET_DIAG_*, of answers
REQ_PROTOCOL = 3  # INET_DIAG_REQ_*
ULP_MPTCP = 3  # INET_ULP_INFO_MPTCP
GONE = (TcpState.TIME_WAIT, TcpState.CLOSE, TcpState.LISTEN)
STATES = sum(1 << state.value for state in TcpState if state not in GONE)
ABSENT = {errno.ENOENT, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP}  # no MPTCP, no IPv6

# struct mptcp_info: the head is of 5.9, the bytes are of 6.5; an older kernel gives fewer.
INFO_HEAD = struct.Struct("=BBBBBBxxII")  # subflows, signalled, accepted, their maxima, flags, token
INFO_BYTES = struct.Struct("=QQQQ")  # sent again, sent, received, acked
INFO_BYTES_AT = 48
FALLBACK = 0x1

# struct tcp_info.
TCP_RTT_AT, TCP_WINDOW_AT, TCP_RETRANS_AT = 68, 80, 100
TCP_BYTES = struct.Struct("=QQ")
TCP_ACKED_AT, TCP_SENT_AT = 120, 200  # acked and received; sent and sent again

# MPTCP_SUBFLOW_ATTR_* and MPTCP_SUBFLOW_FLAG_*.
SUB_TOKEN, SUB_FLAGS, SUB_REMOTE, SUB_LOCAL = 2, 8, 9, 10
JOINED, BACKUP_REMOTE, BACKUP_LOCAL, FULLY = 0x4 | 0x8, 0x10, 0x20, 0x40

T = TypeVar("T")


class Diag:
    """The eye on connections; it belongs to the network namespace in which it was made."""

    def __init__(self) -> None:
        self._netlink = Netlink(NETLINK_SOCK_DIAG)

    def close(self) -> None:
        """Give the socket back."""
        self._netlink.close()

    def connections(self) -> tuple[Connection, ...]:
        """Read the MPTCP connections that are alive."""
        found = {c.cookie: c for c in self._every(IPPROTO_MPTCP, connection)}
        return tuple(found.values())

    def busiest(self, most: int) -> tuple[tuple[Connection, ...], int]:
        """Read them, keep those that have carried most, and tell how many there are; the others take no memory.

        Args:
            most: connections to keep.
        """
        kept: list[tuple[int, int, int, Connection]] = []
        number = 0
        for number, one in enumerate(self._every(IPPROTO_MPTCP, connection), 1):
            entry = (one.acked + one.received, one.cookie, number, one)  # a later one of equal weight is younger
            if len(kept) < most:
                heapq.heappush(kept, entry)
            elif kept:
                heapq.heappushpop(kept, entry)
        found = {one.cookie: one for *_, one in kept}
        return tuple(found.values()), number

    def subflows(self, tokens: Container[int] | None = None) -> tuple[Subflow, ...]:
        """Read the subflows that are alive; the kernel shows them to CAP_NET_ADMIN alone.

        Args:
            tokens: of the connections whose subflows are wanted; None for all.
        """
        found = {s.cookie: s for s in self._every(IPPROTO_TCP, partial(subflow, tokens=tokens))}
        return tuple(found.values())

    def _every(self, protocol: int, read: Callable[[bytes], T | None]) -> Iterator[T]:
        for family in Family:
            # The header has a byte for the protocol; the attribute, which wins, has room for MPTCP's 262.
            body = request(family, protocol, STATES, 1 << (INFO - 1))
            body += attribute(REQ_PROTOCOL, U32.pack(protocol))
            try:
                for answer in self._netlink.dump(SOCK_DIAG_BY_FAMILY, body):
                    if (one := read(answer)) is not None:
                        yield one
            except Interrupted:
                continue  # sockets came or went meanwhile; all that stayed have been told
            except OSError as error:
                if error.errno not in ABSENT:
                    raise


@lru_cache(maxsize=4096)
def _text(family: int, raw: bytes) -> Address:
    return plain(raw[:4] if family == Family.INET else raw)


def connection(body: bytes) -> Connection | None:
    """Read one of MPTCP's own list.

    Args:
        body: inet_diag_msg and attributes.
    """
    attrs = attributes(body, ATTRS_AT, len(body))
    info = attrs.get(INFO, b"")
    if len(info) < INFO_HEAD.size:
        return None
    family, state, _, _ = MESSAGE.unpack_from(body)
    sport, dport, source, destination = ID.unpack_from(body, ID_AT)
    _, cookie = ID_REST.unpack_from(body, ID_AT + ID.size)
    _, _, _, user, inode = TAIL.unpack_from(body, TAIL_AT)
    subflows, _, _, subflows_max, _, _, flags, token = INFO_HEAD.unpack_from(info)
    whole = len(info) >= INFO_BYTES_AT + INFO_BYTES.size
    again, sent, received, acked = INFO_BYTES.unpack_from(info, INFO_BYTES_AT) if whole else (0, 0, 0, 0)
    return Connection(
        token=token,
        source=_text(family, source),
        sport=sport,
        destination=_text(family, destination),
        dport=dport,
        state=TcpState(state),
        user=user,
        inode=inode,
        fallback=bool(flags & FALLBACK),
        subflows=subflows,
        subflows_max=subflows_max,
        sent=sent,
        acked=acked,
        received=received,
        retransmitted=again,
        mark=_mark(attrs),
        cookie=cookie,
    )


def subflow(body: bytes, tokens: Container[int] | None = None) -> Subflow | None:
    """Read one of TCP's list, None if it is no subflow, or not wanted.

    Args:
        body: inet_diag_msg and attributes.
        tokens: of the connections whose subflows are wanted; None for all.
    """
    found = attributes(body, ATTRS_AT, len(body))
    if ULP_INFO not in found:
        return None
    protocols = attributes(found[ULP_INFO], 0, len(found[ULP_INFO]))
    if ULP_MPTCP not in protocols:
        return None
    own = attributes(protocols[ULP_MPTCP], 0, len(protocols[ULP_MPTCP]))
    if tokens is not None and U32.unpack(own[SUB_TOKEN])[0] not in tokens:
        return None
    flags = U32.unpack(own[SUB_FLAGS])[0]
    family, state, _, _ = MESSAGE.unpack_from(body)
    sport, dport, source, destination = ID.unpack_from(body, ID_AT)
    index, cookie = ID_REST.unpack_from(body, ID_AT + ID.size)
    info = found.get(INFO, b"").ljust(TCP_SENT_AT + TCP_BYTES.size, b"\0")  # an old kernel gives fewer bytes
    acked, received = TCP_BYTES.unpack_from(info, TCP_ACKED_AT)
    sent, again = TCP_BYTES.unpack_from(info, TCP_SENT_AT)
    return Subflow(
        token=U32.unpack(own[SUB_TOKEN])[0],
        source=_text(family, source),
        sport=sport,
        destination=_text(family, destination),
        dport=dport,
        state=TcpState(state),
        index=index,
        local=own[SUB_LOCAL][0],
        remote=own[SUB_REMOTE][0],
        backup=bool(flags & BACKUP_LOCAL),
        backup_asked=bool(flags & BACKUP_REMOTE),
        joined=bool(flags & JOINED),
        established=bool(flags & FULLY),
        sent=sent,
        acked=acked,
        received=received,
        retransmitted=again,
        retransmissions=U32.unpack_from(info, TCP_RETRANS_AT)[0],
        rtt=U32.unpack_from(info, TCP_RTT_AT)[0],
        window=U32.unpack_from(info, TCP_WINDOW_AT)[0],
        mark=_mark(found),
        cookie=cookie,
    )


def _mark(found: dict[int, bytes]) -> int:
    return int(U32.unpack(found[MARK])[0]) if MARK in found else 0
