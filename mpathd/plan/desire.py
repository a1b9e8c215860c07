"""From what is there and what is wished for to what should be in the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from ..model.numbers import Numbers
from ..model.policy import Policy
from ..model.routing import KernelState, Route, Rule
from ..model.session import Session
from ..model.words import Family
from ..model.world import World
from . import early, forward, marks, services
from .membership import Member, members
from .order import places
from .packets import ruleset
from .recall import Recall
from .sessions import Choice, choose
from .sockets import lacking, markings
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


@dataclass(frozen=True, slots=True)
class Linked:
    """What follows from the links alone, whatever sessions there are.

    Args:
        verdicts: whether each service is routed, by identifier.
        routed: those that are, in some family.
        tables: what the table of each holds, or would hold.
        routes, rules: what should be in the kernel of it.
    """

    verdicts: Mapping[str, services.Verdicts]
    routed: frozenset[str]
    tables: Mapping[tuple[str, Family], frozenset[Route]]
    routes: frozenset[Route]
    rules: frozenset[Rule]


@dataclass(frozen=True, slots=True)
class Served:
    """What follows for one session, whatever others there are.

    Args:
        choice: its services.
        caught: what of it has early rules.
        routes, rules: what should be in the kernel of it, early rules aside.
    """

    choice: Choice
    caught: early.Caught
    routes: frozenset[Route]
    rules: frozenset[Rule]


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


def _table(member: Member, family: Family, main: Main, numbers: Numbers, known: Recall) -> frozenset[Route]:
    """What a service's table holds."""
    place = (member.link.index, family)
    around = known.of(place, near, main, member.link.index, family)
    return known.of(place, routes, member, family, around, numbers.protocol)


def _linked(main: Main, found: tuple[Member, ...], ground: services.Ground, numbers: Numbers, known: Recall) -> Linked:
    """Decide about the links; what one of them does leaves what was worked out for the others."""
    known.turn()
    decided = {m.id: known.of(m.link.index, services.verdicts, m, ground) for m in found}
    routed = frozenset(name for name, of in decided.items() if any(verdict.routed for verdict in of.values()))
    tables = {(m.id, family): _table(m, family, main, numbers, known) for m in found for family in Family}
    filled = [tables[m.id, family] for m in found for family in Family if decided[m.id][family].routed]
    claims = services.claims((m.id, known.of(m.link.index, services.sources, m, decided[m.id])) for m in found)
    rules = [known.of(m.link.index, services.rules, numbers, m.table, claims[m.id]) for m in found]
    return Linked(decided, routed, tables, known.of("routes", _union, *filled), known.of("rules", _union, *rules))


def _served(
    session: Session, found: tuple[Member, ...], linked: Linked, limit: int, numbers: Numbers, known: Recall
) -> Served:
    """Decide about a session; a link that goes leaves what was worked out for it by the others."""
    known.turn()
    choice, mark = known.of("choice", choose, session, found, linked.routed), numbers.mark(session.number)
    theirs = tuple(linked.tables[member.id, family] for family, member in choice.defaults.items())
    filled = known.of("table", marks.table, theirs if choice.marks else (), mark, numbers.protocol)
    rules = known.of("rules", marks.rules, choice, numbers, known.of("rules", Recall))
    return Served(choice, known.of("caught", early.caught, session, limit), filled, rules)


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
    of_links = known.of("links", Recall)
    linked = known.of("links", _linked, main, found, ground, numbers, of_links)
    served = []
    for session in policy.sessions:
        own = known.of(session.number, Recall)
        served.append(known.of(session.number, _served, session, found, linked, policy.early_rules, numbers, own))
    choices, caught = tuple(one.choice for one in served), {one.choice.session.number: one.caught for one in served}
    links = _link_marks(world, policy, found, linked.verdicts)

    rules = [linked.rules, *(one.rules for one in served)]
    rules += (first := early.rules(choices, caught, numbers, known))
    groups = () if lacking(world, policy) else choices
    sockets = known.of("sockets", markings, groups, world.homes, numbers)
    if first or sockets:
        rules.append(known.of("exceptions", early.exceptions, numbers))
    rules.append(known.of("links", forward.rules, links, numbers))

    packets = ruleset(choices, found, numbers, links, forwarding=world.forwarding, recall=known)
    filled = known.of("routes", _union, linked.routes, *(one.routes for one in served))
    kernel = KernelState(filled, known.of("rules", _union, *rules), packets, sockets)
    return Decided(kernel, found, linked.verdicts, choices, caught)
