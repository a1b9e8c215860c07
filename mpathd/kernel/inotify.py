"""Files that change: a poke when a watched folder does."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable
from pathlib import Path

IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO = 0x8, 0x40, 0x80
IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x100, 0x200, 0x400, 0x800
IN_ONLYDIR = 0x01000000
MASK = IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR


class Inotify:
    """A set of watched folders. One that is not there is watched for by the nearest parent that is."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._folders: tuple[Path, ...] = ()
        self._watches: dict[int, Path] = {}

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return int(self._fd)

    def close(self) -> None:
        """Stop watching."""
        os.close(self._fd)

    def watch(self, folders: Iterable[Path]) -> None:
        """Watch folders; watching one twice is one watch.

        Args:
            folders: each is replaced by its nearest existing parent until it is there.
        """
        self._folders = tuple(folders)
        fresh: dict[int, Path] = {}
        for folder in self._folders:
            there = folder
            while not there.is_dir() and there != there.parent:
                there = there.parent
            number = self._libc.inotify_add_watch(self._fd, os.fsencode(there), MASK)
            if number >= 0:
                fresh[number] = there
        for number in self._watches.keys() - fresh.keys():  # a parent that is no longer needed, or gone by itself
            self._libc.inotify_rm_watch(self._fd, number)
        self._watches = fresh

    def drain(self) -> bool:
        """Take what has arrived; tell whether there was something. Watches of re-made folders are renewed."""
        some = False
        while True:
            try:
                some = bool(os.read(self._fd, 65536)) or some
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
                break
        if some:
            self.watch(self._folders)
        return some
