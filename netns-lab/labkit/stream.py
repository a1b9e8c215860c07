"""One bounded transfer between two hosts of a lab by TCP or MPTCP, with the time at which every piece arrived."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from .errors import LabError
from .lab import Lab
from .traffic import family_of

IPPROTO_MPTCP = 262
TCP_CONGESTION = 13
PIECE = bytes(1 << 16)
TAKE = 1 << 18  # bytes read at a time
PATIENCE = 10.0  # seconds without any progress until either side gives up


@dataclass(frozen=True, slots=True)
class Arrival:
    """A piece of data that the receiving program got.

    Args:
        at: seconds, monotonic.
        size: bytes.
    """

    at: float
    size: int


class Stream:
    """Sends as fast as it goes from entering until `stop` or its time is over.

    Args:
        lab: the lab.
        client: host that connects.
        server: host that listens.
        address: of the server.
        seconds: after which the sender ends by itself.
        mptcp: MPTCP, else plain TCP.
        download: the server sends, else the client.
        congestion: congestion control; one that is not open to all needs CAP_NET_ADMIN over the namespace.
        port: of the server; 0: one of this stream's own.
        connect: gives the client's socket, connected to an address and a port; None: this process makes it.

    Raises:
        LabError: this kernel has no MPTCP, or not that congestion control.
    """

    def __init__(
        self,
        lab: Lab,
        client: str,
        server: str,
        address: str,
        *,
        seconds: float,
        mptcp: bool = True,
        download: bool = False,
        congestion: str = "cubic",
        port: int = 0,
        connect: Callable[[str, int], socket.socket] | None = None,
    ) -> None:
        self._lab, self._hosts, self._address = lab, (client, server), address
        self._seconds, self._download = seconds, download
        self._proto = IPPROTO_MPTCP if mptcp else socket.IPPROTO_TCP
        self._congestion = congestion.encode()
        self._stop = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._trouble: list[Exception] = []
        self.arrivals: list[Arrival] = []
        self.port = port
        self._connect = connect
        self.started = self.ended = 0.0

    def __enter__(self) -> Self:
        try:
            near, far = self._connected()
        except BaseException:
            self._close()
            raise
        sender, receiver = (far, near) if self._download else (near, far)
        self.started = time.monotonic()
        for work, sock in ((self._send, sender), (self._receive, receiver)):
            thread = threading.Thread(target=self._tried, args=(work, sock), daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)
        self._close()
        if self._trouble and kind is None:
            raise LabError("the transfer broke off", str(self._trouble[0])) from self._trouble[0]

    def stop(self) -> None:
        """Sends no more, and returns once the receiver has all."""
        self._stop.set()
        self.wait()

    def wait(self) -> None:
        """Returns once the sender's time is over and the receiver has all."""
        for thread in self._threads:
            thread.join(self._seconds + 2 * PATIENCE)

    @property
    def total(self) -> int:
        """Bytes that arrived until now."""
        return sum(arrival.size for arrival in list(self.arrivals))

    def _socket(self, host: str) -> socket.socket:
        try:
            sock = self._lab.socket(host, family_of(self._address), socket.SOCK_STREAM, self._proto)
        except OSError as error:
            todo = "it needs CONFIG_MPTCP and sysctl net.mptcp.enabled=1" if self._proto == IPPROTO_MPTCP else ""
            raise LabError(f"no socket of protocol {self._proto} in {host}", error.strerror or "", todo) from error
        return self._prepared(sock)

    def _prepared(self, sock: socket.socket) -> socket.socket:
        self._sockets.append(sock)
        sock.settimeout(PATIENCE)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, self._congestion)
        except OSError as error:
            raise LabError(f"no congestion control {self._congestion.decode()}", error.strerror or "") from error
        return sock

    def _connected(self) -> tuple[socket.socket, socket.socket]:
        ear = self._socket(self._hosts[1])
        # A port of its own if none is wanted: a subflow that lingers would keep a fixed one busy.
        ear.bind((self._address, self.port))
        ear.listen(1)
        self.port = ear.getsockname()[1]
        near = self._near()
        far, _ = ear.accept()
        far.settimeout(PATIENCE)
        self._sockets.append(far)
        return near, far

    def _near(self) -> socket.socket:
        if self._connect:
            return self._prepared(self._connect(self._address, self.port))
        near = self._socket(self._hosts[0])
        near.connect((self._address, self.port))
        return near

    def _tried(self, work: object, sock: socket.socket) -> None:
        assert callable(work)
        try:
            work(sock)
        except OSError as error:
            self._trouble.append(error)
        finally:
            self._stop.set()

    def _send(self, sock: socket.socket) -> None:
        end = self.started + self._seconds
        while not self._stop.is_set() and time.monotonic() < end:
            sock.sendall(PIECE)
        sock.shutdown(socket.SHUT_WR)

    def _receive(self, sock: socket.socket) -> None:
        buffer = bytearray(TAKE)
        while size := sock.recv_into(buffer):
            self.arrivals.append(Arrival(time.monotonic(), size))
        self.ended = time.monotonic()

    def _close(self) -> None:
        for sock in self._sockets:
            with suppress(OSError):
                while select.select([sock], [], [], 0)[0] and sock.recv(TAKE):
                    pass  # closing with unread data resets an MPTCP connection
            sock.close()
