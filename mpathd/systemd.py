"""What the service manager wants to hear (sd_notify(3)): one datagram, no library needed."""

from __future__ import annotations

import os
import socket


def notify(text: str) -> None:
    """Tell the service manager how we are; nothing happens where there is none.

    Args:
        text: "READY=1", "STATUS=...", lines.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(text.encode(), "\0" + path[1:] if path.startswith("@") else path)
        except OSError:
            return
