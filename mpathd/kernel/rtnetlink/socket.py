"""A blocking netlink socket: dumps, and pipelined requests of which every refusal is heard."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from sys import byteorder

from ..netlink import (
    DONE,
    F_ACK,
    F_DUMP,
    F_DUMP_INTR,
    NLMSG_DONE,
    NLMSG_ERROR,
    S32,
    U32,
    answer,
    message,
    messages,
)

SOL_NETLINK = 270
SO_RCVBUFFORCE = 33  # asm-generic/socket.h; Python 3.11's socket module lacks it
NETLINK_ADD_MEMBERSHIP, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 1, 10, 11, 12
RECEIVE = 256 * 1024  # bytes at a time; the kernel fills at most 32 KiB of a dump into one datagram
BUFFER = 4 * 1024 * 1024  # of the socket; SO_RCVBUFFORCE needs CAP_NET_ADMIN, which the daemon has
BATCH = 100  # requests in one sendmsg: their answers fit the default buffer, should BUFFER be refused
TRIES = 10  # of a dump that another writer interrupted; then the last one is taken, an event is under way

FLAGS, SEQUENCE = 6 if byteorder == "little" else 7, 8  # where the low octet of one, and the other, is in a header

# A dump in a family that the kernel was built or booted without, or of a table that is not there, is empty.
EMPTY = {errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.ENOENT, errno.EPFNOSUPPORT}


class Interrupted(Exception):
    """The kernel's lists changed while they were dumped."""


def bound(groups: Sequence[int] = ()) -> socket.socket:
    """Open a rtnetlink socket.

    Args:
        groups: multicast groups to join; one that this kernel lacks is passed over.
    """
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
        try:
            sock.setsockopt(SOL_NETLINK, option, 1)
        except OSError:  # before 4.3, 4.12, 4.20: longer answers, no texts, unfiltered dumps; all handled
            continue
    sock.bind((0, 0))
    for group in groups:
        try:
            sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        except OSError:
            continue
    return sock


class Netlink:
    """One request socket."""

    def __init__(self) -> None:
        self._sock = bound()
        self._sequence = 0
        # One buffer for all answers: recv() of so many bytes maps and unmaps memory each time (seen with strace).
        self._buffer = bytearray(RECEIVE)
        self._view = memoryview(self._buffer)
        self.port: int = self._sock.getsockname()[0]

    def close(self) -> None:
        """Give the socket back."""
        self._sock.close()

    def number(self, count: int = 1) -> int:
        """Give a sequence number that nobody has had.

        Args:
            count: how many in a row; the first one is given.
        """
        self._sequence += count
        return self._sequence - count + 1

    def send(self, data: bytes | bytearray) -> None:
        """Send requests.

        Args:
            data: one, or several one behind the other.
        """
        self._sock.send(data)

    def receive(self, known: bytes = b"") -> bytes:
        """Wait for the next datagram.

        Args:
            known: what it may be: then it is given as this object.
        """
        size = self._sock.recv_into(self._buffer)
        data = self._view[:size]
        return known if size == len(known) and known.startswith(data) else bytes(data)

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Ask for a whole list and return its messages' bodies.

        Args:
            kind: the GET message.
            body: family header, with a filter where the kernel takes one.

        Raises:
            OSError: the kernel refuses.
        """
        out: list[bytes] = []
        for _ in range(TRIES):
            out = []
            try:
                out.extend(self._dump(kind, body))
            except Interrupted:
                continue
            return out
        return out

    def _dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        self._sequence += 1
        self._sock.send(message(kind, F_DUMP, self._sequence, body))
        interrupted = False
        while True:
            data = self.receive()
            for what, flags, sequence, _, at, end in messages(data):
                if sequence != self._sequence:
                    continue
                interrupted = interrupted or bool(flags & F_DUMP_INTR)
                if what == NLMSG_DONE:
                    number = -S32.unpack_from(data, at)[0] if end - at >= 4 else 0
                    if number and number not in EMPTY:
                        raise OSError(number, os.strerror(number))
                    if interrupted:
                        raise Interrupted
                    return
                if what == NLMSG_ERROR:
                    number = -S32.unpack_from(data, at)[0]
                    if number in EMPTY:
                        return
                    raise OSError(number, os.strerror(number))
                yield data[at:end]

    def ask(self, kind: int, body: bytes) -> bytes | None:
        """Ask for one object and return its body, None if the kernel has none.

        Args:
            kind: the GET message.
            body: family header and attributes that name it.
        """
        self._sequence += 1
        self._sock.send(message(kind, 0, self._sequence, body))
        while True:
            data = self.receive()
            for what, _, sequence, _, at, end in messages(data):
                if sequence == self._sequence:
                    return None if what == NLMSG_ERROR else data[at:end]

    def request(self, requests: Sequence[bytes]) -> list[tuple[int, str]]:
        """Send requests back to back and give the answer of each: errno (0 is done) and the kernel's words.

        Args:
            requests: messages with numbers in a row from `number`; F_ACK is set here.
        """
        out: list[tuple[int, str]] = []
        for start in range(0, len(requests), BATCH):
            out.extend(self._batch(requests[start : start + BATCH]))
        return out

    def _batch(self, requests: Sequence[bytes]) -> list[tuple[int, str]]:
        # Only the last one is answered in any case: the kernel takes them one by one, in their order, and answers each
        # that it refuses.
        joined = bytearray(b"".join(requests))
        flags = len(joined) - len(requests[-1]) + FLAGS
        joined[flags] |= F_ACK
        (first,) = U32.unpack_from(joined, SEQUENCE)
        last = first + len(requests) - 1
        self.send(joined)
        answers = [DONE] * len(requests)
        while True:
            data = self.receive()
            for what, flags, sequence, _, at, end in messages(data):
                if what == NLMSG_ERROR and first <= sequence <= last:
                    answers[sequence - first] = answer(data, flags, at, end)
                    if sequence == last:
                        return answers
