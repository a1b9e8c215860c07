"""The machine's users and groups, asked by name; for the daemon and for `mpathctl policy check` alike."""

from __future__ import annotations

import grp
import pwd

from .plan.policyfile import Names


def _user(name: str) -> int | None:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


NAMES = Names(_user, _group)
