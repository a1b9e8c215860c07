"""A kernel for tests that need speed or refusals on demand. It is only as clever as tests/contract demands."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from mpathd.model.errors import Refusal
from mpathd.model.packet import Load, Ruleset
from mpathd.model.routing import KernelState, Route, Rule, Step, Verb
from mpathd.model.statistics import Count
from mpathd.model.world import Link, World
from mpathd.plan.prefixes import holds


class FakeKernel:
    """Holds a world; writes change what is ours in it.

    Args:
        world: links and main as they are at first.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.refuse: Callable[[Step], int] = lambda _step: 0
        self.written: list[Step] = []
        self.looks = self.wholes = 0
        self.looked = asyncio.Event()
        self.news: set[str] = set()
        self.meddlers: tuple[str, ...] = ()
        self.counts: dict[str, Count] = {}
        self.entered: list[tuple[str, int, int]] = []

    def heard(self) -> set[str]:
        """Give what was heard, once."""
        kinds, self.news = self.news, set()
        return kinds

    def look(self, protocol: int, *, whole: bool = True) -> World:
        """Give the world."""
        self.looks += 1
        self.wholes += whole
        self.looked.set()
        return self.world

    def make_home(self, group: str) -> None:
        """Make a control group."""
        self.world = replace(self.world, homes=self.world.homes | {group})

    def enter(self, group: str, pid: int, user: int) -> str:
        """Move a process."""
        self.entered.append((group, pid, user))
        return f"/cgroup{group}"

    def counters(self) -> Mapping[str, Count]:
        """Give what counters have counted."""
        return self.counts

    def suspects(self) -> tuple[str, ...]:
        """Name who may be undoing our writes."""
        return self.meddlers

    def apply(self, steps: Sequence[Step]) -> tuple[tuple[Step, ...], tuple[tuple[Step, Refusal], ...]]:
        """Write steps as the kernel would."""
        done: list[Step] = []
        refused: list[tuple[Step, Refusal]] = []
        for step in steps:
            if isinstance(step.what, Load) and not self.refuse(step):
                self.adopt(step.what.want)
            number = self.refuse(step) or self._route(step) or self._rule(step)
            if number and not (step.verb is Verb.DELETE and number in {errno.ESRCH, errno.ENOENT}):
                refused.append((step, Refusal(str(step), number, os.strerror(number))))
            else:
                done.append(step)
        self.written.extend(done)
        return tuple(done), tuple(refused)

    def read(self, packets: Ruleset) -> Ruleset | None:
        """Understand nothing."""
        return None

    def adopt(self, packets: Ruleset) -> None:
        """Take it that the table holds what its digest says."""
        self.world = replace(self.world, have=replace(self.world.have, packets=packets))

    def set_link(self, index: int, **changes: object) -> None:
        """Change a link; setting it down drops its routes in every table, as the kernel does."""
        links = dict(self.world.links)
        links[index] = replace(links[index], **changes)  # type: ignore[arg-type]
        self.world = replace(self.world, links=links)
        if not links[index].up:
            gone = {r for r in self.world.have.routes if any(hop.index == index for hop in r.hops)}
            self.world = replace(
                self.world,
                main=tuple(r for r in self.world.main if all(hop.index != index for hop in r.hops)),
                have=replace(self.world.have, routes=self.world.have.routes - gone),
            )

    def lose(self, have: KernelState) -> None:
        """Let a foreign program remove what is ours."""
        kept = KernelState(self.world.have.routes - have.routes, self.world.have.rules - have.rules)
        self.world = replace(self.world, have=kept)

    def _link(self, route: Route) -> Link | None:
        return self.world.links.get(route.hops[0].index) if route.hops else None

    def _reachable(self, route: Route) -> int:
        for hop in route.hops:
            link = self.world.links.get(hop.index)
            if link is None:
                return errno.ENODEV
            if not link.up:
                return errno.ENETDOWN
            tables = (self.world.have.routes, self.world.main)
            if hop.via is None or hop.onlink or hop.via.startswith("fe80:"):
                continue
            if not any(
                other.on_link and other.hops and other.hops[0].index == hop.index and holds(other.destination, hop.via)
                for table in tables
                for other in table
                if other.family is route.family and (other.table in {route.table, 254})
            ):
                return errno.ENETUNREACH if ":" not in hop.via else errno.EHOSTUNREACH
        return 0

    def _route(self, step: Step) -> int:
        route = step.what
        if not isinstance(route, Route):
            return 0
        there = {r.key: r for r in self.world.have.routes}
        match step.verb:
            case Verb.DELETE:
                if route.key not in there:
                    return errno.ESRCH
                del there[route.key]
            case Verb.ADD | Verb.REPLACE | Verb.APPEND:
                if number := self._reachable(route):
                    return number
                if step.verb is Verb.ADD and route.key in there:
                    return errno.EEXIST
                there[route.key] = route
        self.world = replace(self.world, have=replace(self.world.have, routes=frozenset(there.values())))
        return 0

    def _rule(self, step: Step) -> int:
        rule = step.what
        if not isinstance(rule, Rule):
            return 0
        rules = self.world.have.rules
        if step.verb is Verb.DELETE:
            if rule not in rules:
                return errno.ENOENT
            rules -= {rule}
        else:
            if rule in rules or rule in self.world.rules:
                return errno.EEXIST
            rules |= {rule}
        self.world = replace(self.world, have=replace(self.world.have, rules=rules))
        return 0
