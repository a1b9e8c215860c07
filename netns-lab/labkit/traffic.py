"""Traffic from a lab's host, with what came of it."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from dataclasses import dataclass

from .lab import Lab

TIMED_OUT = 110
SO_MARK = 36


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of sending.

    Args:
        error: errno; 0: it went.
        source: address from which it went, as the socket knows it; empty: the kernel did not say.
        sport: port from which it went.
        reply: what came back; None: nothing did.
    """

    error: int
    source: str = ""
    sport: int = 0
    reply: bytes | None = None

    @property
    def ok(self) -> bool:
        """Whether it went."""
        return self.error == 0

    def __str__(self) -> str:
        return f"from {self.source or '?'}: {os.strerror(self.error) if self.error else 'sent'}"


def family_of(address: str) -> socket.AddressFamily:
    """The family of an address in text."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def opened(
    lab: Lab, host: str, dst: str, kind: int, source: str | None, device: str | None, mark: int, sport: int = 0
) -> socket.socket:
    """A socket in a host, bound as wanted.

    Args:
        lab: the lab.
        host: where the socket lives.
        dst: address to be reached, for the family.
        kind: SOCK_DGRAM or SOCK_STREAM.
        source: address to bind to; None: none.
        device: interface to bind to; None: none.
        mark: firewall mark; 0: none.
        sport: port to bind to; 0: the kernel chooses.

    Raises:
        OSError: the kernel refused, with its errno.
    """
    sock = lab.socket(host, family_of(dst), kind)
    try:
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        if source or sport:
            sock.bind((source or "", sport))
    except OSError:
        sock.close()
        raise
    return sock


def send_udp(
    lab: Lab,
    host: str,
    dst: str,
    port: int,
    source: str | None = None,
    payload: bytes = b"lab",
    *,
    device: str | None = None,
    mark: int = 0,
    timeout: float = 0.0,
    sport: int = 0,
) -> Outcome:
    """Sends one datagram.

    Args:
        lab: the lab.
        host: the sender.
        dst: address of the receiver.
        port: its port.
        source: address to bind to; None: the kernel chooses.
        payload: what is sent; a text of its own finds it again at the far side.
        device: interface to bind to (SO_BINDTODEVICE).
        mark: firewall mark of the socket.
        timeout: seconds to wait for a reply; 0: do not.
        sport: port to bind to; 0: the kernel chooses.
    """
    try:
        sock = opened(lab, host, dst, socket.SOCK_DGRAM, source, device, mark, sport)
    except OSError as error:
        return Outcome(error.errno or 1)
    with sock:
        try:
            sock.connect((dst, port))
            own = sock.getsockname()
            sock.send(payload)
            reply = None
            if timeout and select.select([sock], [], [], timeout)[0]:
                reply = sock.recv(65536)
        except OSError as error:
            return Outcome(error.errno or 1, *sock.getsockname()[:2])
        return Outcome(0, own[0], own[1], reply)


def tcp_connect(
    lab: Lab,
    host: str,
    dst: str,
    port: int,
    source: str | None = None,
    timeout: float = 2.0,
    *,
    device: str | None = None,
    mark: int = 0,
    payload: bytes = b"",
) -> Outcome:
    """Connects, and closes again.

    Args:
        lab: the lab.
        host: the client.
        dst: address of the server.
        port: its port.
        source: address to bind to; None: the kernel chooses.
        timeout: seconds until it is given up with ETIMEDOUT.
        device: interface to bind to (SO_BINDTODEVICE).
        mark: firewall mark of the socket.
        payload: is sent once connected; its echo is the reply.
    """
    try:
        sock = opened(lab, host, dst, socket.SOCK_STREAM, source, device, mark)
    except OSError as error:
        return Outcome(error.errno or 1)
    with sock:
        sock.settimeout(timeout)
        try:
            sock.connect((dst, port))
            own = sock.getsockname()
            reply = None
            if payload:
                sock.sendall(payload)
                reply = sock.recv(65536)
        except TimeoutError:
            return Outcome(TIMED_OUT, *sock.getsockname()[:2])
        except OSError as error:
            return Outcome(error.errno or 1)
        return Outcome(0, own[0], own[1], reply)


def ping(
    lab: Lab, host: str, dst: str, source: str | None = None, timeout: float = 2.0, *, device: str | None = None
) -> Outcome:
    """Sends one ICMP echo request and waits for its reply.

    Args:
        lab: the lab.
        host: who asks.
        dst: who is asked.
        source: address to bind to; None: the kernel chooses.
        timeout: seconds until it is given up with ETIMEDOUT.
        device: interface to bind to (SO_BINDTODEVICE).
    """
    family = family_of(dst)
    number = (time.monotonic_ns() & 0xFFFF_FFFF).to_bytes(4, "big")
    ask, answer = (128, 129) if family == socket.AF_INET6 else (8, 0)
    proto = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    with lab.socket(host, family, socket.SOCK_RAW, proto) as sock:
        try:
            if device:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            if source:
                sock.bind((source, 0))
            sock.connect((dst, 0))
            own = sock.getsockname()[0]
            body = struct.pack("!BBH4s4s", ask, 0, 0, number, b"ping")
            sock.send(body if family == socket.AF_INET6 else body[:2] + _sum(body) + body[4:])
            deadline = time.monotonic() + timeout
            while (left := deadline - time.monotonic()) > 0 and select.select([sock], [], [], left)[0]:
                got = sock.recv(65536)
                got = got if family == socket.AF_INET6 else got[(got[0] & 15) * 4 :]
                if got[0] == answer and got[4:8] == number:
                    return Outcome(0, own, 0, got[8:])
        except OSError as error:
            return Outcome(error.errno or 1, sock.getsockname()[0])
        return Outcome(TIMED_OUT, own)


def _sum(data: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
