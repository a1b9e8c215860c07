"""Which processes have a socket: their open files name its inode."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ...model.connections import Owner

PROC = Path("/proc")
SOCKET = "socket:["


def owners(inodes: Iterable[int]) -> dict[int, tuple[Owner, ...]]:
    """Give the processes of sockets, by inode; one that nobody has, or whose owner may not be looked into, is missing.

    Args:
        inodes: of the sockets.
    """
    wanted = {f"{SOCKET}{inode}]": inode for inode in inodes if inode}
    found: dict[int, dict[int, Owner]] = {}
    for entry in PROC.iterdir() if wanted else ():
        if entry.name.isdigit():
            pid = int(entry.name)
            for inode in _sockets(entry, wanted):
                found.setdefault(inode, {})[pid] = Owner(pid, _name(entry), _user(entry))
    return {inode: tuple(by_pid[pid] for pid in sorted(by_pid)) for inode, by_pid in found.items()}


def _sockets(process: Path, wanted: dict[str, int]) -> set[int]:
    """Those that a process has; a process may end while it is looked at."""
    out = set()
    try:
        with os.scandir(process / "fd") as files:
            for file in files:
                inode = wanted.get(_target(file.path))
                if inode is not None:
                    out.add(inode)
    except OSError:
        pass
    return out


def _target(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115  there are thousands, and a Path of each costs more than the call
    except OSError:
        return ""


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _user(process: Path) -> int:
    """Who may look into it: the kernel gives this folder to root where a process hides its memory."""
    try:
        return (process / "fd").stat().st_uid
    except OSError:
        return 0
