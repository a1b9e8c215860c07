"""mptcp exec: a program that asks for TCP gets MPTCP, by a library that answers its calls of socket().

The library is mptcpd's libmptcpwrap; it is set before the others, as `mptcpize run` does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mpathd.model.errors import MpathError

from .parse import Order
from .process import environment, replace

LIBRARY = "libmptcpwrap.so"
# Where packages put libraries; each may have a folder for the machine (x86_64-linux-gnu), and then one for mptcpize.
FOLDERS = ("/usr/local/lib", "/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib64")
OWN = "mptcpize"
ENABLED = Path("/proc/sys/net/mptcp/enabled")


class Unusable(MpathError):
    """The command cannot have MPTCP."""

    name = "MptcpUnusable"


def run(order: Order) -> None:
    """Run a command with MPTCP; does not return.

    Args:
        order: what was typed.
    """
    _possible()
    library = found()
    if library is None:
        text = f"no {LIBRARY} in {', '.join(FOLDERS)} or below: it gives a program MPTCP"
        raise Unusable(text, "install it: apt install mptcpize (Debian, Ubuntu), dnf install mptcpd (Fedora)")
    before = environment().get("LD_PRELOAD", "")
    replace(order.tail, {"LD_PRELOAD": f"{library}:{before}" if before else str(library)})


def _possible() -> None:
    """Make sure that the kernel has MPTCP here: without it the library would make each connection fail."""
    try:
        enabled = ENABLED.read_text(encoding="ascii").strip()
    except OSError:
        raise Unusable("this kernel has no MPTCP (CONFIG_MPTCP)", "run the command as it is") from None
    if enabled == "0":
        raise Unusable("MPTCP is switched off here", "switch it on: sysctl -w net.mptcp.enabled=1")


def found() -> Path | None:
    """Find the library; of several versions the last one."""
    return next((path for folder in _places() for path in sorted(folder.glob(f"{LIBRARY}*"), reverse=True)), None)


def _places() -> Iterator[Path]:
    machine = os.uname().machine
    for name in FOLDERS:
        top = Path(name)
        # Machines are called otherwise in names of folders (armv7l, arm-linux-gnueabihf), so all are looked into.
        for folder in (top, *sorted(top.glob("*-linux-*"), key=lambda place: not place.name.startswith(machine))):
            yield folder / OWN
            yield folder
