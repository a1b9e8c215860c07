"""The endpoints of a lab's client: the kernel sends no news of them, so the bench looks again and again."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from labkit import Lab
from labkit.netns import step_in

from ..ear import Ear
from .base import nets

NETLINK_GENERIC, GENL_ID_CTRL, CTRL_GETFAMILY, CTRL_FAMILY_ID, CTRL_FAMILY_NAME = 16, 16, 3, 1, 2
PM_GET_ADDR, DUMP, DONE = 3, 0x301, 3
HEADER, GENL, ATTR = struct.Struct("=IHHII"), struct.Struct("=BBH"), struct.Struct("=HH")
ENDPOINT = 0xF0  # as the ear calls it; no kind of rtnetlink
TICK = 0.0002  # seconds between two looks


class Endpoints:
    """The endpoints of the calling thread's namespace."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC)
        self._sock.bind((0, 0))
        name = b"mptcp_pm\0"
        body = GENL.pack(CTRL_GETFAMILY, 1, 0) + ATTR.pack(4 + len(name), CTRL_FAMILY_NAME) + name + bytes(3)
        self._sock.send(HEADER.pack(16 + len(body), GENL_ID_CTRL, 1, 1, 0) + body)
        answer = self._sock.recv(65536)
        at, self._family = 20, 0
        while at + 4 <= len(answer) and HEADER.unpack_from(answer)[1] == GENL_ID_CTRL:
            length, kind = ATTR.unpack_from(answer, at)
            if kind == CTRL_FAMILY_ID:
                self._family = int(struct.unpack_from("=H", answer, at + 4)[0])
            at += (length + 3) & ~3

    def close(self) -> None:
        """Give the socket back."""
        self._sock.close()

    def read(self) -> frozenset[bytes]:
        """All endpoints, as the kernel's own bytes."""
        self._sock.send(HEADER.pack(20, self._family, DUMP, 2, 0) + GENL.pack(PM_GET_ADDR, 1, 0))
        found: list[bytes] = []
        while True:
            data = self._sock.recv(65536)
            at = 0
            while at + 16 <= len(data):
                length, kind, _, _, _ = HEADER.unpack_from(data, at)
                if kind in {DONE, 2}:
                    return frozenset(found)
                found.append(data[at + 16 : at + length])
                at += (length + 3) & ~3


def complete(lab: Lab, number: int, *, only4: bool = False) -> bool:
    """Whether every address of an uplink has its endpoint, and no other address.

    Args:
        lab: the lab.
        number: of the uplink.
        only4: IPv6 does not count.
    """
    kinds = {"inet"} if only4 else {"inet", "inet6"}
    net4, net6 = nets(number)
    shown = {word for word in lab.ip("client", "mptcp endpoint").split() if word.startswith((f"{net4}.", net6))}
    there = {
        line.split()[1].split("/")[0]
        for line in lab.ip("client", f"addr show dev up{number} scope global").splitlines()
        if line.split()[0] in kinds
    }
    return bool(shown) and shown == there


@contextmanager
def watched(lab: Lab, ear: Ear) -> Iterator[None]:
    """Looks at the endpoints from entering until leaving, and tells the ear when they change.

    Args:
        lab: the lab.
        ear: of its client.
    """
    stop, ready = threading.Event(), threading.Event()

    def watch() -> None:
        step_in(lab.ns("client"))
        endpoints = Endpoints()
        known = endpoints.read()
        ready.set()
        while not stop.is_set():
            time.sleep(TICK)
            now = endpoints.read()
            if now != known:
                ear.tell(time.monotonic_ns(), ENDPOINT, 1)
            known = now
        endpoints.close()

    thread = threading.Thread(target=watch, name="endpoints")
    thread.start()
    ready.wait(5)
    try:
        yield
    finally:
        stop.set()
        thread.join()
