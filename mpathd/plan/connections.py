"""Live connections by uplink, how fast they are, and which endpoints would bring lost subflows back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..model.connections import Connection, ConnectionView, Speed, Subflow, SubflowView, TcpState
from ..model.mptcp import Endpoint, Flag
from ..model.view import Service
from ..model.words import Address, family_of
from ..model.world import Link
from .whose import Forbids, nothing

DYING = {TcpState.TIME_WAIT, TcpState.CLOSE, TcpState.LAST_ACK, TcpState.CLOSING, TcpState.FIN_WAIT1,
         TcpState.FIN_WAIT2}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Homes:
    """Which link an address or a device is.

    Args:
        services: identifier by link index.
        names: of links by index.
        owners: link index by address; of two links the first service has it, as its rules have.
    """

    services: Mapping[int, str]
    names: Mapping[int, str]
    owners: Mapping[Address, int]

    def of(self, index: int, address: Address) -> tuple[str, str]:
        """Give service and interface.

        Args:
            index: of the device that a socket is bound to, 0 for none.
            address: that it is bound to.
        """
        home = index or self.owners.get(address, 0)
        return self.services.get(home, ""), self.names.get(home, "")


def _homes(services: Sequence[Service], links: Mapping[int, Link]) -> _Homes:
    owners: dict[Address, int] = {}
    for service in services:
        for a in service.addresses:
            owners.setdefault(a.address, service.index)
    for link in links.values():
        for a in link.addresses:
            owners.setdefault(a.address, link.index)
    names = {index: link.name for index, link in links.items()}
    return _Homes({s.index: s.id for s in services}, names, owners)


def connections(
    found: Iterable[Connection], subflows: Iterable[Subflow], services: Sequence[Service], links: Mapping[int, Link]
) -> tuple[ConnectionView, ...]:
    """Give the connections with their subflows, each with its uplink; by far end, then by token.

    Args:
        found: connections that are alive.
        subflows: those of all of them; one whose connection has just gone is passed over.
        services: in their order.
        links: by index.
    """
    homes = _homes(services, links)
    parts: dict[int, list[SubflowView]] = {}
    for subflow in subflows:
        parts.setdefault(subflow.token, []).append(SubflowView(subflow, *homes.of(subflow.index, subflow.source)))
    out = []
    for one in found:
        own = sorted(
            parts.get(one.token, ()), key=lambda part: (part.subflow.joined, part.subflow.local, part.subflow.cookie)
        )
        out.append(ConnectionView(one, tuple(own), *homes.of(0, one.source)))
    return tuple(
        sorted(out, key=lambda view: (view.connection.destination, view.connection.dport, view.connection.token))
    )


def by_uplink(views: Iterable[ConnectionView]) -> dict[str, tuple[SubflowView, ...]]:
    """Give the subflows of each uplink, by its identifier; "" has those that leave by no service's link.

    Args:
        views: the connections.
    """
    out: dict[str, tuple[SubflowView, ...]] = {}
    for view in views:
        for part in view.subflows:
            out[part.service] = (*out.get(part.service, ()), part)
    return out


def speeds(
    before: Iterable[Connection | Subflow], now: Iterable[Connection | Subflow], seconds: float
) -> dict[int, Speed]:
    """Give the speed of each socket that was there before, by its cookie.

    Args:
        before: at the last look.
        now: at this one.
        seconds: between them, more than 0.
    """
    old = {one.cookie: one for one in before}
    return {
        one.cookie: Speed(
            max(0, one.acked - old[one.cookie].acked) * 8 / seconds,
            max(0, one.received - old[one.cookie].received) * 8 / seconds,
        )
        for one in now
        if one.cookie in old
    }


# Seconds from a delete on until the far side has forgotten an id, beside two round trips; and at most.
FORGOTTEN, FORGOTTEN_LATEST = 0.05, 2.0


def mendable(
    views: Sequence[ConnectionView], endpoints: Iterable[Endpoint], forbids: Forbids = nothing
) -> tuple[Endpoint, ...]:
    """Give the endpoints whose delete and add would bring back subflows that the kernel has closed for good.

    Only those that no living subflow uses, on any connection: the delete would close it.

    Args:
        views: the connections.
        endpoints: ours, as they are in the kernel and should be.
        forbids: tells of subflows that a session keeps from a connection: those are lost for good.
    """
    used = {part.subflow.source for view in views for part in view.subflows if part.subflow.state not in DYING}
    used |= {view.connection.source for view in views if view.connection.fallback}
    return tuple(e for e in endpoints if e.address not in used and missed(views, e, forbids))


def forgetting(views: Iterable[ConnectionView], endpoint: Endpoint) -> float:
    """Give the seconds that an endpoint has to be away before it may come again.

    Deleting tells the far side to forget the id, which closes a subflow that has come with it meanwhile. Another id
    helps, except at the address that a connection began with, where it always is 0: there the word, which may wait
    behind data of any other link, has to arrive first.

    Args:
        views: the connections.
        endpoint: what is to be deleted and added.
    """
    slow = [part.subflow.rtt for view in views if view.connection.source == endpoint.address for part in view.subflows]
    return min(FORGOTTEN_LATEST, FORGOTTEN + 2 * max(slow) / 1e6) if slow else 0.0


def missed(views: Iterable[ConnectionView], endpoint: Endpoint, forbids: Forbids = nothing) -> bool:
    """Tell whether a connection could have a subflow by an endpoint, and has none.

    Args:
        views: the connections.
        endpoint: the endpoint.
        forbids: tells of subflows that a session keeps from a connection.
    """
    return bool(endpoint.flags & Flag.SUBFLOW) and any(
        _misses(view, endpoint) and not forbids(view.connection, endpoint.address) for view in views
    )


def _misses(view: ConnectionView, endpoint: Endpoint) -> bool:
    one = view.connection
    alive = one.state is TcpState.ESTABLISHED and not one.fallback
    room = one.subflows < one.subflows_max
    parts = (part.subflow for part in view.subflows)
    has = any(part.source == endpoint.address and part.state not in DYING for part in parts)
    return alive and room and not has and family_of(one.destination) is endpoint.family
