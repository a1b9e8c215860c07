"""Rules and tables of sessions: their order and its reasons are in mpathd(8), Sessions."""

from __future__ import annotations

from collections.abc import Iterator

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
from ..model.world import LinkAddress
from .recall import Recall
from .sessions import Choice


def rules(choice: Choice, numbers: Numbers, recall: Recall) -> frozenset[Rule]:
    """Give the rules of a session; both families have their ends, whether a service serves them or not (law 5);
    only one that falls back to main has none.

    Args:
        choice: the session and its services.
        numbers: priorities and marks.
        recall: what was worked out for this session when it was asked for last.
    """
    recall.turn()
    nothing: frozenset[Rule] = frozenset()
    return nothing.union(*_parts(choice, numbers, recall)) if choice.marks else nothing


def _parts(choice: Choice, numbers: Numbers, recall: Recall) -> Iterator[frozenset[Rule]]:
    mark = numbers.mark(choice.session.number)
    for family in Family:
        if choice.falls_back(family):
            continue
        yield recall.of(family, ends, mark, mark, family, numbers)
        default = choice.defaults.get(family)
        for member in choice.serves(family):
            if member is not default:
                place = (family, member.link.index)
                yield recall.of(place, _member, mark, family, member.addresses(family), member.table, numbers)


def _member(
    mark: int, family: Family, addresses: tuple[LinkAddress, ...], table: int, numbers: Numbers
) -> frozenset[Rule]:
    """The rules of a service that bound sockets of a session may leave by."""
    mask, ours = numbers.mark_mask, numbers.protocol
    own, whole, end = (numbers.priority(offset) for offset in (MEMBER_OWN, MEMBER_TABLE, MEMBER_END))
    out = []
    for address in addresses:
        source = host(address.address)
        out += [
            Rule(family, own, source, table, 0, mark, mask, protocol=ours),
            Rule(family, whole, source, table, None, mark, mask, protocol=ours),
            Rule(family, end, source, mark=mark, mask=mask, action=Action.UNREACHABLE, protocol=ours),
        ]
    return frozenset(out)


def ends(mark: int, table: int, family: Family, numbers: Numbers) -> frozenset[Rule]:
    """Give the rules that lead what has a mark to a table, and nowhere else.

    Args:
        mark: of a session, or of a link.
        table: the session's own, or the link's.
        family: the family.
        numbers: priorities.
    """
    mask, ours = numbers.mark_mask, numbers.protocol
    own, main, whole, end = (numbers.priority(n) for n in (SESSION_OWN, SESSION_MAIN, SESSION_TABLE, SESSION_END))
    return frozenset(
        (
            Rule(family, own, None, table, 0, mark, mask, protocol=ours),
            Rule(family, main, None, MAIN, SPLIT[family], mark, mask, protocol=ours),
            Rule(family, whole, None, table, None, mark, mask, protocol=ours),
            Rule(family, end, mark=mark, mask=mask, action=Action.UNREACHABLE, protocol=ours),
        )
    )


def table(filled: tuple[frozenset[Route], ...], mark: int, protocol: int) -> frozenset[Route]:
    """Give the routes of a session's table.

    Args:
        filled: those of its default services' tables, one for each family.
        mark: the number of the table.
        protocol: of our routes.
    """
    return frozenset(route.copied(mark, route.hops, protocol) for routes in filled for route in routes)
