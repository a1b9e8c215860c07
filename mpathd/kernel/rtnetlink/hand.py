"""Look at links, addresses, routes and rules, and write steps."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from ...model.errors import Refusal
from ...model.numbers import SPLIT
from ...model.routing import Hop, KernelState, Route, Rule, Step, Verb
from ...model.words import Address, Family
from ...model.world import World
from . import decode, encode, nexthop
from .links import Links
from .ours import Together, chained, united
from .routes import Routes
from .rules import Rules
from .socket import TRIES, Netlink
from .wire import GETNEXTHOP, GETROUTE

# Answers that mean "it is as you want": gone already, or there already. The next look tells if not.
DONE = {Verb.DELETE: {errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL}, Verb.ADD: set()}

# Destinations that only a default leads to: reserved for documents (RFC 5737, RFC 3849). Nothing is sent to them.
ANYWHERE = {Family.INET: Address("192.0.2.1"), Family.INET6: Address("2001:db8::1")}


class Part(Enum):
    """What is read together."""

    LINKS = auto()  # an address that goes may have gone with its link; rp_filter stands in the link's message
    ROUTING = auto()  # addresses and routes: one event may move them all, and the kernel tells not of every route
    RULES = auto()  # they come and go one by one, and the kernel tells of each (notify_rule_change)


# What an event of the ear may have moved; one that is not here may have moved everything.
MOVES = {
    "rule": {Part.RULES},
    "link": {Part.LINKS, Part.ROUTING},
    "address gone": {Part.LINKS, Part.ROUTING},
    "address": {Part.ROUTING},
    "route": {Part.ROUTING},
    "nexthop": {Part.ROUTING},
    "sysctl": {Part.LINKS, Part.ROUTING},
}


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
        self._links = Links(self._netlink)
        self._routes = {family: Routes(self._netlink, family, self._read_nexthops) for family in Family}
        self._rules = Rules(self._netlink)
        self._nexthops: Mapping[int, tuple[Hop, ...]] | None = None
        self._borrow_by: tuple[object, ...] = (None, None, None)
        self._borrowers: tuple[tuple[Family, int], ...] = ()
        self._world: World | None = None
        self._protocol, self._stale = -1, set(Part)
        self._written: Together[frozenset[Route]] = Together(united)
        self._main: Together[tuple[Route, ...]] = Together(chained)
        self._strangers: Together[tuple[Route, ...]] = Together(chained)

    @property
    def port(self) -> int:
        """Netlink port of the writes, by which their echoes are known."""
        return self._netlink.port

    def close(self) -> None:
        """Give the socket back."""
        self._netlink.close()

    def heard(self, kinds: Iterable[str]) -> None:
        """Take it that something has moved.

        Args:
            kinds: what the ear has heard.
        """
        for kind in kinds:
            self._stale |= MOVES.get(kind, set(Part))

    def look(self, protocol: int, *, whole: bool = True) -> World:
        """Read everything. What has not changed is the same object as the last time.

        Args:
            protocol: what marks routes and rules as ours.
            whole: also what nobody has written or was heard to move since it was read.
        """
        if whole or protocol != self._protocol:
            self._stale |= set(Part)
        world = self._world
        moved = Part.ROUTING in self._stale and self._look_at_routing(protocol)
        moved = (Part.RULES in self._stale and self._rules.look(protocol)) or moved
        lent = self._lent() if Part.ROUTING in self._stale or world is None else world.lent
        if world is None or moved or lent != world.lent:
            world = self._world = self._joined(lent)
        self._protocol, self._stale = protocol, set()
        return world

    def _look_at_routing(self, protocol: int) -> bool:
        """Read links, addresses and routes, and tell whether any is another."""
        self._nexthops = None
        moved = not self._links.names and self._links.look()
        # First what depends on others, and last what the others depend on: a link that is set down is down before it
        # loses routes, and loses them before addresses (dev_close, addrconf_ifdown; inet_del_ifa: routes last). In the
        # other order it would look as one that is up and has no way out, and what is kept for it would go.
        for _ in range(TRIES):
            names, gone = self._links.names, False
            for routes in self._routes.values():
                moved = routes.look(protocol, names) or moved
                gone = gone or routes.lost
            moved = self._links.look(all_of_it=Part.LINKS in self._stale or gone) or moved
            if self._links.names is names:
                break
        links_and_main = (self._links.links, *(routes.main for routes in self._routes.values()))
        if any(new is not old for new, old in zip(links_and_main, self._borrow_by, strict=True)):
            self._borrow_by, self._borrowers = links_and_main, tuple(self._borrowing())
        return moved

    def apply(self, steps: Sequence[Step]) -> Report:
        """Write steps in their order; all are tried.

        Args:
            steps: what to write.
        """
        first = self._netlink.number(len(steps))
        requests = [encode.step(step, number) for number, step in enumerate(steps, first)]
        self._stale |= {Part.RULES if isinstance(step.what, Rule) else Part.ROUTING for step in steps}
        answers = self._netlink.request(requests)
        done: list[Step] = []
        refused: list[tuple[Step, Refusal]] = []
        for step, request, (number, text) in zip(steps, requests, answers, strict=True):
            what, verb = step.what, step.verb
            if number and number not in DONE.get(verb, ()):
                refused.append((step, Refusal(str(step), number, text)))
                continue
            done.append(step)
            if verb is Verb.DELETE:
                continue
            if isinstance(what, Rule):
                self._rules.wrote(what, encode.echo(what, request))
            elif isinstance(what, Route):
                self._routes[what.family].wrote(what, encode.echo(what, request))
        return Report(tuple(done), tuple(refused))

    def _joined(self, lent: Mapping[tuple[int, int], Address]) -> World:
        routes, rules = list(self._routes.values()), self._rules
        written = self._written.of(*(one.ours for one in routes))
        have = KernelState(written, rules.ours)
        if self._world is not None and self._world.have.routes is written and self._world.have.rules is rules.ours:
            have = self._world.have
        return World(
            links=self._links.links,
            main=self._main.of(*(one.main for one in routes)),
            uncopied=chained(one.uncopied for one in routes),
            lent=lent,
            rules=rules.foreign,
            foreign=self._strangers.of(*(one.foreign for one in routes)),
            dead_ends={one.family: one.dead_end for one in routes if one.dead_end is not None},
            walls=chained(one.walls for one in routes),
            have=have,
            next_expiry=min((one.expiry for one in routes if one.expiry is not None), default=None),
        )

    def _borrowing(self) -> Iterator[tuple[Family, int]]:
        """Defaults of main by links without an address of that family."""
        for routes in self._routes.values():
            for route in routes.main:
                if route.source or int(route.destination.partition("/")[2]) > SPLIT[route.family]:
                    continue
                for hop in route.hops:
                    link = self._links.links.get(hop.index)
                    if link and not any(a.family is route.family and a.usable for a in link.addresses):
                        yield route.family, hop.index

    def _lent(self) -> dict[tuple[int, int], Address]:
        """Sources of defaults by links without an address: the kernel alone knows its order of devices."""
        out: dict[tuple[int, int], Address] = {}
        for family, index in self._borrowers:
            answer = self._netlink.ask(GETROUTE, encode.question(family, ANYWHERE[family], index))
            if answer and (source := decode.source(answer)):
                out[family, index] = source
        return out

    def _read_nexthops(self) -> Mapping[int, tuple[Hop, ...]]:
        if self._nexthops is None:
            self._nexthops = nexthop.decode(self._netlink.dump(GETNEXTHOP, bytes(8)))
        return self._nexthops
