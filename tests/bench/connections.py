"""10,000 MPTCP connections: what a look at them costs mpathd, and its passes meanwhile, beside ss."""

from __future__ import annotations

import json
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from labkit import SERVER4, Lab, LabError
from labkit.agent import Agent, Bus, eventually
from labkit.netns import in_ns
from mpathd.bus.mptcp import MPTCP
from mpathd.model.sight import MOST, USUAL

from .caller import Caller
from .idle import used
from .stats import number, ratio, table

NAME = "connections"
COUNT, ROUNDS, PASSES = 10_000, 3, 20
FILES = COUNT + 1000
PAUSE = 8.0  # seconds: a look is given out again for three times as long as it took
IPPROTO_MPTCP = 262
CONFIG = '[defaults]\nmultipath_routing = true\n[log]\nformat = "json"\n'
# Answers a word to each connection, and keeps it.
SERVER = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[2]),) * 2)
ear = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
ear.bind((sys.argv[1], 0))
ear.listen(1024)
print(ear.getsockname()[1], flush=True)
kept = []
while True:
    one, _ = ear.accept()
    one.sendall(one.recv(4))
    kept.append(one)
"""


@contextmanager
def crowd(lab: Lab) -> Iterator[list[socket.socket]]:
    """Connect the client to the server, many times, each connection with two subflows.

    Args:
        lab: of two uplinks.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    made: list[socket.socket] = []
    argv = [sys.executable, "-c", SERVER, SERVER4, str(FILES)]
    with lab.popen("server", argv, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())

            def connect() -> None:
                for _ in range(COUNT):
                    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
                    made.append(one)
                    one.connect((SERVER4, port))
                    one.sendall(b"word")
                    one.recv(4)

            in_ns(lab.ns("client"), connect)
            yield made
        finally:
            server.kill()
            for one in made:
                one.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def memory(pid: int, what: str = "VmRSS") -> float:
    """MB that a process has.

    Args:
        pid: the process.
        what: VmRSS, or VmHWM for the most so far.
    """
    found = re.search(rf"^{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


def rounds(work: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """Medians of wall clock and processor time, in milliseconds.

    Args:
        work: does it once, and gives both.
    """
    walls, cpus = zip(*(work() for _ in range(ROUNDS)), strict=True)
    return median(walls), median(cpus)


def look(caller: Caller, pid: int, most: int) -> tuple[float, float]:
    """Ask mpathd once; after a pause, so that nobody gets the look of the one before.

    Args:
        caller: asks.
        pid: of mpathd.
        most: connections that are wanted.
    """
    time.sleep(PAUSE)
    before = used(pid).cpu
    found, took = caller.call("/net/mpathd", MPTCP.name, "GetConnections", "u", most)
    if len(found) != most or {len(one["Subflows"].value) for one in found} != {2}:
        raise LabError(f"not {most} connections of two subflows each", str(len(found)))
    return took, (used(pid).cpu - before) / 1e6


def ss(lab: Lab) -> tuple[float, float]:
    """Ask ss once.

    Args:
        lab: the lab.
    """
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    said = lab.exec("client", ["ss", "-HOMtin"]).stdout
    took, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if said.count("\n") != 3 * COUNT:
        raise LabError(f"ss shows not {3 * COUNT} lines", str(said.count("\n")))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return took * 1000, cpu * 1000


def passes(agent: Agent) -> float:
    """The median duration of passes that addresses cause, in milliseconds.

    Args:
        agent: mpathd.
    """

    def told() -> list[float]:
        lines = (json.loads(line) for line in agent.log.read_text().splitlines() if line.startswith("{"))
        return [line["ms"] for line in lines if line.get("event") == "pass" and "ms" in line]

    before = len(told())
    for turn in range(PASSES):
        known = len(told())
        agent.lab.ip("client", f"addr {('add', 'del')[turn % 2]} 10.81.1.77/24 dev up1")
        eventually(lambda known=known: len(told()) > known, what="a pass")  # type: ignore[misc]
    return median(told()[before:])


@contextmanager
def looking(caller: Caller) -> Iterator[None]:
    """Look again and again while the block lasts.

    Args:
        caller: asks.
    """
    over = threading.Event()

    def again() -> None:
        while not over.is_set():
            caller.call("/net/mpathd", MPTCP.name, "GetConnections", "u", USUAL)

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def run() -> None:
    """Print the tables."""
    print(
        f"{NAME}: {COUNT} connections of two subflows, {ROUNDS} looks each, {PASSES} passes; milliseconds", flush=True
    )
    with (
        TemporaryDirectory() as folder,
        Bus(Path(folder)) as bus,
        Lab("bond-2", "bn-connections", quiet=True) as lab,
        Agent(lab, "client", bus=bus, config=CONFIG) as agent,
        Caller(bus.address, "net.mpathd") as caller,
    ):
        lab.ip("client", "mptcp endpoint add 10.81.2.2 dev up2 id 7 subflow", check=False)  # if it is not there yet
        agent.ctl("services").check_returncode()
        alone, quiet = memory(agent.pid), passes(agent)
        with crowd(lab):
            full, quiet_full = memory(agent.pid), passes(agent)
            few, many = (rounds(lambda most=most: look(caller, agent.pid, most)) for most in (USUAL, MOST))  # type: ignore[misc]
            other = rounds(lambda: ss(lab))
            with looking(caller):
                busy = passes(agent)
            top = memory(agent.pid, "VmHWM")
    rows = [
        [f"mpathd, the busiest {USUAL}", *map(number, few), ratio(few[1], other[1])],
        [f"mpathd, the busiest {MOST}", *map(number, many), ratio(many[1], other[1])],
        ["ss -Mti, all", *map(number, other), ""],
    ]
    print(table(["a look", "wall clock", "processor", "of ss"], rows))
    rows = [
        ["memory, MB: without connections", number(alone), ""],
        ["with them", number(full), ""],
        ["at most, after all looks", number(top), "45"],
        ["a pass: without connections", number(quiet), ""],
        ["with them", number(quiet_full), ""],
        ["with them, while somebody looks all the time", number(busy), ""],
    ]
    print(table(["mpathd", "", "bar"], rows))
