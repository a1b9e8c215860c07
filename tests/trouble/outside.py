"""What can be seen of mpathd from outside: its objects in the kernel as text, the kernel's own news of each write."""

from __future__ import annotations

import select
import signal
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from labkit import Lab, in_ns
from labkit.agent import Agent, eventually

PROTOCOL = 109
NEWROUTE, DELROUTE, NEWRULE, DELRULE, NEWADDR, DELADDR = 24, 25, 32, 33, 20, 21
# include/uapi/linux/rtnetlink.h: link, IPv4 address, route and rule, IPv6 address, route and rule
GROUPS = (1, 5, 7, 8, 9, 11, 19)
WRITES = {NEWROUTE, DELROUTE, NEWRULE, DELRULE}
FRA_PROTOCOL, RULE_HEADER = 21, 12
SOL_NETLINK, ADD_MEMBERSHIP, SO_RCVBUFFORCE = 270, 1, 33
BUFFER = 64 << 20


def objects(lab: Lab, host: str, *, protocol: int | str = PROTOCOL) -> frozenset[str]:
    """Every rule and route of a protocol, one line each, as `ip` shows them.

    Args:
        lab: the lab.
        host: where.
        protocol: whose.
    """
    out: set[str] = set()
    for family in ("-4", "-6"):
        for line in lab.ip(host, f"{family} -N rule").splitlines():
            if f"proto {protocol}" in line:
                out.add(f"{family} rule {' '.join(line.split())}")
        for line in lab.ip(host, f"{family} -N route show table all proto {protocol}").splitlines():
            out.add(f"{family} route {' '.join(line.split())}")
    return frozenset(out)


@dataclass(frozen=True, slots=True)
class News:
    """One message of the kernel about a change.

    Args:
        kind: its netlink type.
        protocol: of the route or rule; 0 for what has none.
        at: when this process read it.
        raw: its body.
    """

    kind: int
    protocol: int
    at: float
    raw: bytes

    @property
    def ours(self) -> bool:
        """Whether mpathd's own object was written or removed."""
        return self.kind in WRITES and self.protocol == PROTOCOL


class Ear:
    """A subscription of the test's own to everything that changes in a host.

    Args:
        lab: the lab.
        host: the host.
    """

    def __init__(self, lab: Lab, host: str) -> None:
        self._sock = in_ns(lab.ns(host), _subscribed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._sock.close()

    def heard(self) -> list[News]:
        """What has come since the last call, in the kernel's order."""
        out: list[News] = []
        while True:
            try:
                data = self._sock.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:  # ENOBUFS is raised: of news that were lost nothing can be said
                return out
            out += _parsed(data)

    def ours(self) -> list[News]:
        """As `heard`, only mpathd's writes."""
        return [news for news in self.heard() if news.ours]

    def wait(self, writes: int, timeout: float) -> int:
        """Waits, without sleeping, until mpathd has made some writes, and gives how many were heard.

        Args:
            writes: how many at least.
            timeout: seconds without a further one after which it is given up.
        """
        poll, found = select.poll(), 0
        poll.register(self._sock, select.POLLIN)
        deadline = time.monotonic() + timeout
        while found < writes and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)
            fresh = len(self.ours())
            if fresh:
                found += fresh
                deadline = time.monotonic() + timeout
        return found


def _subscribed() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    sock.bind((0, 0))
    for group in GROUPS:
        sock.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)
    return sock


def _parsed(data: bytes) -> Iterable[News]:
    place, now = 0, time.monotonic()
    while place + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, place)
        body = data[place + 16 : place + length]
        yield News(kind, _protocol(kind, body), now, body)
        place += (length + 3) & ~3


def _protocol(kind: int, body: bytes) -> int:
    if kind in {NEWROUTE, DELROUTE}:
        return body[5]
    if kind not in {NEWRULE, DELRULE}:
        return 0
    place = RULE_HEADER
    while place + 4 <= len(body):
        length, attribute = struct.unpack_from("=HH", body, place)
        if attribute == FRA_PROTOCOL:
            return body[place + 4]
        place += max(4, (length + 3) & ~3)
    return 0


def force(lab: Lab, host: str, lines: Iterable[str], *, family: str = "") -> None:
    """Runs many lines of `ip` in one process; what the kernel refuses is passed over.

    Args:
        lab: the lab.
        host: where.
        lines: as after `ip`, or after `ip -4`.
        family: "-4" or "-6", for lines that do not tell.
    """
    argv = ["ip", *([family] if family else []), "-force", "-batch", "-"]
    done = lab.exec(host, argv, check=False, input="\n".join(lines) + "\n")
    assert done.returncode in {0, 1}, done.stderr[-500:]


@contextmanager
def frozen(agent: Agent) -> Iterator[None]:
    """Keeps mpathd from running, as a busy machine would; it goes on where it was.

    Args:
        agent: which.
    """
    state = Path(f"/proc/{agent.pid}/stat")
    agent.signal(signal.SIGSTOP)
    try:
        eventually(lambda: state.read_text().rpartition(") ")[2].startswith("T"))
        yield
    finally:
        agent.signal(signal.SIGCONT)
