"""What is seen of live connections, joined: uplinks, sessions, processes, ages and speeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..model.connections import Connection, Owner, Speed, Subflow
from ..model.sight import Age, ConnectionSeen, Sight, SubflowSeen
from ..model.view import View
from ..model.world import Link
from .connections import connections, speeds

Sockets = tuple[Connection | Subflow, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What the kernel has at one moment.

    Args:
        connections: those that are wanted.
        total: how many there are.
        subflows: of those that are wanted.
        owners: processes by the inode of a connection's socket.
        names: of links by index.
    """

    connections: tuple[Connection, ...] = ()
    total: int = 0
    subflows: tuple[Subflow, ...] = ()
    owners: Mapping[int, tuple[Owner, ...]] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def sockets(self) -> Sockets:
        """All of them, for speeds."""
        return (*self.connections, *self.subflows)


def sight(
    found: Found, view: View, mask: int, ages: Mapping[int, Age], before: Iterable[Connection | Subflow], seconds: float
) -> Sight:
    """Join what is known.

    Args:
        found: what the kernel has.
        view: services and sessions.
        mask: the bits of a mark that are ours.
        ages: of subflows, by their cookies.
        before: the same sockets at an earlier look.
        seconds: since then, 0 if there was none.
    """
    sessions = {session.mark: session.name for session in view.sessions}
    links = {index: Link(index, name) for index, name in found.names.items()}
    rates: Mapping[int, Speed] = speeds(before, found.sockets, seconds) if seconds > 0 else {}
    seen = tuple(
        ConnectionSeen(
            view=one,
            session=_session(one.connection, [part.subflow for part in one.subflows], sessions, mask),
            owners=found.owners.get(one.connection.inode, ()),
            subflows=tuple(
                SubflowSeen(part, ages[part.subflow.cookie], rates.get(part.subflow.cookie)) for part in one.subflows
            ),
            speed=rates.get(one.connection.cookie),
        )
        for one in connections(found.connections, found.subflows, view.services, links)
    )
    return Sight(seen, found.total, max(0.0, seconds))


def _session(connection: Connection, subflows: Iterable[Subflow], sessions: Mapping[int, str], mask: int) -> str:
    """The session that a mark tells: the connection's own, or that of its first subflow which has one."""
    marks = (mark & mask for mark in (connection.mark, *(one.mark for one in subflows)))
    return next((sessions[mark] for mark in marks if mark in sessions), "")
