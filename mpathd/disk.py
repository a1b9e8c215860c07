"""Files that are replaced whole, or not at all; somebody waits for each of them, so with as few calls as can be."""

from __future__ import annotations

import os
from pathlib import Path


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
