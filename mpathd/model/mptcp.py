"""MPTCP in the kernel's words: endpoints, limits, and what it tells of connections.

Numbers are those of include/uapi/linux/mptcp.h and mptcp_pm.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag, StrEnum, auto
from errno import errorcode

from .words import Address, Family, MptcpMode, family_of


class Flag(IntFlag):
    """What an endpoint is for."""

    SIGNAL = 0x1
    SUBFLOW = 0x2
    BACKUP = 0x4
    FULLMESH = 0x8
    IMPLICIT = 0x10  # the kernel's own, for an announced address that it answered
    LAMINAR = 0x20

    @property
    def words(self) -> tuple[str, ...]:
        """The flags as `ip mptcp` writes them; bits that are not known, as a number."""
        rest = int(self) & ~int(KNOWN)  # ~ of a flag leaves out bits that have no name
        names = tuple(flag.name.lower() for flag in KNOWN if flag & self and flag.name)
        return (*names, f"{rest:#x}") if rest else names


NOTHING = Flag(0)
KNOWN = Flag.SIGNAL | Flag.SUBFLOW | Flag.BACKUP | Flag.FULLMESH | Flag.IMPLICIT | Flag.LAMINAR
CHANGEABLE = Flag.BACKUP | Flag.FULLMESH  # SET_FLAGS replaces these two, and no other (seen on 6.18)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that MPTCP may use.

    Args:
        id: the kernel's number, 1 to 255; ours are among Numbers.endpoint_ids.
        address: the machine's own address.
        index: the interface that its subflows are bound to, 0 for none.
        port: that a signalled address listens on, 0 for the connection's.
        flags: what it is for.
        dev: the interface's name, for printing.
    """

    id: int
    address: Address
    index: int = 0
    port: int = 0
    flags: Flag = NOTHING
    dev: str = field(default="", compare=False)

    @property
    def family(self) -> Family:
        """Its address family."""
        return family_of(self.address)

    @property
    def key(self) -> tuple[Address, int]:
        """What the kernel tells endpoints apart by, beside their ids."""
        return (self.address, self.port)

    @property
    def name(self) -> tuple[int, Address]:
        """What mpathd remembers of one that it made."""
        return (self.id, self.address)

    def words(self) -> str:
        """The endpoint as `ip mptcp endpoint add` wants it."""
        out = f"{self.address} id {self.id}" if self.id else str(self.address)
        if self.index:
            out += f" dev {self.dev or f'if{self.index}'}"
        if self.port:
            out += f" port {self.port}"
        return " ".join((out, *self.flags.words))

    def __str__(self) -> str:
        return f"ip mptcp endpoint add {self.words()}"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may have; the far side has limits of its own.

    Args:
        subflows: beside its first one.
        accepted: announced addresses of the far side that are used.
    """

    subflows: int = 0
    accepted: int = 0

    def words(self) -> str:
        """The limits as `ip mptcp limits set` wants them."""
        return f"subflows {self.subflows} add_addr_accepted {self.accepted}"

    def __str__(self) -> str:
        return f"ip mptcp limits set {self.words()}"


@dataclass(frozen=True, slots=True)
class LinkUse:
    """What a kernel of multipath-tcp.org may do with a link, by two flags of the interface.

    Args:
        index: of the interface.
        mode: on, backup or off.
        dev: the interface's name, for printing.
    """

    index: int
    mode: MptcpMode = MptcpMode.ON
    dev: str = field(default="", compare=False)

    @property
    def name(self) -> tuple[int, Address]:
        """What mpathd remembers of one that it set."""
        return (self.index, Address(""))

    def __str__(self) -> str:
        return f"ip link set dev {self.dev or f'if{self.index}'} multipath {self.mode}"


class Act(StrEnum):
    """What a change does."""

    ADD = auto()
    CHANGE = auto()  # the flags BACKUP and FULLMESH: live subflows stay, and the far side hears of it
    DELETE = auto()  # closes its subflows on all connections
    SET = auto()  # limits, or what a link is for


@dataclass(frozen=True, slots=True)
class Change:
    """One write.

    Args:
        act: what is done.
        what: as it shall be; of a DELETE, as it is.
    """

    act: Act
    what: Endpoint | Limits | LinkUse

    def __str__(self) -> str:
        match self.what:
            case Limits() | LinkUse():
                return str(self.what)
            case Endpoint(id=number, address=address, flags=flags):
                match self.act:
                    case Act.CHANGE:
                        words = (f if f in flags.words else f"no{f}" for f in CHANGEABLE.words)
                        return f"ip mptcp endpoint change id {number} {' '.join(words)}"
                    case Act.DELETE:
                        return f"ip mptcp endpoint delete id {number}{'' if number else f' {address}'}"
                    case Act.ADD | Act.SET:
                        return str(self.what)


class Manager(StrEnum):
    """Who makes the subflows of new connections (sysctl net.mptcp.path_manager)."""

    KERNEL = auto()
    USERSPACE = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Mptcp:
    """What one look found.

    Args:
        missing: why MPTCP cannot be used here, one clause; empty if it can.
        endpoints: all of them, also others'.
        limits: in force.
        manager: endpoints mean nothing to connections that are made under another one than the kernel's.
        room: endpoints that this kernel takes, all together; 0 while that is not known.
        ceiling: the greatest limit that it takes; 0 while that is not known.
        lacks: flags that this kernel does not keep.
        links: of a kernel that has flags of links in place of endpoints.
        mine: id and address of the endpoints that mpathd made. Ids alone do not tell: who asks for none gets the one
            after the highest that was in use last, which may be any (seen on 6.18).
        spent: ids of endpoints that mpathd has deleted, the latest one last: the far side is told to forget the id, and
            closes a new subflow that has it when this arrives late (seen on 6.18).
    """

    missing: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    limits: Limits = Limits()
    manager: Manager = Manager.KERNEL
    room: int = 0
    ceiling: int = 0
    lacks: Flag = NOTHING
    links: tuple[LinkUse, ...] = ()
    mine: frozenset[tuple[int, Address]] = frozenset()
    spent: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Options:
    """What [mptcp] in mpathd.conf says about all links.

    Args:
        fullmesh: subflows to every address of the far side, not only to the first one.
        signal: announce the addresses to the far side.
        laminar: answer each announced address by one link alone (Linux 6.18).
        limits: raise the kernel's limits to what the links need.
    """

    fullmesh: bool = False
    signal: bool = False
    laminar: bool = False
    limits: bool = True

    @property
    def clash(self) -> str:
        """What cannot be had together, empty if all can."""
        return "signal and fullmesh exclude each other in the kernel" if self.signal and self.fullmesh else ""

    @property
    def flags(self) -> Flag:
        """What they add to an endpoint."""
        given = ((self.fullmesh, Flag.FULLMESH), (self.signal, Flag.SIGNAL), (self.laminar, Flag.LAMINAR))
        out = Flag.SUBFLOW
        for wanted, flag in given:
            out |= flag if wanted else NOTHING
        return out


@dataclass(frozen=True, slots=True)
class Kept:
    """What must last over the end of a process, but not over a boot.

    Args:
        mine: id and address of the endpoints that mpathd has made, or was about to make.
        before: limits as they were before mpathd raised them; None as long as it has not.
        raised: as it has set them last.
        room, ceiling: what was learned of the kernel (see Mptcp); --dry-run tries nothing, and knows it from here.
    """

    mine: frozenset[tuple[int, Address]] = frozenset()
    before: Limits | None = None
    raised: Limits = Limits()
    room: int = 0
    ceiling: int = 0


class Kind(IntEnum):
    """What the kernel tells of a connection (enum mptcp_event_type)."""

    CREATED = 1
    ESTABLISHED = 2
    CLOSED = 3
    ANNOUNCED = 6
    REMOVED = 7
    SUB_ESTABLISHED = 10
    SUB_CLOSED = 11
    SUB_PRIORITY = 13
    LISTENER_CREATED = 15
    LISTENER_CLOSED = 16
    OTHER = 0  # one that this version does not know

    @property
    def words(self) -> str:
        """What happened, for people."""
        return WORDS[self]


WORDS = {
    Kind.CREATED: "connection opened",
    Kind.ESTABLISHED: "connection established",
    Kind.CLOSED: "connection closed",
    Kind.ANNOUNCED: "far side announces address",
    Kind.REMOVED: "far side withdraws address",
    Kind.SUB_ESTABLISHED: "subflow established",
    Kind.SUB_CLOSED: "subflow closed",
    Kind.SUB_PRIORITY: "far side changes priority",
    Kind.LISTENER_CREATED: "listener opened",
    Kind.LISTENER_CLOSED: "listener closed",
    Kind.OTHER: "event of an unknown kind",
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the kernel told.

    Args:
        kind: what.
        token: of the connection; 0 where none is told.
        source, sport: the near end, empty and 0 where none is told.
        destination, dport: the far end, likewise.
        local, remote: ids of the addresses, None where none is told.
        backup: the far side wants the subflow to be a backup (what this end wants is not told); None where it is not
            about a subflow.
        error: errno that closed a subflow, 0 for none.
        index: interface that a subflow is bound to, 0 for none.
        server: the connection was accepted here.
    """

    kind: Kind
    token: int = 0
    source: Address = Address("")
    sport: int = 0
    destination: Address = Address("")
    dport: int = 0
    local: int | None = None
    remote: int | None = None
    backup: bool | None = None
    error: int = 0
    index: int = 0
    server: bool = False

    def words(self, names: Mapping[int, str]) -> str:
        """What happened, for people.

        Args:
            names: of interfaces by index.
        """
        out = f"{self.token:08x} {self.kind.words}" if self.token else self.kind.words
        near, far = _end(self.source, self.sport), _end(self.destination, self.dport)
        match self.kind:
            case Kind.ANNOUNCED | Kind.REMOVED:
                out += f" {far}" if far else ""
                return out + (f" (id {self.remote})" if self.remote is not None else "")
            case _:
                out += f" {near} > {far}" if near and far else f" {near}{far}" if near or far else ""
        if self.index:
            out += f" by {names.get(self.index, f'if{self.index}')}"
        if self.kind in SUBFLOW_KINDS and self.local is not None:
            out += f" (ids {self.local} > {self.remote})"
        if self.kind is Kind.SUB_PRIORITY:
            out += ": backup" if self.backup else ": not backup"
        elif self.backup:
            out += ", backup for the far side"
        if self.error:
            out += f": {errorcode.get(self.error, str(self.error))}"
        return out + (", accepted here" if self.server else "")


SUBFLOW_KINDS = {Kind.SUB_ESTABLISHED, Kind.SUB_CLOSED, Kind.SUB_PRIORITY}


def _end(address: Address, port: int) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"{host}:{port}" if address and port else host
