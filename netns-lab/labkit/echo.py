"""An echo server in a host: UDP and TCP, IPv4 and IPv6, served by a thread of this process."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from .lab import Lab

IP_PKTINFO, IPV6_RECVPKTINFO, IPV6_PKTINFO = 8, 49, 50


@dataclass(frozen=True, slots=True)
class Heard:
    """What the server got.

    Args:
        kind: "udp" (a datagram) or "tcp" (a connection).
        src, sport: who sent it.
        dst: address of the server to which it was sent.
        payload: the datagram; empty for a connection.
    """

    kind: str
    src: str
    sport: int
    dst: str
    payload: bytes = b""


class Echo:
    """Sends back what it gets, from the address to which it was sent.

    Args:
        lab: the lab.
        host: where it runs.
        port: its port, for UDP and TCP.
    """

    def __init__(self, lab: Lab, host: str, port: int) -> None:
        self.heard: list[Heard] = []
        self._lab, self._host, self._port = lab, host, port
        self._selector = selectors.DefaultSelector()
        self._wake, self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name=f"echo in {host}", daemon=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Listens; once this returns it can be reached."""
        for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                sock = self._lab.socket(self._host, family, kind)
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                else:
                    sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
                sock.bind((anywhere, self._port))
                if kind == socket.SOCK_STREAM:
                    sock.listen(128)
                self._selector.register(
                    sock, selectors.EVENT_READ, self._datagram if kind == socket.SOCK_DGRAM else self._connection
                )
        self._selector.register(self._stop, selectors.EVENT_READ)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Ends the thread and closes every socket."""
        self._wake.close()
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stop:
                    return
                with suppress(OSError):  # a peer that is gone ends its own connection, not the server
                    key.data(key.fileobj)

    def _datagram(self, sock: socket.socket) -> None:
        payload, notes, _, peer = sock.recvmsg(65536, 128)
        if sock.family == socket.AF_INET:
            asked = next(data[4:8] for level, kind, data in notes if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO))
            note = (socket.IPPROTO_IP, IP_PKTINFO, struct.pack("@i4s4s", 0, asked, b""))
        else:
            asked = next(
                data[:16] for level, kind, data in notes if (level, kind) == (socket.IPPROTO_IPV6, IPV6_PKTINFO)
            )
            note = (socket.IPPROTO_IPV6, IPV6_PKTINFO, asked + struct.pack("@I", 0))
        self.heard.append(Heard("udp", peer[0], peer[1], socket.inet_ntop(sock.family, asked), payload))
        sock.sendmsg([payload], [note], 0, peer)

    def _connection(self, sock: socket.socket) -> None:
        connection, peer = sock.accept()
        connection.setblocking(False)
        self.heard.append(Heard("tcp", peer[0], peer[1], connection.getsockname()[0]))
        self._selector.register(connection, selectors.EVENT_READ, self._stream)

    def _stream(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(65536)
            if data:
                sock.sendall(data)  # small texts only: what does not fit ends the connection
                return
        except BlockingIOError:
            pass
        except OSError:
            data = b""
        self._selector.unregister(sock)
        sock.close()
