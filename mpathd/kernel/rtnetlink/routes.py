"""The routes of a family, sorted by whom they concern."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic

from ...model.numbers import LOCAL, MAIN
from ...model.routing import Hop, Route
from ...model.words import Family, Prefix
from ...model.world import Uncopied
from ..netlink import ATTR, S32
from . import decode
from .decode import Found
from .listing import Listing
from .ours import Ours, Twins
from .socket import Netlink
from .wire import GETROUTE

NEAR = 0.1  # seconds from a route's end in which the kernel may say 0; longer, and somebody has made it permanent
CACHE = ATTR.pack(36, 12)  # RTA_CACHEINFO, the last attribute but one of an IPv6 route
COUNTS = -32  # where in it the time stands that counts down, from the end of the message
SPARE = 64

KERNELS_OWN = {LOCAL, 0}

Nexthops = Callable[[], Mapping[int, tuple[Hop, ...]]]


class Routes:
    """Them; see World for what the fields are.

    Args:
        netlink: the socket.
        family: whose.
        nexthops: reads nexthop objects.
    """

    def __init__(self, netlink: Netlink, family: Family, nexthops: Nexthops) -> None:
        self.family, self._nexthops = family, nexthops
        # One unfiltered dump costs less than one for main and one for each of our tables, in which others may be too.
        self._listing = Listing(netlink, GETROUTE, bytes((family,)) + bytes(11), self._decode)
        self._twins: Twins[Route] = Twins()
        self._names: Mapping[int, str] = {}
        self._protocol = -1
        # Routes that had an end at the last look, by destination, each with its end on the clock.
        self._ending: dict[Prefix, list[tuple[Route, float]]] = {}
        self._timed: dict[bytes, Found] = {}  # what messages mean, without the four bytes that count down
        self._forget()

    def _forget(self) -> None:
        self._listing.forget()
        self._timed.clear()
        self._plain: Ours[Route] = Ours()
        self.lost = False  # routes are gone since the last look, and not ours alone have changed
        self._named = False  # a route names a nexthop object, which may change while the route does not
        self.ours: frozenset[Route] = frozenset()
        self.main: tuple[Route, ...] = ()
        self.uncopied: tuple[Uncopied, ...] = ()
        self.foreign: tuple[Route, ...] = ()
        self.walls: tuple[tuple[Family, int, str], ...] = ()
        self.dead_end: int | None = None
        self.expiry: float | None = None

    def look(self, protocol: int, names: Mapping[int, str]) -> bool:
        """Read them, and tell whether any is another than the last time.

        Args:
            protocol: what marks ours.
            names: of the links; the same object while none has changed.
        """
        if names is not self._names or protocol != self._protocol:  # routes print the names of their links
            self._names, self._protocol = names, protocol
            self._forget()
        listing = self._listing
        changed = listing.look()
        self._twins.clear()
        self.lost = False
        if not changed and not self._named:
            return False
        gone, come = self._mine(listing.gone), self._mine(listing.come)
        if changed:
            self._plain.follow(gone, come, lambda: self._mine(listing.values))
        if self._named or len(gone) < len(listing.gone) or len(come) < len(listing.come):
            again = {one.route for one in listing.come}  # with another lifetime
            self.lost = any(one.route not in again for one in listing.gone)
            self._sort()
        else:
            self.ours = self._plain.values
        return True

    def wrote(self, route: Route, body: bytes) -> None:
        """Take note of a route that was written.

        Args:
            route: the route.
            body: as the kernel will tell of it.
        """
        indexes = tuple(hop.index for hop in route.hops)
        self._listing.expect(body, Found(route, None, indexes, "", route.destination))
        self._twins.put(route)

    def _sort(self) -> None:
        main: list[Route] = []
        uncopied: list[Uncopied] = []
        foreign: list[Route] = []
        walls: list[tuple[Family, int, str]] = []
        expanded: list[Route] = []
        ending: dict[Prefix, list[tuple[Route, float]]] = {}
        now = monotonic()
        self.dead_end, self.expiry, self._named = None, None, False
        for plain in self._listing.values:
            if plain.dead_end is not None:
                if plain.table not in {MAIN, LOCAL}:
                    walls.append((self.family, plain.table, f"{plain.destination} metric {plain.dead_end}"))
                elif plain.table == MAIN:
                    self.dead_end = plain.dead_end if self.dead_end is None else min(plain.dead_end, self.dead_end)
            if plain.route is None or plain.route.table in KERNELS_OWN:
                continue
            found = self._expanded(plain) if plain.nexthop else plain
            route = found.route
            if route is None:
                continue
            if route.protocol == self._protocol:
                if plain.nexthop:
                    expanded.append(route)
            elif route.table != MAIN:
                foreign.append(route)
            else:
                left = self._left(route, now) if found.expires is None else found.expires
                if left is not None:
                    if left <= 0:  # run out; the kernel's clean-up comes later
                        continue
                    ending.setdefault(route.destination, []).append((route, now + left))
                    self.expiry = min(self.expiry or left, left)
                if found.why_not:
                    uncopied.append(Uncopied(self.family, found.indexes, found.destination, found.why_not))
                elif not route.throw:
                    main.append(route)
        self._ending = ending
        if len(self._timed) > 2 * len(self._listing.values) + SPARE:
            self._timed.clear()
        self.ours = self._plain.values | frozenset(expanded) if expanded else self._plain.values
        # What is as it was stays the same object: whoever compares later sees it at once.
        self.main = _same(self.main, tuple(main))
        self.foreign = _same(self.foreign, tuple(foreign))
        self.uncopied, self.walls = tuple(uncopied), tuple(walls)

    def _mine(self, found: list[Found]) -> list[Route]:
        return [
            one.route
            for one in found
            if one.route is not None
            and one.route.protocol == self._protocol
            and not one.nexthop
            and one.route.table not in KERNELS_OWN
        ]

    def _left(self, route: Route, now: float) -> float | None:
        """Seconds that a route has left of which the kernel says 0, as of one that has no end: within a tick of it."""
        ends = self._ending.get(route.destination, ())
        return decode.TICK if any(abs(end - now) < NEAR and other == route for other, end in ends) else None

    def _expanded(self, found: Found) -> Found:
        """Spell out a route that names a nexthop object."""
        self._named = True
        hops = tuple(replace(h, dev=self._names.get(h.index, "")) for h in self._nexthops().get(found.nexthop, ()))
        if found.route is None or not hops:
            return Found(None)
        indexes = tuple(hop.index for hop in hops)
        return replace(found, route=replace(found.route, hops=hops), indexes=indexes)

    def _decode(self, data: bytes, at: int, end: int) -> Found:
        # Routes of advertisements are told with the time that they have left, so they differ in each look.
        timed = data[COUNTS - 12 : COUNTS - 8] == CACHE
        rest = data[:COUNTS] + data[COUNTS + 4 :] if timed else b""
        known = self._timed.get(rest) if timed else None
        if known is not None:
            (left,) = S32.unpack_from(data, len(data) + COUNTS)
            expires = left * decode.TICK if left else None
            return Found(known.route, expires, known.indexes, known.why_not, known.destination, known.nexthop)
        found = decode.route(data, at, end, self._names)
        if found.route is None or found.nexthop:
            return found
        if found.expires is not None and timed and decode.expiry_at(data) == len(data) + COUNTS:
            self._timed[rest] = found
        twin = self._twins.find(found.route)
        if twin is None or not _alike((twin,), (found.route,)):
            return found
        return Found(twin, found.expires, found.indexes, found.why_not, found.destination)


def _same(old: tuple[Route, ...], new: tuple[Route, ...]) -> tuple[Route, ...]:
    return old if old == new and _alike(old, new) else new


def _alike(some: tuple[Route, ...], others: tuple[Route, ...]) -> bool:
    """Whether routes that are equal also print alike."""
    return all(
        one is other
        or (one.protocol == other.protocol and [hop.dev for hop in one.hops] == [hop.dev for hop in other.hops])
        for one, other in zip(some, others, strict=True)
    )
