"""Who opened the connections that were there before conntrack watched: it is told, since packets do not say.

Of a connection that it has not seen from its first packet conntrack takes it that whoever speaks next has opened it
(nf_conntrack_tcp_loose; UDP has no first packet). Then ssh from outside would be a session's traffic, or a download of
a session nobody's. Sockets know more: who is spoken to on a port that somebody listens on did not open the connection.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress

from ...model.words import family_of
from ..netlink import F_DUMP, NLMSG_DONE, NLMSG_ERROR, message, messages
from ..sockdiag import ID, ID_AT, MESSAGE, NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK, old_request, request
from .conntrack import TCP, UDP, Talk, introduce
from .netlink import Netfilter

# TCP states with a peer (net/tcp_states.h): established, fin-wait-1, fin-wait-2, close-wait, last-ack, closing.
# UDP has "established" where it is connected, and "close" where it is not.
ESTABLISHED, CLOSE, LISTEN = 1, 7, 10
PEERS = {TCP: (1, 4, 5, 8, 9, 11), UDP: (ESTABLISHED,)}
OPEN = {TCP: LISTEN, UDP: CLOSE}
SIZES = {int(socket.AF_INET): 4, int(socket.AF_INET6): 16}  # bytes of an address
MAPPED = bytes(10) + b"\xff\xff"


def talks(asking: socket.socket) -> tuple[Talk, ...]:
    """Give the connections of a network namespace, those over lo apart.

    Of datagram sockets that are ours none: what conntrack knows cannot be translated any more, and they may have to be.

    Args:
        asking: a socket of sock_diag, of that namespace.
    """
    out: list[Talk] = []
    for protocol in (TCP, UDP):
        ports: set[bytes] = set()
        found: list[tuple[bytes, bytes, bytes, bytes]] = []
        for family, state, sport, dport, source, destination in _sockets(asking, protocol):
            if state == OPEN[protocol]:
                ports.add(sport)
            elif family == socket.AF_INET6 and source.startswith(MAPPED):
                found.append((source[12:], sport, destination[12:], dport))
            else:
                size = SIZES[family]
                found.append((source[:size], sport, destination[:size], dport))
        for own, sport, other, dport in found:
            if own == other or own[:1] == b"\x7f":
                continue
            if sport in ports:
                out.append(Talk(protocol, other, dport, own, sport))
            elif protocol == TCP:
                out.append(Talk(protocol, own, sport, other, dport))
    return tuple(out)


def _sockets(asking: socket.socket, protocol: int) -> Iterator[tuple[int, int, bytes, bytes, bytes, bytes]]:
    """Family, state, ports and addresses of each socket; none where the kernel cannot tell."""
    states = sum(1 << state for state in (*PEERS[protocol], OPEN[protocol]))
    if protocol == TCP:  # both families at once: each time the kernel goes through all buckets of its hash, 0.3 ms
        questions = [message(TCPDIAG_GETSOCK, F_DUMP, 0, old_request(states))]
    else:
        questions = [message(SOCK_DIAG_BY_FAMILY, F_DUMP, 0, request(f, protocol, states)) for f in SIZES]
    for question in questions:
        asking.send(question)
        yield from _answers(asking)


def _answers(asking: socket.socket) -> Iterator[tuple[int, int, bytes, bytes, bytes, bytes]]:
    while True:
        data = asking.recv(65536)
        for kind, _, _, _, at, _ in messages(data):
            if kind in (NLMSG_DONE, NLMSG_ERROR):
                return
            family, state, _, _ = MESSAGE.unpack_from(data, at)
            sport, dport, source, destination = ID.unpack_from(data, at + ID_AT)
            yield family, state, sport.to_bytes(2), dport.to_bytes(2), source, destination


class Openers:
    """Tells conntrack of the network namespace in which it was made. Where that cannot be, conntrack guesses, as ever.

    Args:
        netfilter: the socket to tell by.
    """

    def __init__(self, netfilter: Netfilter) -> None:
        self._netfilter = netfilter
        self._asking: socket.socket | None = None
        with suppress(OSError):  # a kernel without sock_diag
            self._asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG)

    def close(self) -> None:
        """Give the socket back."""
        if self._asking is not None:
            self._asking.close()

    def tell(self, sources: Iterable[str] | None = None) -> None:
        """Tell who opened the connections that there are.

        Args:
            sources: addresses of who did; None for all.
        """
        if self._asking is None:
            return
        wanted = None if sources is None else {socket.inet_pton(family_of(text), text) for text in sources}
        with suppress(OSError):
            found = talks(self._asking)
            introduce(self._netfilter, (talk for talk in found if wanted is None or talk.source in wanted))
