"""Whose a connection may be, as far as its socket tells, and what that session forbids it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..model.connections import Connection
from ..model.numbers import Numbers
from ..model.selector import PROTOCOLS, FlowSelector, Ports
from ..model.view import SessionView, View
from ..model.words import Address, family_of
from .prefixes import holds

Forbids = Callable[[Connection, Address], bool]


def nothing(_connection: Connection, _address: Address) -> bool:
    """Keep no subflow from any connection.

    Args:
        _connection: whichever.
        _address: whichever.
    """
    return False


def forbids(view: View, numbers: Numbers) -> Forbids:
    """Give what tells of a connection and an address whether a session keeps a subflow from it.

    Args:
        view: the picture.
        numbers: marks.
    """
    of = {service.id: [address.address for address in service.addresses] for service in view.services}
    allowed = {
        session.name: {a for name in (*session.defaults.values(), *session.routed) for a in of.get(name, ())}
        for session in view.sessions
    }

    def judge(connection: Connection, address: Address) -> bool:
        mark = connection.mark & numbers.mark_mask
        mine: Iterable[SessionView] = (
            (s for s in view.sessions if s.mark == mark) if mark else (s for s in view.sessions if _may(s, connection))
        )
        return any(address not in allowed[session.name] for session in mine)

    return judge


def _may(session: SessionView, connection: Connection) -> bool:
    """Whether the packet engine would give it to a session, as far as can be told: groups are not known here."""
    settings = session.settings
    if settings.only_user not in {None, connection.user}:
        return False
    return connection.user in settings.users or any(_matches(flow, connection) for flow in settings.selectors)


def _matches(flow: FlowSelector, connection: Connection) -> bool:
    def within(ports: Ports | None, port: int) -> bool:
        return ports is None or ports[0] <= port <= ports[1]

    return (
        flow.protocol in {None, PROTOCOLS["tcp"]}
        and flow.family in {None, family_of(connection.destination)}
        and (flow.source is None or holds(flow.source, connection.source))
        and (flow.destination is None or holds(flow.destination, connection.destination))
        and within(flow.sport, connection.sport)
        and within(flow.dport, connection.dport)
    )
