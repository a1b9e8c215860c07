"""Sysctls, read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/proc/sys")


def read(name: str) -> str:
    """Give a sysctl's value, empty if this kernel has none of that name.

    Args:
        name: with dots; the interface part of a name may hold a dot itself as "/", as sysctl(8) has it.
    """
    try:
        return (ROOT / name.replace(".", "/")).read_text().strip()
    except OSError:
        return ""


def number(name: str) -> int:
    """Give a sysctl's value as a number, 0 if it is not there.

    Args:
        name: see read().
    """
    text = read(name)
    return int(text) if text.lstrip("-").isdigit() else 0
