"""Answers of hosts behind this machine leave by the link that the question came in by.

An address of this machine says by which link its traffic leaves; a host behind it has none of the link's. So each
connection that comes in by a multipath-routed service gets the mark of that link in conntrack, and the answers are
routed by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ..model.numbers import SESSIONS, Numbers
from ..model.routing import Rule
from ..model.words import Family
from .marks import ends
from .membership import Member
from .naming import unsayable
from .numbering import foreign


@dataclass(frozen=True, slots=True)
class LinkMark:
    """A link whose connections are answered by it.

    Args:
        member: the service.
        mark: of its connections.
        families: in which it is routed.
    """

    member: Member
    mark: int
    families: tuple[Family, ...]


def link_marks(
    routed: Iterable[tuple[Member, tuple[Family, ...]]],
    rules: Collection[Rule],
    taken: Collection[int],
    numbers: Numbers,
) -> tuple[LinkMark, ...]:
    """Give the marks of links. They come from the end of sessions' numbers, by the link's index: nothing is to be kept.

    Args:
        routed: services, and the families in which they are multipath-routed.
        rules: of others; a mark that one of them would match is not used.
        taken: numbers of sessions.
        numbers: marks.
    """
    last = min(SESSIONS, numbers.mark_mask // numbers.mark_base)
    out = []
    for member, families in routed:
        number = last - member.link.index
        mark = numbers.mark(number)
        free = number > max(taken, default=0) and not foreign(mark, rules, numbers.mark_mask)
        if families and free and not unsayable(member.link.name):
            out.append(LinkMark(member, mark, families))
    return tuple(out) if len(out) > 1 else ()  # with one link there is no other way


def rules(marks: Iterable[LinkMark], numbers: Numbers) -> frozenset[Rule]:
    """Give the rules of links' marks: as those of a session whose table is the link's.

    Args:
        marks: the links.
        numbers: priorities.
    """
    every = (ends(link.mark, link.member.table, family, numbers) for link in marks for family in link.families)
    return frozenset(rule for rules in every for rule in rules)
