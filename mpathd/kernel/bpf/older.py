"""Sockets that are older than their session: they get its mark too, by way of their processes.

A program on a control group sees a socket when it is made, connected, or sends. A server's is made once, and so is a
connection.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ...model.marking import Marking
from .syscall import call

NR_PIDFD_GETFD = 438  # the same on all architectures
SO_NETNS_COOKIE = 71


def cookie() -> int:
    """Give the cookie of this thread's network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return _cookie(sock)


def _cookie(sock: socket.socket) -> int:
    return int(struct.unpack("=Q", sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0])


def mark(folder: Path, want: Marking, here: int, before: int = 0) -> None:
    """Mark the sockets that processes of a control group, and of those below it, have open.

    Args:
        folder: of the group.
        want: what they are to be marked with.
        here: cookie of our network namespace.
        before: the mark that the group's sockets had until now, 0 if that is not known.
    """
    for pid in _processes(folder):
        with suppress(OSError):  # it ends, or a file is closed, while we look
            _mark_of(pid, want, here, before)


def _processes(folder: Path) -> Iterator[int]:
    for place, _, _ in os.walk(folder):
        with suppress(OSError):
            yield from (int(word) for word in Path(place, "cgroup.procs").read_text().split() if word != "0")


def _mark_of(pid: int, want: Marking, here: int, before: int) -> None:
    handle = -1
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with suppress(OSError):
                file = Path(entry.path)
                if not str(file.readlink()).startswith("socket:"):
                    continue
                if want.user is not None and file.stat().st_uid != want.user:
                    continue
                handle = os.pidfd_open(pid) if handle < 0 else handle
                _mark(call(NR_PIDFD_GETFD, handle, int(entry.name), 0), want, here, before)
    finally:
        if handle >= 0:
            os.close(handle)


def _mark(file: int, want: Marking, here: int, before: int) -> None:
    with socket.socket(fileno=file) as sock:
        if sock.family not in {socket.AF_INET, socket.AF_INET6} or _cookie(sock) != here:
            return
        now = sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)
        if now & want.mask in {0, before}:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, now & 0xFFFFFFFF & ~want.mask | want.mark)
