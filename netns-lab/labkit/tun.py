"""Point-to-point interfaces: tun devices, whose two ends the keeper joins."""

from __future__ import annotations

import fcntl
import os
import struct

from .errors import LabError

DEVICE = "/dev/net/tun"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def allowed() -> bool:
    """Whether this user may make tun devices."""
    return os.access(DEVICE, os.R_OK | os.W_OK)


def make(dev: str) -> int:
    """Makes a tun device in the calling thread's namespace; it lives as long as the file that is given back.

    Args:
        dev: its name.

    Raises:
        LabError: it may not be made.
    """
    file = -1
    try:
        file = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", dev.encode(), IFF_TUN | IFF_NO_PI))
    except OSError as error:
        if file >= 0:
            os.close(file)
        raise LabError(
            f"cannot make the point-to-point interface {dev}",
            f"{DEVICE}: {error.strerror}",
            f"as root: chmod 0666 {DEVICE} (as Debian has it), or run this as root",
        ) from error
    return file
