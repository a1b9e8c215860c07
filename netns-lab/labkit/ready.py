"""Waits until a host's interfaces are usable; woken by the kernel's own messages, never by the clock."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from . import netns
from .errors import LabError
from .topology import Topology

SIOCGIFFLAGS, IFF_UP, IFF_RUNNING = 0x8913, 0x1, 0x40
GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # link, IPv4 and IPv6 addresses and routes
TENTATIVE, GLOBAL = 0x40, 0x00
RTF_DEFAULT = 0x10000


def until(ns: str, condition: Callable[[], str], timeout: float) -> None:
    """Waits, in the calling thread, which is in the namespace, until the condition names nothing that is missing.

    Args:
        ns: the namespace, for the error.
        condition: says what is missing; empty: all is there.
        timeout: seconds.

    Raises:
        LabError: something is still missing then.
    """
    deadline = time.monotonic() + timeout
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as news:
        news.bind((0, GROUPS))
        news.setblocking(False)
        while missing := condition():
            left = deadline - time.monotonic()
            if left <= 0:
                raise LabError(f"{ns} is not ready after {timeout:g} s", missing, f"look at: ip -n {ns} addr")
            select.select([news], [], [], left)
            with suppress(BlockingIOError, OSError):  # ENOBUFS too: only that there is news counts
                while news.recv(65536):
                    pass


def wait(topology: Topology, name: str, timeout: float) -> None:
    """Waits until every interface has carrier and no IPv6 address is tentative."""
    for host in topology.hosts:
        devices = [end.dev for end in topology.ends(host.name)]
        devices += [bridge.dev for bridge in topology.bridges if bridge.host == host.name]
        ns = f"{name}-{host.name}"
        netns.in_ns(ns, partial(until, ns, partial(_unready, devices), timeout))


def wait_slaac(topology: Topology, name: str, timeout: float) -> None:
    """Waits until advertised addresses and default routes are there."""
    for host in topology.hosts:
        devices = [end.dev for end in topology.ends(host.name) if end.slaac]
        ns = f"{name}-{host.name}"
        if devices:
            netns.in_ns(ns, partial(until, ns, partial(_unadvertised, devices), timeout))


def _unready(devices: Sequence[str]) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for dev in devices:
            answer = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sH14x", dev.encode(), 0))
            if struct.unpack_from("H", answer, 16)[0] & (IFF_UP | IFF_RUNNING) != IFF_UP | IFF_RUNNING:
                return f"{dev} has no carrier"
    for address, dev, _, flags in _addresses():
        if flags & TENTATIVE:
            return f"{address} on {dev} is tentative"
    return ""


def _unadvertised(devices: Sequence[str]) -> str:
    have = {dev for _, dev, scope, flags in _addresses() if scope == GLOBAL and not flags & TENTATIVE}
    routes = Path("/proc/thread-self/net/ipv6_route").read_text().splitlines()
    ways = {words[9] for words in map(str.split, routes) if int(words[8], 16) & RTF_DEFAULT}
    for dev in devices:
        if dev not in have:
            return f"{dev} has no advertised address"
        if dev not in ways:
            return f"{dev} has no advertised default route"
    return ""


def _addresses() -> list[tuple[str, str, int, int]]:
    found = []
    for line in Path("/proc/thread-self/net/if_inet6").read_text().splitlines():
        address, _, _, scope, flags, dev = line.split()
        found.append((address, dev, int(scope, 16), int(flags, 16)))
    return found
