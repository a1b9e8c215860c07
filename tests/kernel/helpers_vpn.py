"""A VPN in a lab: a tun at the client and one at the server, joined by datagrams of a user program."""

from __future__ import annotations

import os
import selectors
import socket
import threading
from contextlib import suppress
from typing import Self

from kernel.helpers_sessions import FAMILIES, SERVER, Case
from labkit import Watch, in_ns
from labkit.agent import eventually
from labkit.tun import make

DEV = "vpn0"
OUTER = 4500  # port of the datagrams that carry packets
ENDS = {4: ("10.9.0.2", "10.9.0.1"), 6: ("fd00:9::2", "fd00:9::1")}
BITS = {4: 32, 6: 128}
EVERYTHING = {4: "0.0.0.0/0", 6: "::/0"}
METRIC = 900  # of main's defaults by it, behind all others


class Tunnel:
    """The tunnel and the program that carries it, a thread of this process; its devices go when it ends.

    Args:
        case: the case.
        family: of the datagrams that carry.
    """

    def __init__(self, case: Case, family: int = 4) -> None:
        self._case, self._family = case, family
        self.inner = 0  # packets that entered at the client
        self._wake, self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._carry, name="vpn", daemon=True)

    def __enter__(self) -> Self:
        lab, case = self._case.lab, self._case
        kind = socket.AF_INET6 if self._family == 6 else socket.AF_INET
        self._files = {host: in_ns(lab.ns(host), lambda: make(DEV)) for host in (case.client, "server")}
        self._outer = lab.socket(case.client, kind, socket.SOCK_DGRAM)  # not connected: main is asked for each packet
        self._there = lab.socket("server", kind, socket.SOCK_DGRAM)
        self._there.bind((SERVER[self._family], OUTER))
        self._peer: tuple[str, int] | None = None
        for host in (case.client, "server"):
            lab.ip(host, f"link set {DEV} mtu 1280 up")  # addresses come after it: else IPv6 has no routes to the peers
        for family in FAMILIES:
            for host, (own, other) in ((case.client, ENDS[family]), ("server", ENDS[family][::-1])):
                lab.ip(host, f"addr add {own} peer {other}/{BITS[family]} dev {DEV}")
        for family in FAMILIES:
            lab.ip(case.client, f"-{family} route add {EVERYTHING[family]} dev {DEV} metric {METRIC}")
        self.watch = Watch(lab, [("server", DEV)]).start()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._wake.close()
        self._thread.join()
        self.watch.stop()
        for file in self._files.values():
            os.close(file)
        for sock in (self._outer, self._there, self._stop):
            sock.close()
        eventually(lambda: DEV not in self._case.lab.ip(self._case.client, "link"), what=f"{DEV} is gone")

    def seen(self, **fields: object) -> set[str]:
        """Give the sources of packets that came out at the server.

        Args:
            fields: as of Watch.packets.
        """
        return {packet.src for packet in self.watch.packets(way="in", **fields)}  # type: ignore[arg-type]

    def _carry(self) -> None:
        here, there = self._files[self._case.client], self._files["server"]
        with selectors.DefaultSelector() as selector:
            for file in (here, there, self._outer, self._there, self._stop):
                selector.register(file, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._stop:
                        return
                    with suppress(OSError):  # lost, as on a wire
                        self._move(key.fileobj, here, there)

    def _move(self, source: object, here: int, there: int) -> None:
        match source:
            case self._outer:
                os.write(here, self._outer.recv(65536))
            case self._there:
                packet, self._peer = self._there.recvfrom(65536)[:2]
                os.write(there, packet)
            case _ if source == here:
                packet = os.read(here, 65536)
                self.inner += 1
                self._outer.sendto(packet, (SERVER[self._family], OUTER))
            case _:
                packet = os.read(there, 65536)
                if self._peer:
                    self._there.sendto(packet, self._peer)
