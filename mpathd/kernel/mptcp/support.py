"""Which MPTCP this kernel has, if any.

The order of the questions is that of certainty: multipath-tcp.org kernels have a sysctl of their own; upstream ones
have another, a family of generic netlink, and a protocol for sockets that says itself why it cannot be had.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from enum import StrEnum, auto

from ...model.mptcp import Manager
from .socket import Netlink
from .wire import PM_NAME

ROOT = "/proc/sys/net/mptcp"
NAMES = ("enabled", "path_manager", "pm_type")
IPPROTO_MPTCP = 262

# What socket(2) says (net/mptcp/protocol.c, and a kernel without it), as a clause with its cure.
REASONS = {
    errno.EINVAL: "this kernel has no MPTCP (it came with Linux 5.6)",
    errno.EPROTONOSUPPORT: "this kernel is built without MPTCP (CONFIG_MPTCP)",
    errno.ENOPROTOOPT: "MPTCP is switched off (sysctl -w net.mptcp.enabled=1)",
}
NO_ENDPOINTS = "this kernel's MPTCP takes no endpoints (they came with Linux 5.7)"
MANAGERS = {"kernel": Manager.KERNEL, "0": Manager.KERNEL, "userspace": Manager.USERSPACE, "1": Manager.USERSPACE}


class Backend(StrEnum):
    """By what links are given to MPTCP."""

    UPSTREAM = auto()  # endpoints, by mptcp_pm
    OUT_OF_TREE = "multipath-tcp.org"  # flags of links
    NONE = auto()


@dataclass(frozen=True, slots=True)
class Support:
    """What this kernel can do.

    Args:
        backend: by what links are given to MPTCP.
        missing: why MPTCP cannot be used, one clause; empty if it can.
    """

    backend: Backend
    missing: str = ""


class Sysctls:
    """Sysctls of net.mptcp in the network namespace in which this was made; read in every pass, each is opened once."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        for name in NAMES:
            self.read(name)

    def close(self) -> None:
        """Give the files back."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    def read(self, name: str) -> str:
        """Give a sysctl's value, empty if there is none.

        Args:
            name: its last part.
        """
        try:
            if name not in self._files:
                self._files[name] = os.open(f"{ROOT}/{name}", os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._files[name], 256, 0).decode(errors="replace").strip()
        except OSError:
            return ""


def probe() -> Support:
    """Ask which MPTCP this kernel has."""
    sysctls = Sysctls()
    try:
        enabled = sysctls.read("mptcp_enabled")
    finally:
        sysctls.close()
    if enabled:
        on = enabled != "0"
        return Support(Backend.OUT_OF_TREE, "" if on else "MPTCP is switched off (sysctl net.mptcp.mptcp_enabled)")
    asker = Netlink()
    try:
        family = asker.family(PM_NAME).id
    finally:
        asker.close()
    backend = Backend.UPSTREAM if family else Backend.NONE
    if (number := tried()) != 0:
        return Support(backend, REASONS.get(number, f"no socket of MPTCP can be made ({os.strerror(number)})"))
    return Support(backend, "" if family else NO_ENDPOINTS)


def tried() -> int:
    """Make a socket of MPTCP, and give the errno of it, 0 if it can be made."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0


def manager(sysctls: Sysctls) -> Manager:
    """Tell who makes the subflows of connections that are opened from now on.

    Args:
        sysctls: of the network namespace.
    """
    # None of both: before 5.19 there was but one.
    name = sysctls.read("path_manager") or sysctls.read("pm_type") or "kernel"
    return MANAGERS.get(name, Manager.OTHER)
