"""A connection to the bus: one plain blocking socket. Nothing here knows mpathd's interfaces."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections import deque
from typing import Any

from .. import codec
from ..codec import Kind, Message
from ..model import busaddress
from ..model.busaddress import SYSTEM_BUS
from ..model.errors import ConfigError
from .errors import Absent, Answered, Late

DRIVER = "org.freedesktop.DBus"
DRIVER_PATH = "/org/freedesktop/DBus"
VARIABLE = "DBUS_SYSTEM_BUS_ADDRESS"

# Seconds for the bus itself, which answers in less than a millisecond.
PATIENCE = 5.0


def address() -> str:
    """Choose the bus: the one that the environment names, else the system's."""
    return os.environ.get(VARIABLE) or SYSTEM_BUS


def places(given: str) -> list[str]:
    """Give the socket names in a bus address, in order; an abstract one begins with a zero character.

    Args:
        given: as in the D-Bus specification, alternatives separated by semicolons.

    Raises:
        Absent: nothing in it is a Unix socket.
    """
    try:
        return busaddress.places(given)
    except ConfigError as error:
        raise Absent(error.text, f"write {VARIABLE} as {SYSTEM_BUS}") from None


def _unreachable(given: str, why: str) -> Absent:
    return Absent(f"the bus cannot be reached at {given}: {why}", f"start dbus, or name another bus in {VARIABLE}")


class Wire:
    """One connection, from Hello until it is closed.

    Args:
        sock: connected and authenticated.
        where: the bus address, for errors.
    """

    def __init__(self, sock: socket.socket, where: str) -> None:
        self._sock = sock
        self._where = where
        self._serial = 0
        self._in = bytearray()
        self._signals: deque[Message] = deque()

    @classmethod
    def open(cls, where: str = "", patience: float = PATIENCE) -> Wire:
        """Connect, prove who we are and say Hello.

        Args:
            where: a bus address; empty means the environment's, or the system's.
            patience: seconds.

        Raises:
            Absent: the bus cannot be reached.
        """
        where = where or address()
        until = time.monotonic() + patience
        failure = _unreachable(where, "no address")
        for place in places(where):
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            wire = cls(sock, where)
            try:
                # Not settimeout: a Unix socket that may not block fails at once while the bus has a queue at its door.
                limit = struct.pack("ll", int(patience), int(patience % 1 * 1_000_000))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
                sock.connect(place)
                wire._authenticate(until)
                wire.ask("Hello", until=until)
            except Absent as error:
                failure = error
            except (Late, BlockingIOError):
                failure = _unreachable(where, "it does not answer")
            except (Answered, OSError) as error:
                failure = _unreachable(where, getattr(error, "strerror", None) or str(error))
            else:
                return wire
            sock.close()
        raise failure

    def close(self) -> None:
        """End the connection."""
        self._sock.close()

    def fileno(self) -> int:
        """The socket's number, for poll."""
        return self._sock.fileno()

    def ask(self, member: str, *args: str, until: float | None = None) -> list[Any]:
        """Call a method of the bus itself whose arguments are strings.

        Args:
            member: the method.
            args: its arguments.
            until: monotonic time when patience ends.
        """
        fields = {codec.PATH: DRIVER_PATH, codec.INTERFACE: DRIVER, codec.MEMBER: member, codec.DESTINATION: DRIVER}
        return self.call(fields, "s" * len(args), args, until or time.monotonic() + PATIENCE)

    def call(self, fields: dict[int, Any], signature: str, body: tuple[Any, ...], until: float) -> list[Any]:
        """Call a method and give its results.

        Args:
            fields: path, interface, member and destination.
            signature: types of the arguments.
            body: the arguments.
            until: monotonic time when patience ends.

        Raises:
            Answered: with an error.
            Late: not answered in time.
            Absent: the connection is gone.
        """
        self._serial += 1
        if signature:
            fields = {**fields, codec.SIGNATURE: signature}
        self._send(codec.pack(Message(Kind.CALL, self._serial, fields, body, codec.NO_START)), until)
        while True:
            message = self._next(until)
            if message is None:
                raise Late("no answer in time")
            match message.kind:
                case Kind.SIGNAL | Kind.CALL if _tells(message):
                    self._signals.append(message)
                case Kind.ANSWER if message.fields.get(codec.REPLY) == self._serial:
                    return list(message.body)
                case Kind.ERROR if message.fields.get(codec.REPLY) == self._serial:
                    raise _answered(message)
                case _:
                    pass

    def signal(self, wait: float) -> Message | None:
        """Give the next signal, or call that wants no answer, as mpathd tells its clients; None when none came in time.

        Args:
            wait: seconds; 0 takes only what is here already.

        Raises:
            Absent: the connection is gone.
        """
        until = time.monotonic() + wait
        while not self._signals:
            message = self._next(until)
            if message is None:
                return None
            if _tells(message):
                return message
        return self._signals.popleft()

    def forget(self, but: str) -> None:
        """Drop the signals that are here already and were not asked for yet.

        Args:
            but: whose are kept.
        """
        self._signals = deque(message for message in self._signals if message.fields.get(codec.SENDER) == but)

    def _authenticate(self, until: float) -> None:
        # No number is sent: the bus takes the one that the kernel tells it, which is right in user namespaces too.
        self._send(b"\0AUTH EXTERNAL\r\nDATA\r\n", until)
        line = b"DATA"
        while line.startswith(b"DATA"):
            while b"\r\n" not in self._in:
                if not self._receive(until):
                    raise Late("no answer in time")
            line, _, rest = bytes(self._in).partition(b"\r\n")
            self._in[:] = rest
        if not line.startswith(b"OK"):
            raise Answered("AuthFailed", "it does not know us (EXTERNAL was rejected)")
        self._send(b"BEGIN\r\n", until)

    def _send(self, data: bytes, until: float) -> None:
        self._sock.settimeout(max(until - time.monotonic(), 0.001))
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise Late("no answer in time") from None
        except OSError as error:
            raise _unreachable(self._where, error.strerror or str(error)) from None

    def _next(self, until: float) -> Message | None:
        """Read one message; None when none came in time."""
        try:
            need = codec.FIXED
            while True:
                if len(self._in) >= codec.FIXED:
                    need = codec.length(bytes(self._in[: codec.FIXED]))
                if len(self._in) >= need:
                    data = bytes(self._in[:need])
                    del self._in[:need]
                    return codec.unpack(data)
                if not self._receive(until):
                    return None
        except codec.Unreadable as error:
            raise Answered("Failed", f"the bus at {self._where} sent what cannot be read: {error}") from None

    def _receive(self, until: float) -> bool:
        """Read what is there, waiting for something to be; False when nothing came in time."""
        waiter = select.poll()
        waiter.register(self._sock, select.POLLIN)
        if not waiter.poll(max(0.0, until - time.monotonic()) * 1000):
            return False
        try:
            data = self._sock.recv(1 << 16)
        except OSError as error:
            raise _unreachable(self._where, error.strerror or str(error)) from None
        if not data:
            raise _unreachable(self._where, "it hung up")
        self._in += data
        return True


def _tells(message: Message) -> bool:
    """Whether a message only tells something; calls that want an answer get none from us, who offer nothing."""
    return message.kind == Kind.SIGNAL or (message.kind == Kind.CALL and bool(message.flags & codec.NO_ANSWER))


def _answered(message: Message) -> Answered:
    """An error message as an error: the text before the first line break, and the way out behind it."""
    text = str(message.body[0]) if message.body else ""
    what, _, hint = text.partition("\n")
    name = str(message.fields.get(codec.ERROR, ""))
    return Answered(name.rpartition(".")[2], what or name, "\n  ".join(line.strip() for line in hint.splitlines()))
