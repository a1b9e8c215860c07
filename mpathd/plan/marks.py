"""Rules and tables of sessions: their order and its reasons are in mpathd(8), Sessions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..model.numbers import (
    MAIN,
    MEMBER_END,
    MEMBER_OWN,
    MEMBER_TABLE,
    SESSION_END,
    SESSION_MAIN,
    SESSION_OWN,
    SESSION_TABLE,
    SPLIT,
    Numbers,
)
from ..model.routing import Action, Route, Rule
from ..model.words import Family, host
from .sessions import Choice


def rules(choice: Choice, numbers: Numbers) -> frozenset[Rule]:
    """Give the rules of a session; both families have their ends, whether a service serves them or not (law 5);
    only one that falls back to main has none.

    Args:
        choice: the session and its services.
        numbers: priorities and marks.
    """
    return frozenset(_rules(choice, numbers)) if choice.marks else frozenset()


def _rules(choice: Choice, numbers: Numbers) -> Iterator[Rule]:
    mark, mask, ours = numbers.mark(choice.session.number), numbers.mark_mask, numbers.protocol
    for family in Family:
        if choice.falls_back(family):
            continue
        default = choice.defaults.get(family)
        for member in choice.serves(family):
            if member is default:
                continue
            for address in member.addresses(family):
                source = host(address.address)
                for offset, suppress in ((MEMBER_OWN, 0), (MEMBER_TABLE, None)):
                    priority = numbers.priority(offset)
                    yield Rule(family, priority, source, member.table, suppress, mark, mask, protocol=ours)
                end = numbers.priority(MEMBER_END)
                yield Rule(family, end, source, mark=mark, mask=mask, action=Action.UNREACHABLE, protocol=ours)
        yield Rule(family, numbers.priority(SESSION_OWN), None, mark, 0, mark, mask, protocol=ours)
        yield Rule(family, numbers.priority(SESSION_MAIN), None, MAIN, SPLIT[family], mark, mask, protocol=ours)
        yield Rule(family, numbers.priority(SESSION_TABLE), None, mark, None, mark, mask, protocol=ours)
        end = numbers.priority(SESSION_END)
        yield Rule(family, end, mark=mark, mask=mask, action=Action.UNREACHABLE, protocol=ours)


def table(routes: Iterable[Route], mark: int, protocol: int) -> frozenset[Route]:
    """Give the routes of a session's table in one family.

    Args:
        routes: of the service that is its default.
        mark: the number of the table.
        protocol: of our routes.
    """
    return frozenset(route.copied(mark, route.hops, protocol) for route in routes)
