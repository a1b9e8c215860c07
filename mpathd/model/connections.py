"""MPTCP connections that are alive, and the subflows that carry them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .words import Address


class TcpState(Enum):
    """States of TCP, which MPTCP has too (include/net/tcp_states.h)."""

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11
    NEW_SYN_RECV = 12

    @property
    def words(self) -> str:
        """The state as `ss` writes it."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Subflow:
    """A TCP connection that carries a part of an MPTCP connection.

    Args:
        token: of the connection, at this end.
        source, sport: the near end.
        destination, dport: the far end.
        state: of this TCP connection.
        index: interface that it is bound to, 0 for none.
        local, remote: ids of its addresses; 0 is the first subflow's.
        backup: this end wants it to be a backup.
        backup_asked: the far end asked for it.
        joined: it was added to a connection that was there.
        established: both ends have agreed on it.
        sent, acked, received: bytes; sent counts those that were sent again.
        retransmitted: bytes that were sent again.
        retransmissions: segments that were sent again.
        rtt: round trip time in microseconds.
        window: congestion window in segments.
        mark: of the socket, which tells its session; 0 where the kernel does not say.
        cookie: the kernel's own number of the socket, which no other one ever has.
    """

    token: int
    source: Address
    sport: int
    destination: Address
    dport: int
    state: TcpState = TcpState.ESTABLISHED
    index: int = 0
    local: int = 0
    remote: int = 0
    backup: bool = False
    backup_asked: bool = False
    joined: bool = False
    established: bool = True
    sent: int = 0
    acked: int = 0
    received: int = 0
    retransmitted: int = 0
    retransmissions: int = 0
    rtt: int = 0
    window: int = 0
    mark: int = 0
    cookie: int = 0


@dataclass(frozen=True, slots=True)
class Connection:
    """An MPTCP connection, as a program has it.

    Args:
        token: its name at this end.
        source, sport: the near end of its first subflow.
        destination, dport: the far end.
        state: of the connection.
        user: id of the owner of the socket.
        inode: of the socket, by which its processes are found; 0 once no process has it any more.
        fallback: the far side, or something in the middle, does not speak MPTCP: it is plain TCP.
        subflows: beside the first one.
        subflows_max: how many of them its limits allow.
        sent, acked, received: bytes of data, each once; 0 before Linux 6.5.
        retransmitted: bytes that were sent again on whichever subflow.
        mark: of the socket, which tells its session; 0 where the kernel does not say.
        cookie: the kernel's own number of the socket, which no other one ever has.
    """

    token: int
    source: Address
    sport: int
    destination: Address
    dport: int
    state: TcpState = TcpState.ESTABLISHED
    user: int = 0
    inode: int = 0
    fallback: bool = False
    subflows: int = 0
    subflows_max: int = 0
    sent: int = 0
    acked: int = 0
    received: int = 0
    retransmitted: int = 0
    mark: int = 0
    cookie: int = 0


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that has a socket.

    Args:
        pid: its id.
        name: its program, as the kernel shortens it.
        user: who may see what it has open: root for what hides its memory.
    """

    pid: int
    name: str
    user: int = 0


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a connection or a subflow is.

    Args:
        up: bits in a second that the far end has acknowledged.
        down: bits in a second that came from it.
    """

    up: float
    down: float


@dataclass(frozen=True, slots=True)
class SubflowView:
    """A subflow, and the uplink that it leaves by.

    Args:
        subflow: as the kernel has it.
        service: identifier of its uplink, empty if it leaves by no service's link.
        interface: the name of that link, empty if no link has its address any more.
    """

    subflow: Subflow
    service: str
    interface: str


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """A connection with its subflows.

    Args:
        connection: as the kernel has it.
        subflows: the first one first, then by their ids. One that fell back to plain TCP has none: it is one itself.
        service: identifier of the uplink of its own address.
        interface: the name of that link.
    """

    connection: Connection
    subflows: tuple[SubflowView, ...]
    service: str
    interface: str

    @property
    def services(self) -> tuple[str, ...]:
        """The uplinks that carry it, each once."""
        if self.connection.fallback:
            return (self.service,) if self.service else ()
        return tuple(dict.fromkeys(sub.service for sub in self.subflows if sub.service))
