"""What the kernel tells of MPTCP connections: for people, for repair, and never a reason to believe without looking."""

from __future__ import annotations

import errno
from collections.abc import Callable
from socket import MSG_DONTWAIT

from ...model.mptcp import Event
from ..netlink import messages
from .codec import event
from .socket import Netlink, opened
from .wire import ADD_MEMBERSHIP, NETLINK_GENERIC, PM_EVENTS, PM_NAME, SOL_NETLINK

AT_ONCE = 256  # datagrams that one wake-up takes; the rest comes with the next
RECEIVE = 65536


class Events:
    """A subscription; it belongs to the network namespace in which it was made.

    Subscribing needs CAP_NET_ADMIN, and a kernel that has events (5.12): `heard` says whether it came about. The
    kernel numbers events like commands, so this socket asks nothing.
    """

    def __init__(self) -> None:
        asker = Netlink()
        try:
            family = asker.family(PM_NAME)
        finally:
            asker.close()
        self._family = family.id
        self._sock = opened(NETLINK_GENERIC)
        self._sock.setblocking(False)
        self.heard = False
        if PM_EVENTS in family.groups:
            try:
                self._sock.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, family.groups[PM_EVENTS])
                self.heard = True
            except PermissionError:
                pass  # --dry-run needs no rights, and no events

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._sock.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._sock.close()

    def drain(self, lost: Callable[[], None] = lambda: None, most: int = AT_ONCE) -> tuple[Event, ...]:
        """Take what has arrived, in its order.

        Args:
            lost: called where the kernel had more to tell than the buffer holds.
            most: datagrams to take; the kernel puts one event into each.
        """
        out: list[Event] = []
        for _ in range(most):
            try:
                data = self._sock.recv(RECEIVE, MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost()
                continue
            out.extend(event(data[at:end]) for kind, _, _, _, at, end in messages(data) if kind == self._family)
        return tuple(out)
