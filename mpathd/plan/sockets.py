"""Which control groups' sockets are marked: those that sessions name, and those that are entered; or why none is."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from ..model.marking import Marking, home, slice_of
from ..model.numbers import Numbers
from ..model.policy import Policy
from ..model.session import SessionSettings
from ..model.world import World
from .sessions import Choice


def lacking(world: World, policy: Policy) -> str:
    """Say why no socket is marked; empty if they are.

    Args:
        world: what was found.
        policy: what is wished for.
    """
    return world.no_sockets if policy.socket_engine else "socket_engine is off"


def named(settings: SessionSettings) -> str:
    """Give the control group that a session names, as a path from the root; empty if it names none.

    Args:
        settings: of the session.
    """
    return "/" + settings.cgroup.strip("/") if settings.cgroup else ""


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
    for choice in sorted(every, key=_rank):
        settings = choice.session.settings
        own = named(settings)
        # Whoever may enter has been let in; a group that is only named has others in it as well.
        groups = [(own, settings.only_user), (home(settings.name), None)]
        groups += [(slice_of(user), user) for user in settings.users if _alone(choice, user, every)]
        for group, user in groups:
            if group and (group in homes or group == own) and group not in taken:
                taken.add(group)
                mark = numbers.mark(choice.session.number)
                yield Marking(group, mark, numbers.mark_mask, user, choice.marks)


def _rank(choice: Choice) -> tuple[bool, int, int]:
    """Who comes first where several name one group: a user without rights, whose program serves him alone, is last."""
    settings = choice.session.settings
    return settings.only_user is not None, -settings.priority, choice.session.born


def _alone(choice: Choice, user: int, every: Iterable[Choice]) -> bool:
    """Whether no other session has a say in a user's traffic: a mark at the socket would go before its selectors."""
    if choice.session.settings.only_user not in {None, user}:
        return False
    others = (other.session.settings for other in every if other is not choice)
    return not any(
        s.only_user == user or (s.only_user is None and (s.selectors or s.groups or user in s.users)) for s in others
    )
