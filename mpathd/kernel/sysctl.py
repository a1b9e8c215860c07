"""Sysctls, read."""

from __future__ import annotations

import os

ROOT = "/proc/sys"


def read(name: str) -> str:
    """Give a sysctl's value, empty if this kernel has none of that name.

    Args:
        name: with dots.
    """
    try:  # read in every pass: three system calls, where read_text() makes seven
        file = os.open(f"{ROOT}/{name.replace('.', '/')}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(file, 4096).decode().strip()
    finally:
        os.close(file)


def number(name: str) -> int:
    """Give a sysctl's value as a number, 0 if it is not there.

    Args:
        name: see read().
    """
    text = read(name)
    return int(text) if text.lstrip("-").isdigit() else 0
