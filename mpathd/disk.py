"""Files that are read and replaced whole; somebody waits for each of them, so with as few calls as can be."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

CHUNK = 1 << 20  # bytes that are read at once


def text(path: Path, longest: int) -> str:
    """Read a file; a fifo or a device, at which whoever opens or reads it may wait for ever, is refused.

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
        if not stat.S_ISREG(found.st_mode):
            number = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
            raise OSError(number, "not a regular file")
        data = bytearray()
        while len(data) <= longest and (more := os.read(file, min(longest + 1 - len(data), CHUNK))):
            data += more
    finally:
        os.close(file)
    if len(data) > longest:
        raise OSError(errno.EFBIG, f"more than {longest} bytes")
    return data.decode()


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
