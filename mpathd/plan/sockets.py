"""Which control groups' sockets are marked: those that sessions name, and those that are entered."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from ..model.marking import Marking, home, slice_of
from ..model.numbers import Numbers
from .sessions import Choice


def markings(choices: Iterable[Choice], homes: Container[str], numbers: Numbers) -> frozenset[Marking]:
    """Give the control groups of sessions, and of their users: there MPTCP's subflows are held, too. Marks stay while a
    session falls back to main: they have no rules then.

    Args:
        choices: the sessions and their services.
        homes: control groups that are there to be entered.
        numbers: marks.
    """
    return frozenset(_markings(tuple(choices), homes, numbers))


def _markings(every: tuple[Choice, ...], homes: Container[str], numbers: Numbers) -> Iterator[Marking]:
    taken: set[str] = set()
    for choice in sorted(every, key=lambda choice: (-choice.session.settings.priority, choice.session.born)):
        settings = choice.session.settings
        named = "/" + settings.cgroup.strip("/") if settings.cgroup else ""
        # Whoever may enter has been let in; a group that is only named has others in it as well.
        groups = [(named, settings.only_user), (home(settings.name), None)]
        groups += [(slice_of(user), user) for user in settings.users if _alone(choice, user, every)]
        for group, user in groups:
            if group and (group in homes or group == named) and group not in taken:
                taken.add(group)
                mark = numbers.mark(choice.session.number)
                yield Marking(group, mark, numbers.mark_mask, user, choice.marks)


def _alone(choice: Choice, user: int, every: Iterable[Choice]) -> bool:
    """Whether no other session has a say in a user's traffic: a mark at the socket would go before its selectors."""
    if choice.session.settings.only_user not in {None, user}:
        return False
    others = (other.session.settings for other in every if other is not choice)
    return not any(s.selectors or s.groups or user in s.users or s.only_user == user for s in others)
