"""mpathctl as a program of its own, and a way to wait for what a long-running one says."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "mpathd.ctl"]
PATIENCE = 20.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to.

    Args:
        code: exit status.
        out: standard output.
        err: standard error.
    """

    code: int
    out: str
    err: str


def environment(address: str, **more: str) -> dict[str, str]:
    """The environment for a program that is to find a bus.

    Args:
        address: the bus.
        more: further variables.
    """
    return {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": address, "PYTHONPATH": str(ROOT), "TZ": "UTC", **more}


def run(address: str, *words: str, **more: Any) -> Result:
    """Run mpathctl to its end.

    Args:
        address: the bus.
        words: the command line.
        more: for subprocess.
    """
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment(address), **more}
    done = subprocess.run([*PROGRAM, *words], text=True, timeout=PATIENCE, check=False, cwd="/", **more)
    assert "Traceback" not in (done.stderr or "")
    return Result(done.returncode, done.stdout or "", done.stderr or "")


class Running:
    """mpathctl while it runs.

    Args:
        address: the bus.
        words: the command line.
        stdout: where it writes; a pipe, for wait(), by default.
        stdin: what it reads; nothing, by default.
    """

    def __init__(
        self, address: str, *words: str, stdout: int = subprocess.PIPE, stdin: int = subprocess.DEVNULL
    ) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, *words],
            env=environment(address),
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd="/",
            # A shell in the background may have left Ctrl-C ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )
        if self.process.stdout is not None:
            os.set_blocking(self.process.stdout.fileno(), False)
        self.text = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    @property
    def lines(self) -> list[str]:
        """Whole lines so far."""
        return self.text.split("\n")[:-1]

    def wait(self, wanted: Callable[[list[str]], bool]) -> list[str]:
        """Read until the lines satisfy a condition; gives them.

        Args:
            wanted: looks at all lines so far.
        """
        assert self.process.stdout is not None
        until = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not wanted(self.lines):
                left = until - time.monotonic()
                assert selector.select(max(left, 0)), f"waited in vain; so far:\n{self.text}"
                data = self.process.stdout.read()
                assert data, f"it ended; so far:\n{self.text}\n{self.end().err}"
                self.text += data.decode()
        return self.lines

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> Result:
        """Wait until it has ended."""
        out, err = self.process.communicate(timeout=PATIENCE)
        assert b"Traceback" not in err
        return Result(self.process.returncode, self.text + (out or b"").decode(), err.decode())
