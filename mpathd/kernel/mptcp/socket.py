"""A blocking netlink socket for generic netlink and sock_diag: questions, dumps, and writes with their answers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..netlink import (
    F_ACK,
    F_DUMP,
    F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    S32,
    U16,
    U32,
    answer,
    attribute,
    attributes,
    message,
    messages,
)
from .wire import (
    CAP_ACK,
    CTRL_FAMILY_ID,
    CTRL_FAMILY_NAME,
    CTRL_GETFAMILY,
    CTRL_MCAST_GROUPS,
    CTRL_MCAST_ID,
    CTRL_MCAST_NAME,
    EXT_ACK,
    GENL,
    GENL_ID_CTRL,
    NETLINK_GENERIC,
    SO_RCVBUFFORCE,
    SOL_NETLINK,
)

RECEIVE = 256 * 1024  # bytes at a time
BUFFER = 1024 * 1024  # of the socket


class Interrupted(Exception):
    """The kernel's list changed while it was dumped."""


def opened(protocol: int) -> socket.socket:
    """Open a netlink socket with the kernel's words about refusals.

    Args:
        protocol: of netlink.
    """
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    for option in (CAP_ACK, EXT_ACK):
        sock.setsockopt(SOL_NETLINK, option, 1)
    sock.bind((0, 0))
    return sock


@dataclass(frozen=True, slots=True)
class GenericFamily:
    """A family of generic netlink.

    Args:
        id: the message type of its messages; 0 if the kernel has no such family.
        groups: multicast group's name to number.
    """

    id: int = 0
    groups: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Asked:
    """A question that is asked again and again, always under one number, with its last answer.

    Args:
        kind: message type.
        body: family header and attributes.
        flags: of the request; F_DUMP for a list.
        sequence: the number, 0 after what was not answered to its end: late answers are nobody's.
        datagrams: of the answer.
        bodies: of its messages.
    """

    kind: int
    body: bytes
    flags: int = 0
    sequence: int = 0
    datagrams: list[bytes] = field(default_factory=list)
    bodies: tuple[bytes, ...] = ()


class Netlink:
    """One request socket; it belongs to the network namespace in which it was made.

    Args:
        protocol: of netlink.
    """

    def __init__(self, protocol: int = NETLINK_GENERIC) -> None:
        self._sock = opened(protocol)
        self._sequence = 0
        self._buffer = bytearray(RECEIVE)
        self._view = memoryview(self._buffer)

    def close(self) -> None:
        """Give the socket back."""
        self._sock.close()

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        self._sock.send(message(kind, flags, self._sequence, body))

    def _datagram(self, known: bytes = b"") -> bytes:
        """The next datagram; one that is known is given as that object."""
        size = self._sock.recv_into(self._buffer)
        data = self._view[:size]
        return known if size == len(known) and known.startswith(data) else bytes(data)

    def _receive(self) -> Iterator[tuple[int, int, bytes, int, int]]:
        """Messages of one datagram that answer the last request: type, flags, buffer, offset, end."""
        data = self._datagram()
        for kind, flags, sequence, _, at, end in messages(data):
            if sequence == self._sequence:
                yield kind, flags, data, at, end

    def again(self, asked: Asked) -> tuple[bytes, ...]:
        """Ask for what was asked for before, and give the bodies of the answer: none if it is refused. While it is what
        it was, byte for byte, they are the same object.

        Args:
            asked: the question.

        Raises:
            OSError: the kernel refuses a list.
            Interrupted: the list changed meanwhile.
        """
        number, asked.sequence = asked.sequence, 0
        if not number:
            self._sequence += 1
            number = self._sequence
        self._sock.send(message(asked.kind, asked.flags, number, asked.body))
        got: list[bytes] = []
        for before in asked.datagrams:
            got.append(self._datagram(before))
            if got[-1] is not before:
                break
        else:
            if got:  # the last one says that it was all
                asked.sequence = number
                return asked.bodies
        read = _Answer(number, dump=bool(asked.flags & F_DUMP))
        for data in got:
            read.take(data)
        while not read.done:
            got.append(self._datagram())
            read.take(got[-1])
        asked.datagrams, asked.bodies, asked.sequence = got, tuple(read.bodies), number
        if read.interrupted:
            asked.datagrams = []
            raise Interrupted
        return asked.bodies

    def ask(self, kind: int, body: bytes) -> bytes | None:
        """Ask for one object and give its body, None if the kernel has none.

        Args:
            kind: message type.
            body: family header and attributes.
        """
        self._send(kind, 0, body)
        while True:
            for what, _, data, at, end in self._receive():
                return None if what == NLMSG_ERROR else data[at:end]

    def write(self, kind: int, body: bytes) -> tuple[int, str]:
        """Send one write and give errno (0: done) with the kernel's words.

        Args:
            kind: message type.
            body: family header and attributes.
        """
        self._send(kind, F_ACK, body)
        while True:
            for what, flags, data, at, end in self._receive():
                if what == NLMSG_ERROR:
                    return answer(data, flags, at, end)

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """Ask for a list and give its messages' bodies as they come, never all of them at once.

        Args:
            kind: message type.
            body: family header, with a filter where the kernel takes one.

        Raises:
            OSError: the kernel refuses.
            Interrupted: at the end, if the list changed meanwhile.
        """
        self._send(kind, F_DUMP, body)
        interrupted = False
        while True:
            for what, flags, data, at, end in self._receive():
                interrupted = interrupted or bool(flags & F_DUMP_INTR)
                if what in {NLMSG_DONE, NLMSG_ERROR}:
                    number = -S32.unpack_from(data, at)[0] if end - at >= 4 else 0
                    if number:
                        raise OSError(number, os.strerror(number))
                    if interrupted:
                        raise Interrupted
                    return
                yield data[at:end]

    def family(self, name: str) -> GenericFamily:
        """Look a family of generic netlink up.

        Args:
            name: its name.
        """
        question = GENL.pack(CTRL_GETFAMILY, 1) + attribute(CTRL_FAMILY_NAME, name.encode() + b"\0")
        answer = self.ask(GENL_ID_CTRL, question)
        if answer is None:
            return GenericFamily()
        found = attributes(answer, 4, len(answer))
        groups = {}
        for raw in attributes(found.get(CTRL_MCAST_GROUPS, b""), 0, len(found.get(CTRL_MCAST_GROUPS, b""))).values():
            group = attributes(raw, 0, len(raw))
            groups[group[CTRL_MCAST_NAME].rstrip(b"\0").decode()] = U32.unpack(group[CTRL_MCAST_ID])[0]
        return GenericFamily(U16.unpack(found[CTRL_FAMILY_ID])[0], groups)


class _Answer:
    """The messages of an answer, as its datagrams come.

    Args:
        sequence: of the question.
        dump: whether it asked for a list, of which the end is told.
    """

    def __init__(self, sequence: int, *, dump: bool) -> None:
        self._sequence, self._dump = sequence, dump
        self.bodies: list[bytes] = []
        self.done = self.interrupted = False

    def take(self, data: bytes) -> None:
        for kind, flags, sequence, _, at, end in messages(data):
            if sequence != self._sequence:
                continue
            self.interrupted = self.interrupted or bool(flags & F_DUMP_INTR)
            self.done = kind in {NLMSG_DONE, NLMSG_ERROR} or not self._dump
            if kind not in {NLMSG_DONE, NLMSG_ERROR}:
                self.bodies.append(data[at:end])
            elif self._dump and end - at >= S32.size and (number := -S32.unpack_from(data, at)[0]):
                raise OSError(number, os.strerror(number))
