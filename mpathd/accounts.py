"""The machine's users and groups, asked by name; for the daemon and for `mpathctl policy check` alike."""

from __future__ import annotations

import grp
import pwd

from .plan.policyfile import Names


def _user(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):  # ValueError: no name has a NUL in it
        return None


def _group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        return None


def primary(user: int) -> int | None:
    """Give a user's own group, which his processes have unless he sees to it.

    Args:
        user: the user's number.
    """
    try:
        return pwd.getpwuid(user).pw_gid
    except (KeyError, OverflowError):
        return None


NAMES = Names(_user, _group)
