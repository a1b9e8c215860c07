"""Files that are read and replaced whole; somebody waits for each of them, so with as few calls as can be."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

NULL = os.makedev(1, 3)  # /dev/null (Documentation/admin-guide/devices.txt)
CHUNK = 1 << 20  # bytes that are read at once
# What reading a file raises that is not what we have written: numbers too large, lists too deep, no text, no numbers.
UNFIT = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


def text(path: Path, longest: int) -> str:
    """Read a file; the null device is an empty one.

    A fifo or another device, at which whoever opens or reads it may wait for ever, is refused.

    Args:
        path: the file.
        longest: bytes that it may have.

    Raises:
        OSError: it cannot be read, is no file, or too long.
        UnicodeDecodeError: it is no text.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(file)
        if _null(found):
            return ""
        if not stat.S_ISREG(found.st_mode):
            if stat.S_ISDIR(found.st_mode):
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
            raise OSError(errno.EINVAL, "not a regular file")
        data = bytearray()
        while len(data) <= longest and (more := os.read(file, min(longest + 1 - len(data), CHUNK))):
            data += more
    finally:
        os.close(file)
    if len(data) > longest:
        raise OSError(errno.EFBIG, f"more than {longest} bytes")
    return data.decode()


def null(path: Path) -> bool:
    """Tell whether a file is the null device, mostly by a link.

    Args:
        path: the file.

    Raises:
        OSError: it is not there, or cannot be looked at.
    """
    return _null(path.stat())


def _null(found: os.stat_result) -> bool:
    return stat.S_ISCHR(found.st_mode) and found.st_rdev == NULL


def reason(error: Exception) -> str:
    """Say why a file could not be read, without its name, which stands before it.

    Args:
        error: what reading it raised.
    """
    match error:
        case OSError(strerror=str(words)):
            return words
        case UnicodeDecodeError():
            return f"what stands at byte {error.start} is no UTF-8"
        case _:
            return str(error)


def put(path: Path, text: str) -> None:
    """Replace a file; its folder is made if there is none. It is not synced: a crash of the machine may lose it.

    Args:
        path: the file.
        text: what it holds from now on.

    Raises:
        OSError: the file is as it was.
    """
    target = str(path)
    fresh = f"{target}.new"
    try:
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        rest = memoryview(text.encode())
        while rest:
            rest = rest[os.write(file, rest) :]
    finally:
        os.close(file)
    os.replace(fresh, target)  # noqa: PTH105  Path's is slower


class Parts:
    """A JSON file of several parts, each with a user of its own; it is read once, and replaced whole.

    Args:
        path: the file.
        older: files of earlier versions, by part: one is read while the file lacks the part, and goes once it has it.
    """

    def __init__(self, path: Path, older: Mapping[str, Path]) -> None:
        self.path = path
        self._older = dict(older)
        self._texts: dict[str, str] = {}
        self._unread: Exception | None = None
        try:
            data = json.loads(path.read_text())
            self._texts = {str(part): json.dumps(value) for part, value in data.items()}
        except FileNotFoundError:
            pass
        except UNFIT as error:
            self._unread = error

    def text(self, part: str) -> str | None:
        """Give a part as JSON, None if it is not there.

        Args:
            part: its name.

        Raises:
            OSError, UnicodeDecodeError, ValueError: the file cannot be read; it is replaced at the next put.
        """
        if self._unread is not None:
            raise ValueError(reason(self._unread))
        if part not in self._texts and part in self._older:
            with suppress(FileNotFoundError):
                return self._older[part].read_text()
        return self._texts.get(part)

    def put(self, part: str, text: str) -> None:
        """Replace a part; the others stay.

        Args:
            part: its name.
            text: what it is from now on, as JSON.

        Raises:
            OSError: the file is as it was.
        """
        texts = {**self._texts, part: text}
        put(self.path, "{" + ",\n".join(f"{json.dumps(name)}: {text.strip()}" for name, text in texts.items()) + "}\n")
        self._texts, self._unread = texts, None
        if (old := self._older.pop(part, None)) is not None:
            with suppress(OSError):
                old.unlink()
