"""Daemon start to READY=1, mpathctl from cold, and memory, beside Python's own start."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from labkit import Lab, uplinks
from labkit.agent import Agent, Bus

from .peers import connman, networkmanager
from .peers.fetch import Unavailable, environment, program, unpacked
from .stats import cells, number, ratio, summary, table

NAME = "start"
UPLINKS, TIMES = 8, 20
BARE = ("python -c pass", "python -c 'import asyncio'")


def took(argv: list[str], *, check: bool = True) -> float:
    """Milliseconds of a command from fork to exit.

    Args:
        argv: the command.
        check: it has to succeed.
    """
    start = time.perf_counter()
    subprocess.run(argv, check=check, stdout=subprocess.DEVNULL, stderr=None if check else subprocess.DEVNULL)
    return (time.perf_counter() - start) * 1000


def clients(env: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Command lines of other programs' clients, which find nobody on the bus; and why one is absent.

    Args:
        env: `env` with the bus.
    """
    found: dict[str, list[str]] = {}
    absent = []
    for name, packages, path, words in (
        ("connman", connman.PACKAGES, "usr/bin/connmanctl", ["services"]),
        ("networkmanager", networkmanager.PACKAGES, "usr/bin/nmcli", ["device"]),
    ):
        try:
            folder = unpacked(name, packages)
            argv = [str(program(folder, path)), *words]
        except Unavailable as error:
            absent.append(f"{Path(path).name} was not run: {error}")
            continue
        settings = [f"{key}={value}" for key, value in environment(folder).items()]
        found[f"{Path(path).name} {words[0]} (no daemon)"] = [*env, *settings, *argv]
    return found, absent


def memory(pid: int | str) -> tuple[float, float]:
    """RSS and PSS of a process in MB (1,000,000 bytes).

    Args:
        pid: the process.
    """
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return found["Rss"] * 1024 / 1e6, found["Pss"] * 1024 / 1e6


def bare_memory() -> tuple[float, float]:
    """RSS and PSS of a Python that does nothing."""
    argv = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as bare:
        assert bare.stdout is not None
        bare.stdout.readline()
        found = memory(bare.pid)
        bare.communicate(b"")
    return found


def run() -> None:
    """Print the tables."""
    times: dict[str, list[float]] = {name: [] for name in ("mpathd to READY=1", "mpathctl services", *BARE)}
    with TemporaryDirectory() as folder, Bus(Path(folder)) as bus, Lab(uplinks(UPLINKS), "bn-start", quiet=True) as lab:
        agent = Agent(lab, "client", ["--mpathrouting"], bus=bus, folder=Path(folder))
        net = ["ip", "netns", "exec", lab.ns("client")]
        ctl = [*net, "env", *(f"{key}={agent.env[key]}" for key in ("PYTHONPATH", "DBUS_SYSTEM_BUS_ADDRESS"))]
        commands = {
            "mpathctl services": [*ctl, sys.executable, "-m", "mpathd.ctl", "services"],
            BARE[0]: [*net, sys.executable, "-c", "pass"],
            BARE[1]: [*net, sys.executable, "-c", "import asyncio"],
        }
        others, absent = clients(ctl)
        times |= {name: [] for name in others}
        with agent:
            for argv in commands.values():  # everything is compiled and in the page cache
                took(argv)
            agent.stop()
        sizes = []
        for _ in range(TIMES):
            start = time.perf_counter()
            agent.start()
            times["mpathd to READY=1"].append((time.perf_counter() - start) * 1000)
            for name, argv in commands.items():
                times[name].append(took(argv))
            for name, argv in others.items():
                times[name].append(took(argv, check=False))
            sizes.append(memory(agent.pid))
            agent.stop()
    base = median(times[BARE[0]])
    bars = {"mpathd to READY=1": "400 ms", "mpathctl services": "150 ms"}
    print(f"{NAME}: {UPLINKS} uplinks, processes from cold, page cache warm; milliseconds")
    rows = [[name, *cells(summary(of)), ratio(median(of), base), bars.get(name, "")] for name, of in times.items()]
    print(table(["", "n", "median", "p90", "p99", "max", "of bare", "bar"], rows))
    for line in absent:
        print(line)
    print("\nmemory after the first clients, MB (1,000,000 bytes)")
    bare = bare_memory()
    mine = tuple(median(size[at] for size in sizes) for at in (0, 1))
    rows = [
        ["mpathd", number(mine[0]), number(mine[1]), ratio(mine[0], bare[0]), "45 MB"],
        ["bare python", number(bare[0]), number(bare[1]), "", ""],
    ]
    print(table(["", "RSS", "PSS", "of bare", "bar"], rows))
