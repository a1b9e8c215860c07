"""Which control groups' sockets are marked: those that sessions name, and those that are entered."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from ..model.marking import Marking, home
from ..model.numbers import Numbers
from .sessions import Choice


def markings(choices: Iterable[Choice], homes: Container[str], numbers: Numbers) -> Iterator[Marking]:
    """Give the control groups of sessions. Marks stay while a session falls back to main: they have no rules then.

    Args:
        choices: the sessions and their services.
        homes: control groups that are there to be entered.
        numbers: marks.
    """
    taken: set[str] = set()
    for choice in sorted(choices, key=lambda choice: (-choice.session.settings.priority, choice.session.born)):
        settings = choice.session.settings
        named = "/" + settings.cgroup.strip("/") if settings.cgroup else ""
        entered = home(settings.name)
        # Whoever may enter has been let in; a group that is only named has others in it as well.
        for group, user in ((named, settings.only_user), (entered if entered in homes else "", None)):
            if group and group not in taken:
                taken.add(group)
                mark = numbers.mark(choice.session.number)
                yield Marking(group, mark, numbers.mark_mask, user, choice.marks)
