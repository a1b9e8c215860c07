"""What a service's own table holds: everything that main has by its link, and a way out.

Rule 1: a table never hides a route of main that is more specific than what was copied; it throws there, so that the
next rule finds main's (law 6). Rule 2: what is as short as a split default counts as a default and is copied as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..model.numbers import METRIC6, SPLIT
from ..model.routing import Hop, Route
from ..model.words import Address, Family, Prefix, family_of
from ..model.world import Gateway, World
from .membership import Member
from .prefixes import Index, holds, span

# Routing daemons bring thousands of specifics; main's own are found by the rule behind the table anyway.
# (include/uapi/linux/rtnetlink.h: zebra, bird, babel, bgp, isis, ospf, rip, eigrp)
DAEMONS = {11, 12, 42, 186, 187, 188, 189, 192}
LINK_LOCAL, MULTICAST = "fe80::/", "ff00::/"  # the kernel finds these by the socket's device


@dataclass(frozen=True, slots=True)
class Main:
    """The main table, sorted for questions.

    Args:
        by_link: its routes by link index.
        prefixes: by family, the destinations that are no defaults.
    """

    by_link: Mapping[int, tuple[Route, ...]]
    prefixes: Mapping[Family, Index]


def shortish(route: Route) -> bool:
    """Tell whether a route counts as a default: it is one, or half of a split one (mpathd(8), law 6).

    Args:
        route: the route.
    """
    return span(route.destination)[2] <= SPLIT[route.family]


def sort_main(main: Iterable[Route]) -> Main:
    """Sort the main table.

    Args:
        main: its routes.
    """
    by_link: dict[int, list[Route]] = {}
    specifics: dict[Family, list[Prefix]] = {family: [] for family in Family}
    for route in main:
        for index in {hop.index for hop in route.hops}:
            by_link.setdefault(index, []).append(route)
        if not shortish(route) and not route.destination.startswith((LINK_LOCAL, MULTICAST)):
            specifics[route.family].append(route.destination)
    return Main(
        {index: tuple(routes) for index, routes in by_link.items()},
        {family: Index(prefixes) for family, prefixes in specifics.items()},
    )


def gateways_of_main(world: World) -> Mapping[int, tuple[Gateway, ...]]:
    """Give the gateways that main's defaults name, by link index.

    Args:
        world: what was found.
    """
    out: dict[int, dict[Gateway, None]] = {}
    for route in world.main:
        if shortish(route):
            for hop in route.hops:
                found = Gateway(route.family, hop.via, "main", route.metric)
                out.setdefault(hop.index, {})[found] = None
    return {index: tuple(found) for index, found in out.items()}


def _copy(route: Route, member: Member, protocol: int) -> Route:
    hops = tuple(hop for hop in route.hops if hop.index == member.link.index)
    if len(hops) == 1 and hops[0].weight != 1:
        hops = (replace(hops[0], weight=1),)
    return route.copied(member.table, hops, protocol)


def _first_of_each(routes: Iterable[Route]) -> list[Route]:
    found: dict[object, Route] = {}
    for route in routes:
        found.setdefault(route.key, route)
    return list(found.values())


def _stranded(route: Route, hop: Hop, around: list[Prefix]) -> bool:
    """Whether the kernel would find no way to a copied hop's router."""
    if hop.via is None or hop.onlink or hop.via.startswith("fe80:") or family_of(hop.via) is not route.family:
        return False
    return not any(holds(prefix, hop.via) for prefix in around)


def _reachable(route: Route, around: list[Prefix]) -> Route:
    """A copy that the kernel takes: main may hold a router that no route leads to any more; the copy says "onlink"."""
    if not any(_stranded(route, hop, around) for hop in route.hops):
        return route
    hops = tuple(replace(hop, onlink=True) if _stranded(route, hop, around) else hop for hop in route.hops)
    return replace(route, hops=hops)


def _way_out(member: Member, family: Family, copies: list[Route], protocol: int) -> Route | None:
    """The default of a link for which main has none, or for which somebody more trusted knows better."""
    link = member.link
    gateway = next((g for g in member.gateways if g.family is family), None)
    if gateway is None and not link.point_to_point:
        return None
    via = gateway.address if gateway else None
    on_link = via is None or any(
        route.on_link and not route.is_default and holds(route.destination, via) for route in copies
    )
    local = via is not None and via.startswith("fe80:")
    return Route(
        family=family,
        table=member.table,
        destination=family.any,
        hops=(Hop(link.index, via, onlink=not on_link and not local, dev=link.name),),
        metric=0 if family is Family.INET else METRIC6,
        link_scope=via is None and family is Family.INET,
        protocol=protocol,
    )


@dataclass(frozen=True, slots=True)
class Near:
    """What of the main table a service's table depends on, in one family.

    Args:
        routes: those by the link.
        specifics: those of them that are copied.
        inside: destinations of others that lie inside of those.
    """

    routes: tuple[Route, ...]
    specifics: tuple[Route, ...]
    inside: frozenset[Prefix]


def near(main: Main, index: int, family: Family) -> Near:
    """Give what of the main table concerns a link.

    Args:
        main: the main table.
        index: the link.
        family: the family.
    """
    theirs = tuple(route for route in main.by_link.get(index, ()) if route.family is family)
    specifics = tuple(
        route
        for route in theirs
        if not shortish(route)
        and route.protocol not in DAEMONS
        and not route.destination.startswith((LINK_LOCAL, MULTICAST))
    )
    inside = {inner for route in specifics for inner in main.prefixes[family].inside(route.destination)}
    return Near(theirs, specifics, frozenset(inside))


def routes(member: Member, family: Family, main: Near, protocol: int) -> frozenset[Route]:
    """Give the routes of a service's table in one family; none while nothing can leave by the link.

    Args:
        member: the service.
        family: the family.
        main: what of the main table concerns its link.
        protocol: of our routes.
    """
    if not member.link.carrier or not member.addresses(family):
        return frozenset()
    copies = _first_of_each(_copy(route, member, protocol) for route in main.specifics)
    own = {route.destination for route in copies}
    around = [route.destination for route in copies if route.on_link]
    out = [_reachable(route, around) for route in copies]
    gateway = next((g for g in member.gateways if g.family is family), None)
    defaults = [route for route in main.routes if route.is_default]
    if defaults and gateway is not None and gateway.source == "main":
        out.extend(_reachable(route, around) for route in _first_of_each(_copy(r, member, protocol) for r in defaults))
    elif way := _way_out(member, family, copies, protocol):
        out.append(way)
    thrown = sorted(main.inside - own)
    out.extend(_throw(family, member.table, destination, protocol) for destination in thrown)
    return frozenset(out)


def _throw(family: Family, table: int, destination: Prefix, protocol: int) -> Route:
    metric = 0 if family is Family.INET else METRIC6
    return Route(family, table, destination, (), metric=metric, throw=True, protocol=protocol)


def best_default(main: Iterable[Route], family: Family) -> Route | None:
    """Give the default of main that an unbound socket takes, of the real ones or the split ones.

    Args:
        main: its routes.
        family: the family.
    """
    found = [route for route in main if route.family is family and shortish(route)]
    return min(found, key=lambda r: (-span(r.destination)[2], r.metric), default=None)


@dataclass(frozen=True, slots=True)
class Borrowing:
    """Who may send main's default traffic with whose address.

    Args:
        device: the device of main's best default.
        indexes: all devices of it.
        addresses: foreign addresses that the kernel may choose there.
    """

    device: str
    indexes: frozenset[int]
    addresses: frozenset[str]


def borrowing(main: Iterable[Route], lent: Mapping[tuple[int, int], Address], family: Family) -> Borrowing | None:
    """Tell whether main's best default borrows addresses.

    Args:
        main: its routes.
        lent: as in World.
        family: the family.
    """
    best = best_default(main, family)
    if best is None:
        return None
    hop = best.hops[0]
    device = hop.dev or f"interface {hop.index}"
    return Borrowing(device, frozenset(hop.index for hop in best.hops), chosen_sources(lent, best))


def chosen_sources(lent: Mapping[tuple[int, int], Address], route: Route) -> frozenset[str]:
    """Give the foreign addresses that unbound sockets get when they leave by a route of main.

    Args:
        lent: as in World.
        route: the route.
    """
    if route.source:
        return frozenset({route.source})
    found = (lent.get((route.family, hop.index)) for hop in route.hops)
    return frozenset(address for address in found if address)
