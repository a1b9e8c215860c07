"""1,000 uplinks at start, beside `ip -batch` that writes the very same objects into the same namespace."""

from __future__ import annotations

import json
import subprocess
import time
from statistics import median

from labkit import Lab, LabError, uplinks
from labkit.agent import Agent

from .stats import number, ratio, table

NAME = "start1000"
UPLINKS, TIMES = 1000, 3
CONFIG = '[log]\nformat = "json"\nlevel = "info"\n'


def objects(dry: str) -> dict[str, list[str]]:
    """The lines for `ip -4 -batch` and `ip -6 -batch`, by that option.

    Args:
        dry: what `mpathd --dry-run` printed.
    """
    out: dict[str, list[str]] = {"-4": [], "-6": []}
    for line in dry.splitlines():
        if line.startswith("ip "):
            _, family, words = line.split(" ", 2)
            out[family].append(words)
    return out


def batch(lab: Lab, lines: dict[str, list[str]]) -> float:
    """Milliseconds that `ip -batch` takes.

    Args:
        lab: the lab.
        lines: by family option.

    Raises:
        LabError: ip refused something.
    """
    total = 0.0
    for family, words in lines.items():
        argv = ["ip", "-n", lab.ns("client"), family, "-batch", "-"]
        text = "\n".join(words) + "\n"
        start = time.perf_counter()
        done = subprocess.run(argv, input=text, text=True, capture_output=True, check=False)
        total += (time.perf_counter() - start) * 1000
        if done.returncode:
            raise LabError("ip -batch failed", done.stderr[-500:])
    return total


def first_pass(log: str) -> tuple[float, int]:
    """Milliseconds of the newest first pass, and how many objects it wrote.

    Args:
        log: mpathd's log, JSON lines.
    """
    passes = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    found = [one for one in passes if one.get("event") == "pass" and one["number"] == 1][-1]
    return float(found["ms"]), int(found["written"])


def run() -> None:
    """Print the table."""
    ready: list[float] = []
    passes: list[float] = []
    batches: list[float] = []
    written = 0
    with (
        Lab(uplinks(UPLINKS), "bn-many", quiet=True, timeout=60.0) as lab,
        Agent(lab, "client", ["--mpathrouting"], config=CONFIG) as agent,
    ):
        agent.stop(60)  # the first start warms the page cache and the kernel's tables
        lines = objects(agent.once("--dry-run").stdout)
        count = sum(len(of) for of in lines.values())
        for _ in range(TIMES):
            batches.append(batch(lab, lines))
            if left := [line for line in agent.once("--dry-run").stdout.splitlines() if not line.startswith("#")]:
                raise LabError("ip -batch did not write what mpathd wants", "\n".join(left[:5]))
            agent.once("--release")
            start = time.perf_counter()
            agent.start(60)
            ready.append((time.perf_counter() - start) * 1000)
            took, written = first_pass(agent.log.read_text())
            passes.append(took)
            if written != count:
                raise LabError("mpathd wrote another number of objects than ip -batch", f"{written} and {count}")
            agent.stop(60)
    base = median(batches)
    print(f"{NAME}: {UPLINKS} uplinks, {written} routes and rules at start; milliseconds, {TIMES} times")
    rows = [
        [name, number(median(of)), number(min(of)), number(max(of)), ratio(median(of), base), bar]
        for name, of, bar in (
            ("ip -batch", batches, ""),
            ("mpathd's first pass", passes, "2x"),
            ("mpathd to READY=1", ready, "2x"),
        )
    ]
    print(table(["", "median", "min", "max", "of ip", "bar"], rows))
