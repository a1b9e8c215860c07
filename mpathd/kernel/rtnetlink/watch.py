"""The ear: netlink events, which only ever say "look again"."""

from __future__ import annotations

import errno
import select
import socket
import struct
from array import array
from contextlib import suppress

from ..netlink import messages
from .socket import bound
from .wire import (
    DELADDR,
    DELLINK,
    DELNEXTHOP,
    DELROUTE,
    DELRULE,
    NEWADDR,
    NEWLINK,
    NEWNETCONF,
    NEWNEXTHOP,
    NEWROUTE,
    NEWRULE,
)

# RTNLGRP_*: link, IPv4 address, route, rule, IPv6 address, route, rule, IPv4 netconf (rp_filter), nexthop.
GROUPS = (1, 5, 7, 8, 9, 11, 19, 24, 32)

NAMES = {
    NEWLINK: "link", DELLINK: "link", NEWADDR: "address", DELADDR: "address gone", NEWROUTE: "route",
    DELROUTE: "route", NEWRULE: "rule", DELRULE: "rule", NEWNETCONF: "sysctl", NEWNEXTHOP: "nexthop",
    DELNEXTHOP: "nexthop",
}  # fmt: skip

SO_ATTACH_FILTER = 26  # asm-generic/socket.h; Python's socket module lacks it
PORT_AT = 12  # of nlmsg_pid in struct nlmsghdr
FILTER = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, if false, operand
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
WHOLE = 0xFFFFFFFF

AT_ONCE = 64  # datagrams that one wake-up takes; the rest comes with the next


class Watch:
    """A subscription to rtnetlink.

    Args:
        own_port: port of our writing socket; echoes of our own writes are passed over, since every one of
            them was answered already.
    """

    def __init__(self, own_port: int = 0) -> None:
        self._sock = bound(GROUPS)
        self._sock.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._sock, select.POLLIN)
        self._own = own_port
        if own_port:
            with suppress(OSError):  # echoes are passed over all the same, but each costs 20 us
                _pass_over(self._sock, own_port)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._sock.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._sock.close()

    def waiting(self) -> bool:
        """Whether something has arrived that nobody has taken."""
        return bool(self._poll.poll(0))

    def drain(self) -> set[str]:
        """Take what has arrived and tell which kinds of objects changed; empty means only echoes."""
        kinds: set[str] = set()
        for _ in range(AT_ONCE):
            try:
                data = self._sock.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                kinds.add("overrun")  # the kernel had more than the buffer holds: look again, nothing else
                continue
            for kind, _, _, port, _, _ in messages(data):
                if not self._own or port != self._own:
                    kinds.add(NAMES.get(kind, "other"))
        return kinds


def _pass_over(sock: socket.socket, port: int) -> None:
    """Let the kernel keep back what comes of a port; it tells one thing in each datagram (rtnl_notify)."""
    (word,) = struct.unpack(">I", struct.pack("=I", port))  # a filter loads in network order
    lines = ((LOAD, 0, 0, PORT_AT), (EQUAL, 0, 1, word), (RETURN, 0, 0, 0), (RETURN, 0, 0, WHOLE))
    program = array("B", b"".join(FILTER.pack(*line) for line in lines))
    where, _ = program.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(lines), where))
