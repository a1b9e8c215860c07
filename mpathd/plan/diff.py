"""From what should be ours in the kernel and what is, to the writes that are missing, in order.

Rule 1: the order of kernel writes is decided here and nowhere else. A table is filled before a rule points at it, and
both leave last; within an address the rules come in their own order, since each prefix of the four is safe: own
specifics, then main's, then the table, then the end; and they go in the opposite order.
Law: apply(diff(w, h), h) == w, and diff(w, w) == ().
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from itertools import pairwise

from ..model.marking import Marking
from ..model.mptcp import Change
from ..model.numbers import Numbers
from ..model.packet import NO_TABLE, Connections, Load, Ruleset, differences
from ..model.routing import Action, KernelState, Route, Rule, Step, Verb
from ..model.world import Link
from .bridge import bridge
from .nft import changes, whole

TURNS = {Action.NOP: 0, Action.GOTO: 1}
WAYS, OWN = ("ok4", "ok6", "nat4", "nat6"), ("own4", "own6")  # sets of plan/packets.py


class Phase(IntEnum):
    """When a step is due."""

    ROUTE_ADD = 0
    RULE_ADD = 1
    PACKETS = 2
    SOCKETS = 3
    RULE_DELETE = 4
    ROUTE_DELETE = 5
    CONNECTIONS = 6
    ENDPOINTS = 7  # behind all routing: what comes too early is tried once by each connection, and never again


def phase(step: Step) -> Phase:
    """Tell when a step is due.

    Args:
        step: the step.
    """
    gone = step.verb is Verb.DELETE
    match step.what:
        case Route():
            return Phase.ROUTE_DELETE if gone else Phase.ROUTE_ADD
        case Rule():
            return Phase.RULE_DELETE if gone else Phase.RULE_ADD
        case Load():
            return Phase.PACKETS
        case Marking():
            return Phase.SOCKETS
        case Connections():
            return Phase.CONNECTIONS
        case Change():
            return Phase.ENDPOINTS


def _order(step: Step) -> tuple[object, ...]:
    what, due = step.what, phase(step)
    if isinstance(what, Load):  # there is one at most
        return (due, "")
    if isinstance(what, Connections | Marking | Change):
        return (due, str(what))
    if isinstance(what, Route):
        # The kernel takes a gateway only when a route on the link leads to it; and gives no way back, so the
        # default leaves first. Specifics and throws stand before the default that would overtake them.
        late = (what.is_default, not what.on_link, what.throw)
        keyed = (what.table, what.family, late if due is Phase.ROUTE_ADD else tuple(not x for x in late))
        return (due, *keyed, what.destination, what.metric, what.tos)
    # A goto is skipped while its target is not there, so the target comes first and leaves last; and what goes past
    # the early rules is sent past them before there are any.
    turn = TURNS.get(what.action, 2)
    turn, priority = (turn, what.priority) if due is Phase.RULE_ADD else (-turn, -what.priority)
    traffic = what.traffic.words() if what.traffic is not None else ""
    return (due, what.family, turn, what.source or "", what.mark, priority, what.table, traffic)


def diff(
    want: KernelState, have: KernelState, foreign: Iterable[Rule] = (), strangers: Iterable[Route] = ()
) -> tuple[Step, ...]:
    """Give the writes that turn what is into what should be.

    Args:
        want: what should be ours.
        have: what is ours.
        foreign: rules of others; one that equals ours in all but its protocol serves as ours (the kernel would
            refuse a second one).
        strangers: routes of others in tables that may be ours: a replace would take one with our key for ours.
    """
    steps: list[Step] = []
    if want.routes != have.routes:
        comes, gone = want.routes - have.routes, have.routes - want.routes
        there = {route.key for route in gone}
        crowded = {route.key for route in strangers} if gone else set()
        replaced = {route.key for route in comes} - crowded
        for route in comes:
            changed = Verb.APPEND if route.key in crowded else Verb.REPLACE
            steps.append(Step(changed if route.key in there else Verb.ADD, route))
        steps.extend(Step(Verb.DELETE, route) for route in gone if route.key not in replaced)
    if want.rules != have.rules:
        theirs = frozenset(foreign)
        steps.extend(Step(Verb.ADD, rule) for rule in want.rules - have.rules if rule not in theirs)
        steps.extend(Step(Verb.DELETE, rule) for rule in have.rules - want.rules)
    if want.packets is not None and want.packets != have.packets:
        steps.append(Step(Verb.REPLACE, load(want.packets, have.packets)))
    if want.sockets != have.sockets:
        marked, kept = {m.group for m in have.sockets}, {m.group for m in want.sockets}
        for marking in want.sockets - have.sockets:
            steps.append(Step(Verb.REPLACE if marking.group in marked else Verb.ADD, marking))
        steps.extend(Step(Verb.DELETE, marking) for marking in have.sockets if marking.group not in kept)
    return tuple(sorted(steps, key=_order))


def load(want: Ruleset, have: Ruleset | None) -> Load:
    """Give the transactions that lead to a ruleset.

    Args:
        want: what our table is to hold.
        have: what it holds; None makes it anew.
    """
    if have is None:
        return Load(want, have, (whole(want),), want.tables)
    steps = (have, *bridge(want, have), want)
    texts = tuple(changes(after, before) for before, after in pairwise(steps))
    tables = {name: table for ruleset in steps for name, table in ruleset.tables.items()}
    return Load(want, have, texts, tables)


def turned(
    want: Ruleset | None, have: Ruleset | None, numbers: Numbers, links: Iterable[Link] = ()
) -> tuple[Step, ...]:
    """Give the connections to forget: those of sessions whose links or translations are others than before, and of
    sessions that have ended: their marks are given again, and what was translated for one is not the next one's.

    Args:
        want: what our table is to hold.
        have: what it held; None if that is not known: then everything may have turned.
        numbers: marks.
        links: all that are there; by one without a carrier nobody can speak to us.
    """
    if want is None:
        return ()
    old = want if have is None else have
    known, there = (ruleset.tables.get("sessions", NO_TABLE).elements for ruleset in (old, want))
    marks = sorted(mark for mark in _changed(want, have) if mark in known)
    # While there is no way at all they are refused by their mark, which a socket that is closed needs.
    ways = [want.tables.get(name, NO_TABLE).elements for name in WAYS if name.startswith("ok")]
    turns = [mark for mark in marks if any(key.startswith(f"{mark} ") for elements in ways for key in elements)]
    gone = [Connections(int(m, 16), numbers.mark_mask, lost=_lost(m, want, have, links)) for m in turns]
    # Counters have their names from the birth of their sessions: one that goes on under another mark has not ended.
    before, now = (ruleset.tables.get("dropped", NO_TABLE).elements for ruleset in (old, want))
    stay = set(now.values())
    for mark in sorted(mark for mark in known if mark not in there):
        gone.append(Connections(int(mark, 16), numbers.mark_mask, ended=before.get(mark) not in stay))
    return tuple(Step(Verb.DELETE, connections) for connections in gone)


def _lost(mark: str, want: Ruleset, have: Ruleset | None, links: Iterable[Link]) -> tuple[str, ...]:
    """The addresses that were a session's and are not any more, and can still be spoken to."""
    own = [[] if one is None else [one.tables.get(name, NO_TABLE).elements for name in OWN] for one in (have, want)]
    before, now = ({key.rpartition(" ")[2] for keys in of for key in keys if key.startswith(f"{mark} ")} for of in own)
    if not before - now:
        return ()
    alive = {a.address for link in links if link.carrier for a in link.addresses}
    return tuple(sorted((before - now) & alive))


def _changed(want: Ruleset, have: Ruleset | None) -> set[str]:
    """The marks whose links, addresses or translations are others."""
    out: set[str] = set()
    for name in WAYS:
        table, before = want.tables.get(name, NO_TABLE), NO_TABLE if have is None else have.tables.get(name, NO_TABLE)
        out.update(key.partition(" ")[0] for keys in differences(before, table) for key in keys)
    return out


def tables_of(steps: Iterable[Step]) -> frozenset[tuple[int, int]]:
    """Give the tables (family, number) that routes of some steps belong to.

    Args:
        steps: any steps.
    """
    return frozenset((s.what.family, s.what.table) for s in steps if isinstance(s.what, Route))


def held_back(steps: Iterable[Step], broken: frozenset[tuple[int, int]], have: KernelState) -> frozenset[Step]:
    """Give the steps that must wait because their table lacks a route: new rules of a source whose table could not be
    filled, unless rules for it are there already (mpathd(8), Order of writing).

    Args:
        steps: what is due.
        broken: tables of which a route was refused.
        have: what is ours now.
    """
    if not broken:
        return frozenset()
    adds = [s for s in steps if s.verb is Verb.ADD and isinstance(s.what, Rule)]
    ruled = {(rule.family, rule.source) for rule in have.rules}
    sources = {
        (s.what.family, s.what.source)
        for s in adds
        if isinstance(s.what, Rule) and (s.what.family, s.what.table) in broken
    } - ruled
    return frozenset(s for s in adds if isinstance(s.what, Rule) and (s.what.family, s.what.source) in sources)
