"""Files that change: a poke when a watched folder does."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from pathlib import Path

IN_MODIFY, IN_CLOSE_WRITE, IN_MOVED_FROM, IN_MOVED_TO = 0x2, 0x8, 0x40, 0x80
IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF = 0x100, 0x200, 0x400, 0x800
IN_Q_OVERFLOW, IN_ONLYDIR = 0x4000, 0x01000000
EVENT = struct.Struct("=iIII")  # watch, mask, cookie, length of the name
MASK = (
    IN_MODIFY
    | IN_CLOSE_WRITE
    | IN_MOVED_FROM
    | IN_MOVED_TO
    | IN_CREATE
    | IN_DELETE
    | IN_DELETE_SELF
    | IN_MOVE_SELF
    | IN_ONLYDIR
)


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
        self._news = False
        self._writing: set[Path] = set()

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
        self._read()
        some, self._news = self._news, False
        if some:
            self.watch(self._folders)
        return some

    @property
    def news(self) -> bool:
        """Whether writing() has taken something that drain() is still to tell."""
        return self._news

    def writing(self) -> frozenset[Path]:
        """Give the files that somebody is in the middle of writing: changed, and not closed since."""
        self._read()
        return frozenset(self._writing)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._fd, 65536)
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
                return
            at = 0
            while at + EVENT.size <= len(data):
                number, mask, _, length = EVENT.unpack_from(data, at)
                name = data[at + EVENT.size : at + EVENT.size + length].rstrip(b"\0").decode(errors="replace")
                self._take(self._watches.get(number), name, mask)
                at += EVENT.size + length

    def _take(self, folder: Path | None, name: str, mask: int) -> None:
        if mask & IN_MODIFY and folder is not None:
            self._writing.add(folder / name)
            return  # half of something is no news
        if mask & IN_Q_OVERFLOW:  # among what was lost may be that they were closed
            self._writing.clear()
        if folder is not None:
            self._writing.discard(folder / name)
        self._news = True
