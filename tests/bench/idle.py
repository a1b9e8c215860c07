"""Idle: wake-ups and CPU time over a minute in which nothing happens, bus connected, 8 uplinks."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from labkit import Lab, uplinks
from labkit.agent import Agent, Bus

from .stats import number, table

NAME = "idle"
UPLINKS, SECONDS, SETTLE = 8, 60.0, 3.0


@dataclass(frozen=True, slots=True)
class Use:
    """What a process has used so far, all its threads together.

    Args:
        voluntary, forced: context switches.
        cpu: nanoseconds on a processor.
    """

    voluntary: int
    forced: int
    cpu: int

    def since(self, before: Use) -> Use:
        """What was used after an earlier look.

        Args:
            before: the earlier one.
        """
        return Use(self.voluntary - before.voluntary, self.forced - before.forced, self.cpu - before.cpu)


def switches(status: str) -> tuple[int, int]:
    """Voluntary and forced context switches.

    Args:
        status: text of /proc/PID/task/TID/status.
    """
    found = dict(re.findall(r"^(\w+_ctxt_switches):\s+(\d+)", status, re.MULTILINE))
    return int(found["voluntary_ctxt_switches"]), int(found["nonvoluntary_ctxt_switches"])


def used(pid: int) -> Use:
    """Read what a process has used.

    Args:
        pid: the process.
    """
    voluntary = forced = cpu = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        one, other = switches((task / "status").read_text())
        voluntary, forced = voluntary + one, forced + other
        cpu += int((task / "schedstat").read_text().split()[0])
    return Use(voluntary, forced, cpu)


def run() -> None:
    """Print the table."""
    with (
        TemporaryDirectory() as folder,
        Bus(Path(folder)) as bus,
        Lab(uplinks(UPLINKS), "bn-idle", quiet=True) as lab,
        Agent(lab, "client", ["--mpathrouting"], bus=bus) as agent,
    ):
        agent.ctl("services").check_returncode()  # the bus is connected
        time.sleep(SETTLE)
        before = used(agent.pid)
        time.sleep(SECONDS)
        found = used(agent.pid).since(before)
    minutes = SECONDS / 60
    print(f"{NAME}: {SECONDS:.0f} s with the bus connected and {UPLINKS} uplinks, nothing happens; per minute")
    rows = [
        ["wake-ups (voluntary switches)", number(found.voluntary / minutes), "0, at most 1"],
        ["forced switches", number(found.forced / minutes), ""],
        ["CPU time, ms", number(found.cpu / 1e6 / minutes), ""],
    ]
    print(table(["", "mpathd", "bar"], rows))
