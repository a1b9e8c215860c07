"""Hears rtnetlink events of a host from outside mpathd, to tell how long a reaction took."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import Self

from .lab import Lab

GROUPS = (
    0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18
)  # link; IPv4 address, route, rule; IPv6 address, route, rule
NEWROUTE, DELROUTE, NEWRULE, DELRULE = 24, 25, 32, 33
FRA_PROTOCOL = 21


@dataclass(frozen=True, slots=True)
class Event:
    """One message of the kernel.

    Args:
        at: seconds, monotonic, when it was heard.
        kind: rtnetlink message type.
        protocol: of a route or rule; -1 for anything else.
    """

    at: float
    kind: int
    protocol: int


class Ear:
    """Listens from start to stop, in a thread of its own.

    Args:
        lab: the lab.
        host: the host.
    """

    def __init__(self, lab: Lab, host: str) -> None:
        self._sock = lab.socket(host, socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._sock.bind((0, GROUPS))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self.events: list[Event] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(2)
        self._sock.close()

    def reaction(self, protocol: int, quiet: float = 0.25, timeout: float = 5.0) -> tuple[float, int]:
        """Wait until all is quiet; give the time from the first event to a protocol's last write, and the writes.

        Args:
            protocol: whose writes count.
            quiet: seconds without an event.
            timeout: seconds.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.events and time.monotonic() - self.events[-1].at > quiet:
                break
            select.select([], [], [], 0.01)
        events, self.events = self.events, []
        writes = [event for event in events if event.protocol == protocol]
        if not writes:
            return 0.0, 0
        return writes[-1].at - events[0].at, len(writes)

    def _listen(self) -> None:
        while not self._stop.is_set():
            ready, _, _ = select.select([self._sock], [], [], 0.05)
            if ready:
                data = self._sock.recv(1 << 18)
                self._take(data, time.monotonic())

    def _take(self, data: bytes, now: float) -> None:
        at = 0
        while at + 16 <= len(data):
            length, kind = struct.unpack_from("=IH", data, at)
            self.events.append(Event(now, kind, _protocol(data[at + 16 : at + length], kind)))
            at += (length + 3) & ~3


def _protocol(body: bytes, kind: int) -> int:
    if kind in {NEWROUTE, DELROUTE}:
        return body[5]
    at = 12
    while kind in {NEWRULE, DELRULE} and at + 4 <= len(body):
        length, what = struct.unpack_from("=HH", body, at)
        if what == FRA_PROTOCOL:
            return body[at + 4]
        at += max(4, (length + 3) & ~3)
    return -1
