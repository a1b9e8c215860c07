"""mpathd and a bus of its own in a host of a lab, for tests, scenarios and the demo."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self, TypeVar

from .errors import LabError
from .lab import Lab
from .venv import ROOT, python

T = TypeVar("T")
# In memory, as /run is: on a disk the kernel may take 0.2 s to give back the blocks of a file that is replaced (seen on
# ext4 with discard), and mpathd waits.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
TICK = 0.002  # seconds between two looks at a condition that makes no event

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
 <type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
 <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>
 </policy>
</busconfig>
"""


def eventually(condition: Callable[[], T], timeout: float = 5.0, what: str = "") -> T:
    """Waits until a condition holds and gives its value.

    Args:
        condition: anything true ends the wait.
        timeout: seconds.
        what: named in the error.

    Raises:
        LabError: it did not come to hold.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise LabError(
                f"not within {timeout:g} s: {what or condition}", f"last value: {value!r}", "look at the log"
            )
        select.select([], [], [], TICK)
    return value


class Bus:
    """A private dbus-daemon that stands in for the system bus.

    Args:
        folder: where its socket and configuration lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.address = f"unix:path={folder / 'bus'}"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it listens."""
        conf = self._folder / "bus.conf"
        conf.write_text(BUS.format(path=self._folder / "bus"))
        argv = ["dbus-daemon", "--nofork", "--print-address=1", f"--config-file={conf}"]
        self._process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise LabError("dbus-daemon did not start", " ".join(argv), "install dbus")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(5)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None
            (self._folder / "bus").unlink(missing_ok=True)


class Agent:
    """mpathd in a host of a lab.

    Args:
        lab: the lab.
        host: the host.
        args: more arguments for mpathd.
        bus: its bus; None leaves it without one.
        config: text of its mpathd.conf.
        folder: state, runtime folder, configuration and log; a fresh one if not given.
        prelude: a shell command that runs before mpathd in its own mount namespace (to put lease files in place).
    """

    def __init__(
        self,
        lab: Lab,
        host: str,
        args: Sequence[str] = (),
        *,
        bus: Bus | None = None,
        config: str = "",
        folder: Path | None = None,
        prelude: str = "",
    ) -> None:
        self.lab, self.host, self.args, self.bus = lab, host, tuple(args), bus
        self._made = None if folder else tempfile.TemporaryDirectory(prefix="mpathd-", dir=MEMORY)
        self.folder = folder or Path(self._made.name if self._made else "")
        self.config = self.folder / "mpathd.conf"
        self.config.write_text(config)
        self.log = self.folder / "log"
        self._prelude = prelude
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.running:
            self.stop()
        if self._made:
            self._made.cleanup()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of mpathd and mpathctl."""
        address = self.bus.address if self.bus else f"unix:path={self.folder / 'no-bus'}"
        return {**os.environ, "PYTHONPATH": str(ROOT), "DBUS_SYSTEM_BUS_ADDRESS": address}

    def argv(self, *more: str) -> list[str]:
        """Give the command line.

        Args:
            more: arguments besides the usual ones.
        """
        folders = ["--state-dir", str(self.folder / "state"), "--runtime-dir", str(self.folder / "run")]
        return [python(), "-m", "mpathd", "--config", str(self.config), *folders, *self.args, *more]

    def start(self, timeout: float = 10.0) -> None:
        """Start it and wait for READY=1.

        Args:
            timeout: seconds.

        Raises:
            LabError: it ended, or did not get ready.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            path = self.folder / "notify"
            path.unlink(missing_ok=True)
            ear.bind(str(path))
            self.spawn({"NOTIFY_SOCKET": str(path)})
            deadline = time.monotonic() + timeout
            while time.monotonic() < deadline:
                ready, _, _ = select.select([ear], [], [], 0.02)
                if ready and b"READY=1" in ear.recv(4096):
                    return
                if not self.running:
                    break
        raise LabError("mpathd did not get ready", self.log.read_text()[-2000:], "read its log above")

    def spawn(self, env: Mapping[str, str] | None = None) -> None:
        """Start it without waiting for anything.

        Args:
            env: more environment.
        """
        argv = self.argv()
        if self._prelude:
            argv = ["sh", "-ec", f'{self._prelude}; exec "$@"', "sh", *argv]
        with self.log.open("a") as log:
            self._process = self.lab.popen(self.host, argv, env={**self.env, **(env or {})}, stderr=log, stdout=log)

    def once(self, *more: str) -> subprocess.CompletedProcess[str]:
        """Run mpathd to its end (--dry-run, --release, errors).

        Args:
            more: its arguments.
        """
        return self.lab.exec(self.host, self.argv(*more), check=False, env=self.env)

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run mpathctl.

        Args:
            words: its arguments.
        """
        argv = [python(), "-m", "mpathd.ctl", *words]
        return self.lab.exec(self.host, argv, check=False, env=self.env)

    def spawn_ctl(self, *words: str) -> subprocess.Popen[str]:
        """Start mpathctl and let it run on; its output, errors too, is a pipe.

        Args:
            words: its arguments.
        """
        argv = [python(), "-m", "mpathd.ctl", *words]
        return self.lab.popen(self.host, argv, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def signal(self, number: int) -> None:
        """Send it a signal.

        Args:
            number: which.
        """
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, timeout: float = 5.0) -> int:
        """Stop it with SIGTERM and give its exit status.

        Args:
            timeout: seconds.
        """
        assert self._process is not None
        self.signal(signal.SIGTERM)
        return self._process.wait(timeout)

    def kill(self) -> None:
        """Kill it without warning."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(5)
