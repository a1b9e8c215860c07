"""Numbers of sessions: kept over restarts, and never one whose mark somebody else's rule would match."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..model.numbers import SESSIONS, Numbers
from ..model.routing import Rule
from ..model.session import Session, SessionSettings

Kept = tuple[int, int]  # number and birth


def foreign(mark: int, rules: Iterable[Rule], mask: int) -> bool:
    """Tell whether a rule of others would match a mark.

    Args:
        mark: the mark.
        rules: rules that are not ours.
        mask: our bits; a rule that looks at none of them says nothing about our marks.
    """
    return any(rule.mask & mask and mark & rule.mask == rule.mark for rule in rules)


def number(
    wanted: Iterable[SessionSettings],
    kept: Mapping[str, Kept],
    rules: Iterable[Rule],
    numbers: Numbers,
    asleep: frozenset[str] = frozenset(),
) -> tuple[Session, ...]:
    """Give each session its number: the one it had, else the lowest that is free.

    Args:
        wanted: sessions in the order in which they get numbers.
        kept: name to number and birth from before.
        rules: rules that are not ours.
        numbers: marks.
        asleep: names of those that are not active.
    """
    strangers = tuple(rules)
    sessions = tuple(wanted)
    last = min(SESSIONS, numbers.mark_mask // numbers.mark_base)
    taken = {
        kept[s.name][0]
        for s in sessions
        if s.name in kept
        and 0 < kept[s.name][0] <= last
        and not foreign(numbers.mark(kept[s.name][0]), strangers, numbers.mark_mask)
    }
    youngest = max((born for _, born in kept.values()), default=0)
    out: list[Session] = []
    free = 1
    for settings in sessions:
        own, born = kept.get(settings.name, (0, 0))
        if not born:
            youngest += 1
            born = youngest
        if own not in taken:
            while free in taken or (free <= last and foreign(numbers.mark(free), strangers, numbers.mark_mask)):
                free += 1
            own = free
        if own > last:
            break  # no mark is left; who asked last has none
        taken.add(own)
        out.append(Session(settings, own, born, active=settings.name not in asleep))
    return tuple(sorted(out, key=lambda session: session.number))
