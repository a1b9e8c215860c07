"""mptcpd: an MPTCP endpoint for each address."""

from __future__ import annotations

import platform
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from labkit import Lab, Topology, uplinks
from labkit.netns import step_in

from ..ear import Ear
from .base import isolated, nets
from .fetch import environment, program, unpacked

PACKAGES = ("mptcpd", "mptcpd-plugins", "libmptcpd3", "libell0")
NETLINK_GENERIC, GENL_ID_CTRL, CTRL_GETFAMILY, CTRL_FAMILY_ID, CTRL_FAMILY_NAME = 16, 16, 3, 1, 2
PM_GET_ADDR, DUMP, DONE = 3, 0x301, 3
HEADER, GENL, ATTR = struct.Struct("=IHHII"), struct.Struct("=BBH"), struct.Struct("=HH")
ENDPOINT = 0xFFF0  # as the ear calls it; no kind of rtnetlink
TICK = 0.0002  # seconds between two looks at the endpoints, of which the kernel sends no news


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


class Mptcpd:
    """mptcpd with its usual plugin; the kernel takes 8 endpoints, so its lab is smaller."""

    name = "mptcpd"
    kinds: tuple[str, ...] = ("address added", "address removed")
    does = "writes or takes away one MPTCP endpoint, no routes and no rules (2 uplinks: the kernel takes 8 endpoints)"
    bar = "above 1x"
    uplinks, rounds = 2, 6
    quiet, limit = 0.06, 5.0
    hidden = False

    def topology(self, count: int) -> Topology:
        """Mpathd's lab.

        Args:
            count: number of uplinks.
        """
        return uplinks(count)

    def start(self, lab: Lab, folder: Path, stack: ExitStack) -> subprocess.Popen[str]:
        """Start it in the lab's client.

        Args:
            lab: the lab.
            folder: for its files.
            stack: not needed.
        """
        unpack = unpacked("mptcpd", PACKAGES)
        binary = program(unpack, "usr/libexec/mptcpd", f"usr/lib/{platform.machine()}-linux-gnu/libexec/mptcpd")
        plugins = next(unpack.glob("usr/lib/*/mptcpd"))
        copy = folder / "plugins"  # it refuses folders that others may write
        subprocess.run(["cp", "-r", "--no-preserve=ownership", plugins, copy], check=True)
        copy.chmod(0o755)
        argv = [str(binary), "--log=stderr", f"--plugin-dir={copy}", "--path-manager=addr_adv"]
        argv += ["--addr-flags=subflow", "--notify-flags=existing,skip_link_local,skip_loopback"]
        return isolated(lab, [], argv, folder / "log", environment(unpack))

    def right(self, lab: Lab, number: int, kind: str) -> bool:
        """Whether every address of the uplink has its endpoint, and no other address.

        Args:
            lab: the lab.
            number: of the uplink.
            kind: of the event.
        """
        net4, net6 = nets(number)
        found = lab.ip("client", "mptcp endpoint").split()
        shown = {word for word in found if word.startswith((f"{net4}.", net6))}
        there = {
            line.split()[1].split("/")[0]
            for line in lab.ip("client", f"addr show dev up{number} scope global").splitlines()
            if line.split()[0] in {"inet", "inet6"}
        }
        return bool(shown) and shown == there

    @contextmanager
    def listening(self, lab: Lab, ear: Ear) -> Iterator[None]:
        """Looks at the endpoints again and again, and tells the ear when they change.

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
