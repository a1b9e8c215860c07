"""Works as an ordinary user: inside a user namespace, where that user is root over networks of its own."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .shell import Shell

UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--mount")
PREPARE = 'mount -t tmpfs tmpfs /run && exec "$@"'  # ip netns wants to write there
HOLD = "mount -t tmpfs tmpfs /run && echo ready && exec >&- && exec sleep infinity"
HIDDEN = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")  # both point into the /run of outside


def is_root() -> bool:
    """Whether this process may make network namespaces as it is."""
    return os.geteuid() == 0


def enter(*, quiet: bool = False) -> None:
    """Goes on as root: returns at once when root, else runs this same program anew in a fresh user namespace.

    The namespace and all that is in it goes when the program and what it started end.

    Args:
        quiet: do not print the command.

    Raises:
        LabError: this machine does not allow it.
    """
    if is_root():
        return
    possible()
    argv = [*UNSHARE, "sh", "-c", PREPARE, "sh", sys.executable, *sys.orig_argv[1:]]
    Shell(quiet=quiet).say(argv)
    sys.stdout.flush()
    os.execvpe(argv[0], argv, inside_env())  # noqa: S606  this program, once more


def inside_env(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment inside: without what points to places that are hidden there.

    Args:
        more: is added.
    """
    env = {key: value for key, value in os.environ.items() if key not in HIDDEN}
    env["PATH"] = os.pathsep.join(dict.fromkeys([*env.get("PATH", os.defpath).split(os.pathsep), "/usr/sbin", "/sbin"]))
    return env | dict(more or {})


def possible() -> None:
    """Refuses when an ordinary user may not have a user namespace here.

    Raises:
        LabError: why, and what to do.
    """
    if not shutil.which("unshare"):
        raise LabError("cannot work as an ordinary user", "no unshare", "install util-linux, or run this as root")
    done = subprocess.run([*UNSHARE, "true"], text=True, capture_output=True, check=False, timeout=10)
    if done.returncode:
        raise LabError(
            "cannot work as an ordinary user: no user namespace",
            done.stderr.strip(),
            "run this as root, or allow them (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone,"
            " kernel.apparmor_restrict_unprivileged_userns)",
        )


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that keeps a user namespace with its networks and mounts.

    Args:
        pid: its pid.
        born: its start time in the kernel's ticks: with the pid it names one process for ever.
    """

    pid: int
    born: int

    @classmethod
    def start(cls, *, quiet: bool = False) -> Holder:
        """Starts one that outlives this process.

        Args:
            quiet: do not print the command.
        """
        possible()
        argv = [*UNSHARE, "sh", "-c", HOLD]
        Shell(quiet=quiet).say(argv)
        process = subprocess.Popen(
            argv,
            env=inside_env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd="/",
        )
        said = process.stdout.readline() if process.stdout else ""
        if said.strip() != "ready":
            why = process.communicate(timeout=10)[1].strip()
            raise LabError("cannot hold a user namespace", why, "run this as root")
        return cls(process.pid, _born(process.pid))

    def alive(self) -> bool:
        """Whether it still runs."""
        return _born(self.pid) == self.born

    def inside(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` inside, in the present folder."""
        join = ["nsenter", "--target", str(self.pid), "--user", "--mount", "--net", "--preserve-credentials"]
        return [*join, "env", "-C", str(Path.cwd()), *argv]

    def end(self) -> None:
        """Ends exactly this process, and waits until it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive():  # the handle is open: the pid cannot pass to another one in between
                signal.pidfd_send_signal(handle, signal.SIGTERM)
                select.select([handle], [], [], 5.0)
        finally:
            os.close(handle)


def _born(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] == "Z" else int(fields[19])
