"""One daemon a network namespace: an abstract Unix socket, whose names are the namespace's own."""

from __future__ import annotations

import socket
import struct

NAME = "\0mpathd"


def other() -> int:
    """Give the process id of the daemon that runs in this namespace, 0 if there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(NAME)
        except OSError:
            return 0
        pid: int
        (pid, _, _) = struct.unpack("=iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid or -1  # a process of another pid namespace shows as 0


def take() -> socket.socket | None:
    """Take the namespace; None if somebody has it. The kernel gives it back when the process ends, however it does."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.bind(NAME)
    except OSError:
        sock.close()
        return None
    sock.listen(8)
    return sock
