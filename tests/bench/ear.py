"""The bench's own ear: rtnetlink news of a namespace, each stamped on arrival by a thread that does nothing else.

Netlink sockets have no kernel timestamps (SO_TIMESTAMPNS is accepted and never answered) and nlmon is rare, so the
thread blocks in recv() at real-time priority and reads the clock as soon as recv() is back.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Self

from labkit.netns import step_in

HEADER = struct.Struct("=IHHII")
NEWLINK, DELLINK, NEWADDR, DELADDR, NEWROUTE, DELROUTE, NEWRULE, DELRULE = 16, 17, 20, 21, 24, 25, 32, 33
NAMES = {
    NEWLINK: "link", DELLINK: "-link", NEWADDR: "addr", DELADDR: "-addr", NEWROUTE: "route", DELROUTE: "-route",
    NEWRULE: "rule", DELRULE: "-rule",
}  # fmt: skip
GROUPS = (1, 5, 7, 8, 9, 11, 19)  # link; IPv4 address, route, rule; IPv6 address, route, rule
KINDS = 1 << 8  # of rtnetlink; what is above belongs to other families, and counts only where it is named here
NETLINK_NETFILTER, NFTABLES = 12, 7  # NFNLGRP_NFTABLES
NFT = {10 << 8 | kind for kind in (3, 5, 6, 8, 12, 14)}  # chains, rules and elements; sets alone are marks of mpathd's
SOL_NETLINK, ADD_MEMBERSHIP, SO_RCVBUFFORCE = 270, 1, 33
BUFFER = 64 * 1024 * 1024
IFF_RUNNING = 0x40


@dataclass(frozen=True, slots=True)
class News:
    """One message of the kernel.

    Args:
        time: of its arrival, in nanoseconds of the monotonic clock.
        kind: NEWLINK and so on.
        port: netlink port of who caused it; 0 is the kernel itself.
        body: family header and attributes.
    """

    time: int
    kind: int
    port: int
    body: bytes

    @property
    def running(self) -> bool:
        """Of a link: whether it has carrier and is up."""
        return bool(struct.unpack_from("=I", self.body, 8)[0] & IFF_RUNNING)

    @property
    def index(self) -> int:
        """Of a link or address: its interface."""
        return int(struct.unpack_from("=i", self.body, 4)[0])

    def __str__(self) -> str:
        return f"{self.time / 1e6:.3f} {NAMES.get(self.kind, str(self.kind))} port {self.port}"


def listening(protocol: int, groups: Sequence[int]) -> socket.socket:
    """A netlink socket that hears groups.

    Args:
        protocol: of netlink.
        groups: what to hear.
    """
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    sock.bind((0, 0))
    for group in groups:
        sock.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)
    return sock


class Ear:
    """Hears a namespace between entering and leaving.

    Args:
        ns: the namespace.
        nft: hear of chains, rules and elements of nftables too.
    """

    def __init__(self, ns: str, *, nft: bool = False) -> None:
        self._ns, self._nft = ns, nft
        self._raw: list[tuple[int, bytes]] = []
        self._wake, self._woken = os.pipe()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._listen, name=f"ear of {ns}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(5)
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._woken)
        self._thread.join()
        os.close(self._wake)

    def _listen(self) -> None:
        step_in(self._ns)
        with ExitStack() as stack:
            socks = [stack.enter_context(listening(socket.NETLINK_ROUTE, GROUPS))]
            if self._nft:
                socks.append(stack.enter_context(listening(NETLINK_NETFILTER, (NFTABLES,))))
            with suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            poll = select.poll()
            for sock in socks:
                poll.register(sock, select.POLLIN)
            poll.register(self._wake, select.POLLIN | select.POLLHUP)
            self._ready.set()
            while True:
                poll.poll()
                for sock in socks:
                    at = time.monotonic_ns()
                    try:
                        while True:
                            self._raw.append((at, sock.recv(65536, socket.MSG_DONTWAIT)))
                            at = time.monotonic_ns()
                    except BlockingIOError:
                        pass
                if any(fd == self._wake for fd, _ in poll.poll(0)):
                    return

    def tell(self, at: int, kind: int, port: int) -> None:
        """Put in news that rtnetlink does not have.

        Args:
            at: when, in nanoseconds of the monotonic clock.
            kind: any number below 256 that is no kind of rtnetlink.
            port: not 0: an agent did it.

        Raises:
            ValueError: such a kind would not be counted.
        """
        if kind >= KINDS:
            raise ValueError(f"kind {kind}: expected one below {KINDS}")
        self._raw.append((at, HEADER.pack(16, kind, 0, 0, port)))

    def mark(self) -> int:
        """A place in what was heard; hand it to `since`."""
        return len(self._raw)

    def since(self, mark: int) -> list[News]:
        """What was heard after a place.

        Args:
            mark: the place.
        """
        out = []
        for at, data in self._raw[mark:]:
            offset = 0
            while offset + 16 <= len(data):
                length, kind, _, _, port = HEADER.unpack_from(data, offset)
                if kind < KINDS or kind in NFT:
                    out.append(News(at, kind, port, data[offset + 16 : offset + length]))
                offset += (length + 3) & ~3
        return out

    def until(self, mark: int, condition: Callable[[list[News]], bool], timeout: float) -> bool:
        """Waits until what was heard since a place meets a condition, and tells whether it came to that.

        Args:
            mark: the place.
            condition: asked with all news since then.
            timeout: seconds.
        """
        deadline = time.monotonic() + timeout
        while not condition(self.since(mark)):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def rest(self, mark: int, quiet: float, timeout: float) -> bool:
        """Waits until nothing was heard for a while, and tells whether it came to that.

        Args:
            mark: since when.
            quiet: seconds without news.
            timeout: seconds.
        """
        start = time.monotonic()
        while True:
            last = self._raw[-1][0] / 1e9 if len(self._raw) > mark else start
            left = max(last, start) + quiet - time.monotonic()
            if left <= 0:
                return True
            if time.monotonic() - start > timeout:
                return False
            time.sleep(left)
