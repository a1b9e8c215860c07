"""The ear: netlink events, which only ever say "look again"."""

from __future__ import annotations

import errno
import socket

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
    messages,
)

# RTNLGRP_*: link, IPv4 address, route, rule, IPv6 address, route, rule, IPv4 netconf (rp_filter), nexthop.
GROUPS = (1, 5, 7, 8, 9, 11, 19, 24, 32)

NAMES = {
    NEWLINK: "link", DELLINK: "link", NEWADDR: "address", DELADDR: "address", NEWROUTE: "route",
    DELROUTE: "route", NEWRULE: "rule", DELRULE: "rule", NEWNETCONF: "sysctl", NEWNEXTHOP: "nexthop",
    DELNEXTHOP: "nexthop",
}  # fmt: skip

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
        self._own = own_port

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._sock.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._sock.close()

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
