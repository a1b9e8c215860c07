"""MPTCP on the native face: live connections, the kernel's events in words, backend and counters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from errno import errorcode
from typing import Any

from mpathd.model.connections import Connection, Owner, Speed, Subflow
from mpathd.model.errors import InvalidArguments
from mpathd.model.mptcp import Event
from mpathd.model.sight import MOST, USUAL, ConnectionSeen, EventSeen, SubflowSeen

from .table import Arg, Call, Caller, Emission, Interface, Method, Property, Signal
from .values import bag

Row = tuple[str, str, Any]


async def _get_connections(call: Call) -> list[Any]:
    (most,) = call.args
    if most > MOST:
        msg = f"most is {most}, and at most {MOST} connections are told at once"
        raise InvalidArguments(msg, f"give 1 to {MOST}, or 0 for {USUAL}: they are those that have carried most")
    caller = await call.caller()
    sight = await call.agent.seeing.look(most or USUAL)
    return [[connection(one, caller) for one in sight.connections], sight.total, sight.seconds]


def connection(seen: ConnectionSeen, caller: Caller) -> dict[str, Any]:
    """Show a connection.

    Args:
        seen: the connection.
        caller: to whom.
    """
    one = seen.view.connection
    return bag(
        ("Token", "u", one.token),
        *_ends(one),
        ("State", "s", one.state.words),
        ("Fallback", "b", one.fallback),
        ("Session", "s", seen.session),
        ("Mark", "u", one.mark),
        ("User", "u", one.user),
        ("Processes", "aa{sv}", [_process(owner) for owner in seen.owners if _open(owner, caller)]),
        ("Service", "s", seen.view.service),
        ("Interface", "s", seen.view.interface),
        *_bytes(one),
        *_speed(seen.speed),
        ("ExtraSubflows", "u", one.subflows),
        ("ExtraSubflowsMax", "u", one.subflows_max),
        ("Cookie", "t", one.cookie),
        ("Subflows", "aa{sv}", [subflow(part) for part in seen.subflows]),
    )


def subflow(seen: SubflowSeen) -> dict[str, Any]:
    """Show a subflow.

    Args:
        seen: the subflow.
    """
    one = seen.view.subflow
    return bag(
        *_ends(one),
        ("State", "s", one.state.words),
        ("Service", "s", seen.view.service),
        ("Interface", "s", seen.view.interface),
        ("LocalId", "y", one.local),
        ("RemoteId", "y", one.remote),
        ("Backup", "b", one.backup),
        ("BackupAsked", "b", one.backup_asked),
        ("Joined", "b", one.joined),
        ("Established", "b", one.established),
        ("Mark", "u", one.mark),
        *_bytes(one),
        *_speed(seen.speed),
        ("Retransmissions", "u", one.retransmissions),
        ("RoundTrip", "u", one.rtt),
        ("Window", "u", one.window),
        ("Age", "d", seen.age.seconds),
        ("AgeAtLeast", "b", seen.age.least),
        ("Cookie", "t", one.cookie),
    )


def _ends(one: Connection | Subflow | Event) -> tuple[Row, ...]:
    return (
        ("Source", "s", one.source),
        ("SourcePort", "q", one.sport),
        ("Destination", "s", one.destination),
        ("DestinationPort", "q", one.dport),
    )


def _bytes(one: Connection | Subflow) -> tuple[Row, ...]:
    return (
        ("BytesSent", "t", one.sent),
        ("BytesAcked", "t", one.acked),
        ("BytesReceived", "t", one.received),
        ("BytesRetransmitted", "t", one.retransmitted),
    )


def _speed(speed: Speed | None) -> tuple[Row, ...]:
    if speed is None:
        return ()
    return (("BitsOutPerSecond", "d", speed.up), ("BitsInPerSecond", "d", speed.down))


def _open(owner: Owner, caller: Caller) -> bool:
    """Whether /proc shows a caller which sockets a process has: root, and who owns its folder there."""
    return caller.uid in {0, owner.user}


def _process(owner: Owner) -> dict[str, Any]:
    return bag(("Pid", "u", owner.pid), ("Name", "s", owner.name))


EVENT = Signal("Event", (Arg("event", "a{sv}"),))
LOST = Signal("EventsLost")

MPTCP = Interface(
    "net.mpathd.Mptcp",
    methods=(
        Method(
            "GetConnections",
            _get_connections,
            (Arg("most", "u"),),
            (Arg("connections", "aa{sv}"), Arg("total", "u"), Arg("seconds", "d")),
        ),
    ),
    properties=(
        Property("Backend", "s", lambda manager: manager.seeing.backend, quiet=True),
        Property("Missing", "s", lambda manager: manager.seeing.missing, quiet=True),
        Property(
            "Counters",
            "a{st}",
            lambda manager: dict(manager.seeing.counters()),
            hint="the kernel counts by itself",
            quiet=True,
        ),
    ),
    signals=(EVENT, LOST),
)


def heard(told: Iterable[EventSeen], path: str) -> Iterator[Emission]:
    """Tell what the kernel told.

    Args:
        told: the events.
        path: of the object that tells.
    """
    for one in told:
        if one.event is None:
            yield Emission(path, MPTCP.name, LOST, [])
        else:
            yield Emission(path, MPTCP.name, EVENT, [_event(one, one.event)])


def _event(seen: EventSeen, event: Event) -> dict[str, Any]:
    """What is not told is left out."""
    rows: tuple[Row, ...] = (
        ("Text", "s", seen.words),
        ("Kind", "s", event.kind.name.lower().replace("_", "-")),
        ("Token", "u", event.token or None),
        *((name, signature, value or None) for name, signature, value in _ends(event)),
        ("LocalId", "y", event.local),
        ("RemoteId", "y", event.remote),
        ("Backup", "b", event.backup),
        ("Error", "s", errorcode.get(event.error, str(event.error)) if event.error else None),
        ("Interface", "s", seen.interface or None),
        ("Accepted", "b", event.server),
    )
    return bag(*(row for row in rows if row[2] is not None))
