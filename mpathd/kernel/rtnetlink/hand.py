"""Look at links, addresses, routes and rules, and write steps."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ...model.errors import Refusal
from ...model.numbers import LOCAL, MAIN, SPLIT
from ...model.routing import Hop, KernelState, Route, Rule, Step, Verb
from ...model.words import Address, Family
from ...model.world import Link, LinkAddress, Uncopied, World
from . import decode, encode, nexthop
from .socket import Netlink
from .wire import GETADDR, GETLINK, GETNEXTHOP, GETROUTE, GETRULE, U32, attribute

SKIP_STATS = 1 << 3  # RTEXT_FILTER_SKIP_STATS in IFLA_EXT_MASK: counters would make every link message differ

# Answers that mean "it is as you want": gone already, or there already. The next look tells if not.
DONE = {Verb.DELETE: {errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL}, Verb.ADD: set()}

# Destinations that only a default leads to: reserved for documents (RFC 5737, RFC 3849). Nothing is sent to them.
ANYWHERE = {Family.INET: Address("192.0.2.1"), Family.INET6: Address("2001:db8::1")}

KERNELS_OWN = {LOCAL, 0}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Report:
    """What became of steps.

    Args:
        done: those that the kernel took.
        refused: those that it did not, with its reason.
    """

    done: tuple[Step, ...]
    refused: tuple[tuple[Step, Refusal], ...]


class Hand:
    """The rtnetlink hand."""

    def __init__(self) -> None:
        self._netlink = Netlink()
        self._memo: dict[bytes, object] = {}
        self._fresh: dict[bytes, object] = {}
        self._names: dict[int, str] = {}
        self._ending: set[Route] = set()  # routes that had an end at the last look
        self._nexthops: Mapping[int, tuple[Hop, ...]] | None = None

    @property
    def port(self) -> int:
        """Netlink port of the writes, by which their echoes are known."""
        return self._netlink.port

    def close(self) -> None:
        """Give the socket back."""
        self._netlink.close()

    def look(self, protocol: int) -> World:
        """Read everything, whole.

        Args:
            protocol: what marks routes and rules as ours.
        """
        self._fresh = {}
        self._nexthops = None
        links = self._links()
        names = {index: link.name for index, link in links.items()}
        if names != self._names:  # routes print the names of their links: decode them anew
            self._names, self._memo = names, {}
        main: list[Route] = []
        uncopied: list[Uncopied] = []
        ours: list[Route] = []
        rules: list[Rule] = []
        foreign: list[Rule] = []
        strangers: list[Route] = []
        dead_ends: dict[int, int] = {}
        walls: list[tuple[Family, int, str]] = []
        ending: set[Route] = set()
        expiry: float | None = None
        for family in Family:
            for plain in self._routes(family):
                if plain.dead_end is not None and plain.table not in {MAIN, LOCAL}:
                    walls.append((family, plain.table, f"{plain.destination} metric {plain.dead_end}"))
                elif plain.dead_end is not None and plain.table == MAIN:
                    dead_ends[family] = min(plain.dead_end, dead_ends.get(family, plain.dead_end))
                if plain.route is None or plain.route.table in KERNELS_OWN:
                    continue
                found = self._expanded(plain) if plain.nexthop else plain
                if found.route is None:
                    continue
                if found.route.protocol == protocol:
                    ours.append(found.route)
                elif found.route.table != MAIN:
                    strangers.append(found.route)
                else:
                    left = self._left(found.route, found.expires)
                    if left is not None and left <= 0:  # run out; the kernel's clean-up comes later
                        continue
                    if left is not None:
                        ending.add(found.route)
                        expiry = min(expiry or left, left)
                    if found.why_not:
                        uncopied.append(Uncopied(family, found.indexes, found.destination, found.why_not))
                    elif not found.route.throw:
                        main.append(found.route)
            for rule in self._rules(family):
                (rules if rule.protocol == protocol else foreign).append(rule)
        self._memo, self._ending = self._fresh, ending
        return World(
            links=links,
            main=tuple(main),
            uncopied=tuple(uncopied),
            lent=self._lent(links, main),
            rules=tuple(foreign),
            foreign=tuple(strangers),
            dead_ends=dead_ends,
            walls=tuple(walls),
            have=KernelState(frozenset(ours), frozenset(rules)),
            next_expiry=expiry,
        )

    def apply(self, steps: Sequence[Step]) -> Report:
        """Write steps in their order; all are tried.

        Args:
            steps: what to write.
        """
        done: list[Step] = []
        refused: list[tuple[Step, Refusal]] = []
        answers = self._netlink.request([encode.step(step, 0) for step in steps])
        for step, (number, text) in zip(steps, answers, strict=True):
            if not number or number in DONE.get(step.verb, ()):
                done.append(step)
            else:
                refused.append((step, Refusal(str(step), number, text)))
        return Report(tuple(done), tuple(refused))

    def _decoded(self, raw: bytes, how: Callable[[bytes, int, int], T]) -> T:
        # Nearly every object is byte for byte what it was at the last look, and decoding is pure: the same
        # bytes give the same value. Only what this look saw is kept for the next.
        value = self._memo.get(raw)
        if value is None:
            value = how(raw, 0, len(raw))
        self._fresh[raw] = value
        return value  # type: ignore[return-value]

    def _links(self) -> dict[int, Link]:
        # Addresses first: a link that goes down loses its IPv6 addresses when it is down already. In between it would
        # look as one that is up and has none.
        addresses: dict[int, list[LinkAddress]] = {}
        for family in Family:
            for raw in self._netlink.dump(GETADDR, bytes((family,)) + bytes(7)):
                index, address = self._decoded(raw, decode.link_address)
                addresses.setdefault(index, []).append(address)
        body = bytes(16) + attribute(29, U32.pack(SKIP_STATS))
        links = [self._decoded(raw, decode.link) for raw in self._netlink.dump(GETLINK, body)]
        return {
            link.index: replace(link, addresses=tuple(addresses[link.index])) if link.index in addresses else link
            for link in links
        }

    def _left(self, route: Route, expires: float | None) -> float | None:
        """Seconds that a route has left. Within a tick of its end the kernel says 0, as of one that has no end."""
        return decode.TICK if expires is None and route in self._ending else expires

    def _routes(self, family: Family) -> list[decode.Found]:
        # One unfiltered dump costs less than one for main and one for each of our tables, in which others may be too.
        return [self._decoded(raw, self._route) for raw in self._netlink.dump(GETROUTE, bytes((family,)) + bytes(11))]

    def _lent(self, links: Mapping[int, Link], main: Sequence[Route]) -> dict[tuple[int, int], Address]:
        """Sources of defaults by links without an address: the kernel alone knows its order of devices."""
        out: dict[tuple[int, int], Address] = {}
        for route in main:
            if int(route.destination.partition("/")[2]) > SPLIT[route.family] or route.source:
                continue
            for hop in route.hops:
                link = links.get(hop.index)
                if link and not any(a.family is route.family and a.usable for a in link.addresses):
                    body = encode.question(route.family, ANYWHERE[route.family], hop.index)
                    answer = self._netlink.ask(GETROUTE, body)
                    if answer and (source := decode.source(answer)):
                        out[route.family, hop.index] = source
        return out

    def _route(self, data: bytes, at: int, end: int) -> decode.Found:
        return decode.route(data, at, end, self._names)

    def _rules(self, family: Family) -> list[Rule]:
        return [self._decoded(raw, decode.rule) for raw in self._netlink.dump(GETRULE, bytes((family,)) + bytes(11))]

    def _expanded(self, found: decode.Found) -> decode.Found:
        """Spell out a route that names a nexthop object."""
        if self._nexthops is None:
            self._nexthops = nexthop.decode(self._netlink.dump(GETNEXTHOP, bytes(8)))
        hops = tuple(replace(h, dev=self._names.get(h.index, "")) for h in self._nexthops.get(found.nexthop, ()))
        if found.route is None or not hops:
            return decode.Found(None)
        indexes = tuple(hop.index for hop in hops)
        return replace(found, route=replace(found.route, hops=hops), indexes=indexes)
