"""Sees packets at the far side: listens on devices of a lab's hosts."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Self

from . import netns
from .errors import WatchError
from .lab import Lab
from .packet import Packet, parse

ETH_P_ALL, PACKET_OUTGOING = 0x0003, 4
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_RCVBUFFORCE, SO_TIMESTAMPNS, SO_RCVBUF = 33, 35, 8
BUFFER = 8 << 20


class Watch:
    """Packets that pass devices of a lab, from `start` to `stop`.

    Args:
        lab: the lab.
        places: (host, device) pairs.
    """

    def __init__(self, lab: Lab, places: Iterable[tuple[str, str]]) -> None:
        self._lab = lab
        self._places = tuple(places)
        self._sockets: dict[int, tuple[str, str, socket.socket]] = {}
        self._seen: list[Packet] = []

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Begins to see; every packet after this returns is seen."""
        for host, dev in self._places:
            sock = netns.in_ns(self._lab.ns(host), partial(_listen, dev))
            self._sockets[sock.fileno()] = (host, dev, sock)
        return self

    def stop(self) -> None:
        """Sees no more; what was seen until now stays."""
        try:
            if self._sockets:
                self._read()
        finally:
            for _, _, sock in self._sockets.values():
                sock.close()
            self._sockets.clear()

    def clear(self) -> None:
        """Forgets what was seen until now."""
        self._read()
        self._seen.clear()

    def packets(
        self,
        *,
        host: str | None = None,
        dev: str | None = None,
        way: str | None = None,
        family: int | None = None,
        src: str | None = None,
        dst: str | None = None,
        proto: int | None = None,
        sport: int | None = None,
        dport: int | None = None,
        payload: bytes | None = None,
    ) -> tuple[Packet, ...]:
        """What was seen until now, in order of time; each argument keeps only what equals it.

        Raises:
            WatchError: packets were lost, so nothing can be said.
        """
        self._read()
        wanted = {
            "host": host,
            "dev": dev,
            "way": way,
            "family": family,
            "src": src,
            "dst": dst,
            "proto": proto,
            "sport": sport,
            "dport": dport,
            "payload": payload,
        }
        fields = [(key, value) for key, value in wanted.items() if value is not None]
        return tuple(packet for packet in self._seen if all(getattr(packet, key) == value for key, value in fields))

    def devices(self, **fields: object) -> tuple[str, ...]:
        """Names of the devices that saw such packets, each once, in the order of the places.

        Args:
            fields: as of `packets`.
        """
        seen = {(packet.host, packet.dev) for packet in self.packets(**fields)}  # type: ignore[arg-type]
        return tuple(dev for host, dev in self._places if (host, dev) in seen)

    def wait(self, condition: Callable[[Sequence[Packet]], object], timeout: float = 3.0) -> tuple[Packet, ...]:
        """Waits until the condition holds for what was seen since `start` or `clear`, and gives all of that.

        Args:
            condition: takes the packets, says whether they suffice.
            timeout: seconds.

        Raises:
            WatchError: it did not hold in time; names what was seen.
        """
        deadline = time.monotonic() + timeout
        poll = select.poll()
        for file in self._sockets:
            poll.register(file, select.POLLIN)
        while not condition(self.packets()):
            left = deadline - time.monotonic()
            if left <= 0:
                lines = "".join(f"\n  {packet}" for packet in self._seen) or " nothing"
                places = " ".join(f"{host}:{dev}" for host, dev in self._places)
                raise WatchError(f"not seen within {timeout:g} s at {places}", f"seen:{lines}")
            poll.poll(left * 1000)
        return tuple(self._seen)

    def _read(self) -> None:
        fresh: list[Packet] = []
        for host, dev, sock in self._sockets.values():
            fresh += _drain(host, dev, sock)
            lost = struct.unpack("II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
            if lost:
                raise WatchError(
                    f"{lost} packets were lost at {host}:{dev}", "", "send less, or call packets() in between"
                )
        self._seen += fresh
        self._seen.sort(key=lambda packet: packet.at)


def _listen(dev: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    except PermissionError:  # in a user namespace the machine's limit holds
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.bind((dev, ETH_P_ALL))
    return sock


def _drain(host: str, dev: str, sock: socket.socket) -> list[Packet]:
    fresh: list[Packet] = []
    while True:
        try:
            raw, notes, _, (_, ethertype, kind, *_) = sock.recvmsg(65536, 64)
        except BlockingIOError:
            return fresh
        except OSError as error:  # ENETDOWN is told once, when the device goes down
            if error.errno != 100:
                raise
            continue
        sec, nano = next(
            (struct.unpack("qq", data) for _, note, data in notes if note == SO_TIMESTAMPNS), (time.time(), 0)
        )
        at = sec + nano / 1e9
        fresh.append(parse(host, dev, "out" if kind == PACKET_OUTGOING else "in", at, ethertype, raw))
