"""Our lean rtnetlink reader beside pyroute2's, and one pass cut into look, desire and diff."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from statistics import median

from labkit import Lab, uplinks
from labkit.agent import Agent
from mpathd import app
from mpathd.kernel.machine import Machine
from mpathd.kernel.rtnetlink import Hand
from mpathd.plan.desire import desire
from mpathd.plan.diff import diff

from .inside import Inside
from .stats import cells, ratio, summary, table

NAME = "codec"
UPLINKS, TIMES = 8, 60
PROTOCOL, MAIN = 109, 254


def took(work: Callable[[], object]) -> float:
    """Milliseconds of some work.

    Args:
        work: what to do.
    """
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def cold() -> None:
    """Read with a hand that has seen nothing yet."""
    hand = Hand()
    try:
        hand.look(PROTOCOL)
    finally:
        hand.close()


def theirs() -> tuple[Callable[[], int], Callable[[], None]]:
    """pyroute2 reading the same objects and how many, and how to close it."""
    from pyroute2 import IPRoute

    ipr = IPRoute(strict_check=True)

    def read() -> int:
        found = [*ipr.get_links(), *ipr.get_addr()]
        for family in (2, 10):
            found += ipr.get_routes(family=family, table=MAIN)
            found += ipr.get_routes(family=family, proto=PROTOCOL)
            found += ipr.get_rules(family=family)
        return len(found)

    return read, ipr.close


def kernel() -> tuple[Callable[[], int], Callable[[], None]]:
    """The same dumps received and thrown away, how many bytes, and how to close it: what the kernel itself needs."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    sock.setsockopt(270, 12, 1)  # NETLINK_GET_STRICT_CHK: routes are filtered by the kernel
    sock.bind((0, 0))
    asked = [(18, struct.pack("=16xHHI", 8, 29, 8))]  # links without counters
    for family in (2, 10):
        asked.append((22, bytes((family,)) + bytes(7)))
        asked.extend(
            (26, struct.pack("=BBBBBBBBI", family, 0, 0, 0, *of, 0, 0, 0)) for of in ((MAIN, 0), (0, PROTOCOL))
        )
        asked.append((34, bytes((family,)) + bytes(11)))
    requests = [struct.pack("=IHHII", 16 + len(body), kind, 0x301, 1, 0) + body for kind, body in asked]
    buffer = bytearray(256 * 1024)

    def read() -> int:
        total = 0
        for request in requests:
            sock.send(request)
            done = False
            while not done:
                size = sock.recv_into(buffer)
                total += size
                done = struct.unpack_from("=IH", buffer, size - 20) == (20, 3)  # NLMSG_DONE comes last
        return total

    return read, sock.close


def measure(argv: list[str]) -> tuple[dict[str, list[float]], int]:
    """Times by what was done, taking turns, and how many objects were read; in the calling thread's namespace.

    Args:
        argv: arguments of the mpathd that works there.
    """
    opts = app.options(argv)
    machine = Machine()
    machine.watch.close()
    loop = app.reconciler(opts, app.setup(opts), machine)
    hand = Hand()
    read, close = theirs()
    dump, shut = kernel()
    world = loop.look()
    wanted = desire(world, loop.policy)
    works: dict[str, Callable[[], object]] = {
        "pyroute2": read,
        "the kernel's dumps alone": dump,
        "our hand, nothing known": cold,
        "our hand, next look": partial(hand.look, PROTOCOL),
        "look": loop.look,
        "desire": lambda: desire(world, loop.policy),
        "diff": lambda: diff(wanted.kernel, world.have, world.rules),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()  # lazily imported parts and caches are there before the clock runs
    for _ in range(TIMES):
        for name, work in works.items():
            times[name].append(took(work))
    count = read()
    close()
    shut()
    hand.close()
    return times, count


def run() -> None:
    """Print the tables."""
    with (
        Lab(uplinks(UPLINKS), "bn-codec", quiet=True) as lab,
        Agent(lab, "client", ["--mpathrouting"]) as agent,
        Inside(lab.ns("client")) as inside,
    ):
        argv = agent.argv()[3:]
        times, count = inside.do(lambda: measure(argv))
    base = median(times["pyroute2"])
    print(f"{NAME}: {count} objects of {UPLINKS} uplinks read whole, and the parts of a pass; milliseconds")
    rows = [
        [name, *cells(summary(of)), ratio(median(of), base), "below 1x" if name.startswith("our") else ""]
        for name, of in times.items()
    ]
    print(table(["", "n", "median", "p90", "p99", "max", "of pyroute2", "bar"], rows))
