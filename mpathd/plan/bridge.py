"""The steps between two rulesets, so that a packet in the midst of the change is still found to be its session's.

Kernel (net/netfilter, and docs/decisions/016-no-gap-between-rulesets.md): a packet reads once, when it comes to a
chain, whose generation's rules it follows, and its lookups are those of the generation that is current when they are
made. What is in the midst of the rules when a transaction is committed sees old rules over new elements: a chain that
came with it is empty for that packet, a map that went finds nothing. And what changes in a map of prefixes and ranges
is found a little later than its rules. Rule: first all that finds sessions comes, then maps that are there change, then
it goes; keys that cannot stand beside old ones are in a map aside, which is asked before theirs, until then.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from ..model.packet import NO_TABLE, Chain, Ruleset, Table
from ..model.routing import KernelState
from .nft import Differ, differing, remade
from .shapes import FINDS

T = TypeVar("T")
# A mark that goes stays in all sets of marks but these. What a connection's mark leads to: from the first step on it is
# given no more. And what elements count by: the next one of the same name would count a second time. So the guard knows
# such a mark until the last step, and drops what still has it.
LEFT = ("kept", "carried", "sent", "received")
GRACE = 0.02  # seconds that a packet may be in the midst of rules: softirqs take some ms from who is there
ASIDE = "_aside"  # behind the name of a map
LOOKUP, GIVES_ALL = f" vmap @{FINDS}_", "goto s_"


def bridge(want: Ruleset, have: Ruleset) -> tuple[Ruleset, ...]:
    """Give the rulesets that are to be there in between; none where one transaction opens no gap.

    Args:
        want: what the table is to hold.
        have: what it holds.
    """
    if want.empty or have.empty:
        return ()
    differ = differing(want, have)
    finding = _finds(differ)
    if not _moves(want, have, differ):
        return _chains_apart(want, have, finding)
    return tuple(step for step in _moved(want, have, finding) if step != have)


def halfway(want: Ruleset, have: Ruleset, *, waiting: bool = False) -> Ruleset | None:
    """Give the step at which to wait until what is under way has come through, None if there is none to wait at.

    Args:
        want: what the table is to hold.
        have: what it holds.
        waiting: that is such a step: what is to go from it stays.
    """
    if want is have or want.empty or have.empty:
        return None
    differ = differing(want, have)
    return _moved(want, have, _finds(differ))[0] if waiting or _moves(want, have, differ) else None


@dataclass(slots=True)
class Bridge:
    """Where to wait, and until when. Time is an argument."""

    _at: Ruleset | None = None
    _leave_at: float = 0.0

    def towards(self, want: KernelState, have: KernelState, now: float) -> KernelState:
        """Give what is wanted, or what is to be there until what is under way has come through.

        Args:
            want: what should be ours.
            have: what is ours.
            now: seconds on a clock that never jumps.
        """
        waiting = self._at is not None and have.packets is self._at
        step = None
        if want.packets is not None and have.packets is not None and not (waiting and now >= self._leave_at):
            step = halfway(want.packets, have.packets, waiting=waiting)
        self._leave_at = self._leave_at if waiting else now + GRACE
        self._at = have.packets if step == have.packets else step
        return want if step is None else replace(want, packets=self._at)


def _moves(want: Ruleset, have: Ruleset, differ: Differ) -> bool:
    """Whether traffic of a session may be another one's, or have another mark, or be found by another map."""
    old, new = differ.get("sessions", ({}, {}))
    if old and new:
        return True
    finding = _finds(differ)
    comes = any(new for _, new in finding.values()) or _everything(want) - _everything(have)
    goes = any(old for old, _ in finding.values()) or _everything(have) - _everything(want)
    return bool(remade(have, finding) & want.tables.keys() or (comes and goes))


def _chains_apart(want: Ruleset, have: Ruleset, finding: Differ) -> tuple[Ruleset, ...]:
    """Only keys come, or only keys go: chains are there before those that lead to them, and go behind them."""
    counters = have.counters | want.counters
    both = finding.keys() & have.tables.keys() & want.tables.keys()
    if any(_rivals(have, name, _elsewhere(finding[name][1], have)) for name in both):
        return (Ruleset(have.tables, {**want.chains, **have.chains}, counters),)
    ranges = (name for name in both if have.tables[name].interval)
    if any(_rivals(want, name, _elsewhere(finding[name][0], want)) for name in ranges):
        return (Ruleset(want.tables, {**have.chains, **want.chains}, counters),)
    return ()


def _moved(want: Ruleset, have: Ruleset, finding: Differ) -> tuple[Ruleset, ...]:
    """Keys come and go, and some of them are the same packets'."""
    before, after, anew = _finds(have.tables), _finds(want.tables), remade(have, finding)
    changing = [name for name in finding if name in before and name in after]
    aside = {
        name: replace(before[name], elements=beside, shares=())
        for name in changing
        if (beside := after[name].elements if name in anew else finding[name][1])
    }
    old, new = (ruleset.tables.get("sessions", NO_TABLE).elements for ruleset in (have, want))
    gone = frozenset(old) - frozenset(new)
    shared = {n: t if n in LEFT else _with(t, have.tables.get(n), gone) for n, t in want.tables.items()}
    tables = {**have.tables, **shared, **before, **{name + ASIDE: table for name, table in aside.items()}}
    looking = {name: _looking(chain, have.chains.get(name), aside, after) for name, chain in want.chains.items()}
    chains, counters = {**have.chains, **looking}, have.counters | want.counters
    steps = [Ruleset(tables, chains, counters)]
    if any(name in anew or before[name].interval for name in changing):  # aside must stay until they have changed
        steps.append(Ruleset({**tables, **{name: after[name] for name in changing}}, chains, counters))
    return tuple(steps)


def _finds(tables: Mapping[str, T]) -> dict[str, T]:
    """Those of the maps by which sessions are found."""
    return {name: table for name, table in tables.items() if name.startswith(f"{FINDS}_")}


def _everything(ruleset: Ruleset) -> frozenset[str]:
    """The rules that give a session all that no map has found."""
    return frozenset(_catching(ruleset.chains["output"].rules if "output" in ruleset.chains else ()))


def _catching(rules: Iterable[str]) -> tuple[str, ...]:
    return tuple(rule for rule in rules if rule.startswith(GIVES_ALL))


def _elsewhere(elements: Mapping[str, str], rules: Ruleset) -> Mapping[str, str]:
    """Those that lead to chains that a ruleset has not."""
    return {key: value for key, value in elements.items() if value.removeprefix("goto ") not in rules.chains}


def _rivals(ruleset: Ruleset, name: str, keys: Mapping[str, str]) -> bool:
    """Whether what keys of a map catch may be another session's by a lookup behind it."""
    rules = ruleset.chains["output"].rules
    at = next((at for at, rule in enumerate(rules) if _map(rule) == name), len(rules))
    behind = [rule for rule in rules[at + 1 :] if _is_find(rule)]
    if not keys or not behind:
        return False
    mine, parts = _fields(rules[at]), [key.split(" . ") for key in keys]
    for rule in behind:
        fields, table = _fields(rule), ruleset.tables.get(_map(rule), NO_TABLE)
        if table is NO_TABLE or table.interval or not set(fields) <= set(mine):
            return True
        places = [mine.index(field) for field in fields]
        for key in parts:
            seen = [key[place] for place in places]
            if any("-" in value or "/" in value for value in seen) or " . ".join(seen) in table.elements:
                return True
    return False


def _with(want: Table, have: Table | None, marks: Container[str]) -> Table:
    """What is wanted, with what there is of some marks."""
    if have is None or have is want or not want.type.startswith("type mark"):
        return want
    stays = {key: value for key, value in have.elements.items() if key.partition(" ")[0] in marks}
    return replace(want, elements={**stays, **want.elements}, shares=()) if stays else want


def _looking(want: Chain, have: Chain | None, aside: Mapping[str, Table], after: Mapping[str, Table]) -> Chain:
    """A chain that looks aside too, and behind all that it is to look at, at what goes."""
    last = next((at for at, rule in reversed(tuple(enumerate(want.rules, 1))) if _is_find(rule)), 0)
    if not last:
        return want
    rules: list[str] = []
    for rule in want.rules[:last]:
        if _map(rule) in aside:
            rules.append(f"{rule}{ASIDE}")
        rules.append(rule)
    old, catching = have.rules if have is not None else (), _catching(rules)
    known = {*after, *(f"{name}{ASIDE}" for name in aside)}
    rules[len(rules) - len(catching) :] = [rule for rule in old if LOOKUP in rule and _map(rule) not in known]
    return Chain((*rules, *(catching or _catching(old)), *want.rules[last:]), want.head)


def _is_find(rule: str) -> bool:
    return LOOKUP in rule or rule.startswith(GIVES_ALL)


def _map(rule: str) -> str:
    return rule.rpartition(" vmap @")[2] if " vmap @" in rule else ""


def _fields(rule: str) -> list[str]:
    return rule.rpartition(" vmap @")[0].split(" . ")
