"""Sysctls, read in every pass: each is opened once."""

from __future__ import annotations

import os

ROOT = "/proc/sys"


class Sysctls:
    """Numbers of the network namespace in which this was made.

    Args:
        names: with dots.
    """

    def __init__(self, *names: str) -> None:
        self._files: dict[str, int | None] = {name: _opened(name) for name in names}

    def close(self) -> None:
        """Give the files back."""
        for file in self._files.values():
            if file is not None:
                os.close(file)
        self._files.clear()

    def numbers(self) -> tuple[int, ...]:
        """Give their values in their order, 0 for one that this kernel does not have."""
        return tuple(map(self._number, self._files))

    def _number(self, name: str) -> int:
        file = self._files[name]
        if file is None:  # it comes with its module
            file = self._files[name] = _opened(name)
        try:
            return int(os.pread(file, 64, 0)) if file is not None else 0
        except (OSError, ValueError):
            return 0


def _opened(name: str) -> int | None:
    try:
        return os.open(f"{ROOT}/{name.replace('.', '/')}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
