"""One daemon a network namespace: an abstract Unix socket, whose names are the namespace's own."""

from __future__ import annotations

import socket
import struct

NAME = "\0mpathd"


def other() -> tuple[int, int]:
    """Give process id and user of who has this namespace, 0 and root if nobody has: everybody may take a name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(NAME)
        except OSError:
            return 0, 0
        pid, user, _ = struct.unpack("=iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return pid or -1, user  # a process of another pid namespace shows as 0


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
