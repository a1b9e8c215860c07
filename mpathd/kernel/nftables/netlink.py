"""nfnetlink, as little of it as is needed: the generation of the ruleset, its events, and conntrack's deletion."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from ..netlink import F_ACK, F_DUMP, F_REQUEST, HEADER, NLMSG_DONE, NLMSG_ERROR, S32, attribute, message

NETLINK_NETFILTER = 12
DONE_SIZE = 20  # its header and an error number
NFT_SUBSYS, GETTABLE, GETGEN = 10 << 8, 1, 16
NFPROTO_INET = 1
INET = bytes((NFPROTO_INET, 0, 0, 0))
BATCH_BEGIN, BATCH_END = 0x10, 0x11  # NFNL_MSG_BATCH_*
GROUP_NFTABLES = 7  # NFNLGRP_NFTABLES
SOL_NETLINK, ADD_MEMBERSHIP = 270, 1


class Netfilter:
    """One request socket; it belongs to the network namespace in which it was made."""

    def __init__(self) -> None:
        self._sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        self._sock.bind((0, 0))
        self._port = self._sock.getsockname()[0]
        self._sequence = 0

    def close(self) -> None:
        """Give the socket back."""
        self._sock.close()

    def ask(self, kind: int, body: bytes, flags: int = 0, family: int = 0) -> tuple[int, bytes]:
        """Send one request and give errno (0: done) and the body of an answer.

        Args:
            kind: subsystem and message.
            body: attributes.
            flags: besides F_REQUEST.
            family: of nfgenmsg.
        """
        payload = bytes((family, 0, 0, 0)) + body
        self._sequence += 1
        self._sock.send(HEADER.pack(16 + len(payload), kind, F_REQUEST | flags, self._sequence, 0) + payload)
        while True:
            data = self._sock.recv(65536)
            length, what, _, sequence, _ = HEADER.unpack_from(data)
            if sequence != self._sequence:
                continue
            if what == NLMSG_ERROR:
                return -S32.unpack_from(data, 16)[0], b""
            return 0, data[20:length]

    def tell(self, kind: int, flags: int, bodies: Iterable[tuple[int, bytes]]) -> None:
        """Send requests of one kind at once, whose answers nobody reads: the kernel complains only.

        Args:
            kind: subsystem and message.
            flags: besides F_REQUEST.
            bodies: family of nfgenmsg and attributes of each.
        """
        self._sequence += 1
        parts = (message(kind, flags, self._sequence, bytes((family, 0, 0, 0)) + body) for family, body in bodies)
        self._sock.send(b"".join(parts))
        for _ in self._arrived():
            pass

    def _arrived(self) -> Iterator[bytes]:
        """Take all that the kernel has answered by now; it has done what it was told when send() returns.

        That some answers found no room is an error, behind which the others still wait: if they stayed, they would
        take the room of the next answer, for which ask() would wait for ever.
        """
        while True:
            try:
                yield self._sock.recv(65536, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def batch(self, generation: int, parts: Sequence[tuple[int, int, bytes]]) -> int:
        """Make changes of nf_tables in one transaction, and give errno: 0 if all of it is done, else nothing is.

        Args:
            generation: that the ruleset must have (ERESTART: it has another one).
            parts: kind, flags besides F_REQUEST and attributes of each.
        """
        self._sequence += 1
        number, last = self._sequence, len(parts) - 1
        ends = struct.pack(">BBH", 0, 0, NFT_SUBSYS >> 8)
        out = [message(BATCH_BEGIN, 0, number, ends + attribute(1, struct.pack(">I", generation)))]
        for place, (kind, flags, body) in enumerate(parts):
            said = flags | F_ACK if place == last else flags  # the kernel answers once all of it is done, or not
            out.append(message(kind, said, number, INET + body))
        out.append(message(BATCH_END, 0, number, ends))
        try:
            self._sock.send(b"".join(out))
        except OSError as error:  # it is longer than the socket takes
            return error.errno or errno.EIO
        found: list[int] = []
        for data in self._arrived():
            _, what, _, sequence, _ = HEADER.unpack_from(data)
            if what == NLMSG_ERROR and sequence == number:
                found.append(-S32.unpack_from(data, 16)[0])
        return max(found, default=errno.EIO)

    def dump(self, kind: int, body: bytes, family: int = NFPROTO_INET) -> list[bytes]:
        """Ask for all objects of a kind and give their attributes; none if the kernel refuses.

        Headers are not read one by one, since a thousand of them take a millisecond: in all of them sequence and port
        are the same, and nfgenmsg follows.

        Args:
            kind: subsystem and message.
            body: attributes.
            family: of nfgenmsg.
        """
        payload = bytes((family, 0, 0, 0)) + body
        self._sequence += 1
        self._sock.send(HEADER.pack(16 + len(payload), kind, F_REQUEST | F_DUMP, self._sequence, 0) + payload)
        out = b""
        while True:
            data = self._sock.recv(65536)
            if HEADER.unpack_from(data)[3] != self._sequence:
                continue
            if HEADER.unpack_from(data)[1] == NLMSG_ERROR:
                return []
            end = HEADER.unpack_from(data, len(data) - DONE_SIZE)
            if (end[0], end[1], end[3]) != (DONE_SIZE, NLMSG_DONE, self._sequence):
                out += data
                continue
            out += data[:-DONE_SIZE]  # it comes last
            parts = out.split(struct.pack("=II", self._sequence, self._port))
            # In front of each separator stands the first half of the next header: length, type and flags.
            return [part[4:-8] for part in parts[1:-1]] + [part[4:] for part in parts[1:][-1:]]

    def generation(self) -> int:
        """Give the number that every change of any ruleset in this namespace counts up."""
        number, body = self.ask(NFT_SUBSYS | GETGEN, b"")
        if number or len(body) < 8:
            return -1
        return int(struct.unpack_from(">I", body, 4)[0])  # NFTA_GEN_ID comes first

    def has_table(self, name: str) -> bool:
        """Tell whether a table of family inet is there.

        Args:
            name: its name.
        """
        body = attribute(1, name.encode() + b"\0")
        return not self.ask(NFT_SUBSYS | GETTABLE, body, 0, NFPROTO_INET)[0]


def events() -> socket.socket:
    """Open a socket that hears of every change of a ruleset."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    sock.bind((0, 0))
    with suppress(PermissionError):  # --dry-run needs no rights, and no events
        sock.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, GROUP_NFTABLES)
    sock.setblocking(False)
    return sock
