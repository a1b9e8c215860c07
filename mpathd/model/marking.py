"""The socket engine's part of the kernel: control groups whose sockets are marked when they are made."""

from __future__ import annotations

import re
from dataclasses import dataclass

HOME = "/mpathd"  # where the control groups are that `mpathctl session exec` enters
USERS = "/user.slice"  # where systemd keeps what users run, a group each
UNFIT = re.compile("[^A-Za-z0-9_.-]")


@dataclass(frozen=True, slots=True)
class Marking:
    """A control group whose sockets are a session's.

    Args:
        group: its path below the root of cgroup v2, "/system.slice/backup.service".
        mark: of the session.
        mask: our bits; a socket that has some of them already is left alone.
        user: only this user's sockets; None is everybody's.
        guard: what has no session's mark does not leave (a socket that is older than the session).
    """

    group: str
    mark: int
    mask: int
    user: int | None = None
    guard: bool = True

    def __str__(self) -> str:
        whose = "" if self.user is None else f" of user {self.user}"
        return f"bpf mark {self.mark:#x}/{self.mask:#x} on sockets{whose} of cgroup {self.group}"


def slice_of(user: int) -> str:
    """Give the control group in which systemd keeps all that a user runs.

    Args:
        user: its number.
    """
    return f"{USERS}/user-{user}.slice"


def home(name: str) -> str:
    """Give the control group of a session that is entered.

    Args:
        name: of the session; what cannot be the name of a folder becomes _ and its code.
    """
    fit = UNFIT.sub(lambda found: f"_{ord(found[0]):02x}", name)
    return f"{HOME}/_2e{fit[1:]}" if fit.startswith(".") else f"{HOME}/{fit}"
