"""From what is there and what is wished for to what should be in the kernel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ..model.policy import Policy
from ..model.routing import KernelState, Route
from ..model.words import Family
from ..model.world import World
from . import early, forward, marks, services
from .membership import Member, members
from .order import places
from .packets import ruleset
from .recall import Recall
from .sessions import Choice, choose
from .sockets import markings
from .tables import Main, borrowing, near, routes, sort_main

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decided:
    """What a pass has decided.

    Args:
        kernel: what should be ours in the kernel.
        members: the services, in their order.
        verdicts: whether each is routed, by identifier.
        choices: services of sessions, by number.
        caught: what of each session has early rules, by number.
    """

    kernel: KernelState
    members: tuple[Member, ...]
    verdicts: Mapping[str, services.Verdicts]
    choices: tuple[Choice, ...]
    caught: Mapping[int, early.Caught]


def _union(*parts: frozenset[T]) -> frozenset[T]:
    nothing: frozenset[T] = frozenset()
    return nothing.union(*parts)


def _found(world: World, policy: Policy, known: Recall) -> tuple[Member, ...]:
    order = partial(services.order, places(policy.stored.order))
    return tuple(sorted(members(world, policy, known), key=order))


def _link_marks(
    world: World, policy: Policy, found: tuple[Member, ...], decided: Mapping[str, services.Verdicts]
) -> tuple[forward.LinkMark, ...]:
    """The marks of links, on a router."""
    if not world.forwarding:
        return ()
    ways = [(m, tuple(f for f in Family if decided[m.id][f].routed)) for m in found]
    return forward.link_marks(ways, world.rules, {s.number for s in policy.sessions}, policy.numbers)


@dataclass(frozen=True, slots=True)
class _Tables:
    """Routes of services' and sessions' tables.

    Args:
        main: the main table.
        protocol: of our routes.
        known: what the last pass worked out.
    """

    main: Main
    protocol: int
    known: Recall

    def of(self, member: Member, family: Family) -> frozenset[Route]:
        """Give what a service's table holds.

        Args:
            member: the service.
            family: the family.
        """
        place = (member.link.index, family)
        around = self.known.of(place, near, self.main, member.link.index, family)
        return self.known.of(place, routes, member, family, around, self.protocol)

    def copied(self, choice: Choice, mark: int) -> Iterator[frozenset[Route]]:
        """Give what a session's table holds.

        Args:
            choice: the session and its services.
            mark: its number.
        """
        for family, default in choice.defaults.items():
            yield self.known.of((mark, family), marks.table, self.of(default, family), mark, self.protocol)


def desire(world: World, policy: Policy, recall: Recall | None = None) -> Decided:
    """Decide what should be in the kernel.

    Args:
        world: what was found.
        policy: what is wished for.
        recall: what the last pass worked out.
    """
    known, numbers = recall or Recall(), policy.numbers
    main = known.of("main", sort_main, world.main)
    found = _found(world, policy, known)
    lent = {family: known.of(family, borrowing, world.main, world.lent, family) for family in Family}
    ground = services.Ground(world.uncopied, lent, policy.allow_borrowed, policy.source_order)
    decided = {m.id: known.of(m.link.index, services.verdicts, m, ground) for m in found}
    routed = frozenset(name for name, of in decided.items() if any(verdict.routed for verdict in of.values()))
    choices = tuple(known.of(session.number, choose, session, found, routed) for session in policy.sessions)
    links = _link_marks(world, policy, found, decided)

    tables = _Tables(main, numbers.protocol, known)
    filled = [tables.of(m, family) for m in found for family in Family if decided[m.id][family].routed]
    filled += [r for c in choices if c.marks for r in tables.copied(c, numbers.mark(c.session.number))]

    claims = services.claims((m.id, known.of(m.link.index, services.sources, m, decided[m.id])) for m in found)
    rules = [known.of(m.link.index, services.rules, numbers, m.table, claims[m.id]) for m in found]
    rules += [of for choice in choices for of in marks.rules(choice, numbers, known)]
    caught = {s.number: known.of(s.number, early.caught, s, policy.early_rules) for s in policy.sessions}
    rules += (first := early.rules(choices, caught, numbers, known))
    sockets = known.of("sockets", markings, choices, world.homes, numbers)
    if first or sockets:
        rules.append(known.of("exceptions", early.exceptions, numbers))
    rules.append(known.of("links", forward.rules, links, numbers))

    packets = ruleset(choices, found, numbers, links, forwarding=world.forwarding, recall=known)
    kernel = KernelState(known.of("routes", _union, *filled), known.of("rules", _union, *rules), packets, sockets)
    return Decided(kernel, found, decided, choices, caught)
