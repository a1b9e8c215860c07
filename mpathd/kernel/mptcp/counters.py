"""What the kernel counts of MPTCP in this network namespace."""

from __future__ import annotations

import os

# /proc/net is that of the process's first thread; the caller's own is here.
PLACE = "/proc/thread-self/net/netstat"
NAME = "MPTcpExt:"


def counters() -> dict[str, int]:
    """Give the counters by the kernel's names, without the prefix that `nstat` gives them; none without MPTCP."""
    try:
        file = os.open(PLACE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        text = b"".join(iter(lambda: os.read(file, 65536), b"")).decode("ascii", "replace")
    finally:
        os.close(file)
    rows = [line.split()[1:] for line in text.splitlines() if line.startswith(NAME)]
    if len(rows) != 2:
        return {}
    names, values = rows
    return {name: int(value) for name, value in zip(names, values, strict=False)}
