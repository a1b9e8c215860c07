"""Runs commands, and says each as a person would type it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from .commands import Batch
from .errors import LabError


@dataclass(frozen=True, slots=True)
class Shell:
    """The one place where the lab's commands start.

    Args:
        quiet: do not print them.
        timeout: seconds after which a command of the lab's own is given up.
    """

    quiet: bool = False
    timeout: float = 60.0

    def say(self, argv: Sequence[str]) -> None:
        """Prints a command to stderr."""
        if not self.quiet:
            print(f"[#] {shlex.join(argv)}", file=sys.stderr, flush=True)

    def batch(self, batch: Batch) -> None:
        """Runs the lines of a batch in one process.

        Raises:
            LabError: the kernel refused a line, which is named.
        """
        if not batch.lines:
            return
        for line in batch.lines:
            self.say([*batch.head, *line.split()])
        done = subprocess.run(
            [*batch.head, "-batch", "-"],
            input="\n".join(batch.lines) + "\n",
            text=True,
            capture_output=True,
            timeout=self.timeout,
            check=False,
        )
        if done.returncode:
            where = re.search(r"Command failed -:(\d+)", done.stderr)
            line = batch.lines[int(where[1]) - 1] if where else batch.lines[0]
            why = re.sub(r"\s*Command failed -:\d+", "", done.stderr).strip()
            raise LabError(
                f"cannot: {' '.join(batch.head)} {line}",
                why or f"exit status {done.returncode}",
                "be root, or use netns-lab/lab, which takes a user namespace" if "not permitted" in why else "",
            )

    def run(self, argv: Sequence[str]) -> str:
        """Runs a command and gives its output.

        Raises:
            LabError: it failed.
        """
        self.say(argv)
        done = subprocess.run(argv, text=True, capture_output=True, timeout=self.timeout, check=False)
        if done.returncode:
            raise LabError(f"cannot: {shlex.join(argv)}", done.stderr.strip() or f"exit status {done.returncode}")
        return done.stdout
