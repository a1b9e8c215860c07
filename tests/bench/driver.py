"""Does things to a namespace without noise: one `ip -batch` that stays and takes a line at a time."""

from __future__ import annotations

import subprocess
import tempfile
from typing import Self


class Driver:
    """A standing `ip` in a namespace.

    Args:
        ns: the namespace.
    """

    def __init__(self, ns: str) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed on leaving
        argv = ["ip", "-n", ns, "-force", "-batch", "-"]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=self._said, stderr=self._said, text=True)

    @property
    def port(self) -> int:
        """Its netlink port: what has this one was done by the bench."""
        return self._process.pid

    def do(self, line: str) -> None:
        """Run a line; it is under way when this returns.

        Args:
            line: what stands after `ip`.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._said.close()

    def said(self) -> str:
        """What it printed: nothing, unless a line failed."""
        self._said.seek(0)
        return self._said.read()
