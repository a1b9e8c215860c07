"""Policy entries as bounds: a session gets at most what those allow that name whose traffic it is.

What the session asked for is left as it is, so that it comes back when the bound goes; mpathd-policy(5), BOUNDS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from ..model.session import ANY_BEARER, ConnectionType, SessionSettings, Without
from ..model.words import Technology

Entries = tuple[SessionSettings, ...]
STRICTNESS = (ConnectionType.ANY, ConnectionType.LOCAL, ConnectionType.INTERNET)


def bounded(asked: SessionSettings, entries: Entries) -> SessionSettings:
    """Give what a session gets of what it asks for; the same object if nothing bounds it.

    Args:
        asked: what it asks for.
        entries: all that name whose traffic it is, in the order in which they were read.
    """
    if not entries:
        return asked
    ranked = sorted(entries, key=lambda entry: -entry.priority)
    got = asked
    for entry in reversed(ranked):  # the order of bearers is that of the last one: it has the highest priority
        got = _within(got, entry)
    return replace(got, bounds=tuple(entry.name for entry in ranked))


def _within(asked: SessionSettings, entry: SessionSettings) -> SessionSettings:
    interface, met = _interface(asked.allowed_interface, entry.allowed_interface)
    return replace(
        asked,
        # Nothing serves whoever asks for another interface only: not what it wants, and not what it did not ask for.
        allowed_bearers=_bearers(asked.allowed_bearers, entry.allowed_bearers) if met else (),
        connection_type=max(asked.connection_type, entry.connection_type, key=STRICTNESS.index),
        allowed_interface=interface,
        services=_services(asked.services, entry.services),
        without_service=asked.without_service if entry.without_service is Without.MAIN else Without.BLOCK,
    )


def _bearers(asked: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    """What both name, in the entry's order; within its "*", which leaves the order open, in the session's.

    VPN is in no "*": both must name it.
    """
    out: list[str] = []
    for bearer in allowed:
        if bearer == ANY_BEARER:
            out.extend(other for other in asked if other == ANY_BEARER or other not in (*allowed, Technology.VPN))
        elif bearer in asked or (ANY_BEARER in asked and bearer != Technology.VPN):
            out.append(bearer)
    return tuple(out)


def _interface(asked: str, allowed: str) -> tuple[str, bool]:
    """The interface that both allow, and whether there is one."""
    if allowed in {"", ANY_BEARER}:
        return asked, True
    return (allowed, True) if asked in {"", ANY_BEARER, allowed} else (asked, False)


def _services(asked: tuple[str, ...] | None, allowed: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The members that both allow; None, or "*" among them, lets mpathd choose."""
    if allowed is None or ANY_BEARER in allowed:
        return asked
    if asked is None or ANY_BEARER in asked:
        return allowed
    return tuple(name for name in asked if name in allowed)


def _above(cgroup: str) -> Iterator[str]:
    """A control group and those that it is in: the traffic of the inner one is theirs too."""
    parts = [part for part in cgroup.split("/") if part]
    return ("/".join(parts[:count]) for count in range(len(parts), 0, -1))


@dataclass(frozen=True, slots=True)
class _Index:
    """Policy entries by those whom they name.

    Args:
        entries: all, in the order in which they were read.
        users, groups, cgroups: to places in `entries`.
    """

    entries: Entries = ()
    users: dict[int, list[int]] = field(default_factory=dict)
    groups: dict[int, list[int]] = field(default_factory=dict)
    cgroups: dict[str, list[int]] = field(default_factory=dict)


def _index(entries: Entries) -> _Index:
    made = _Index(entries)
    for place, entry in enumerate(entries):
        for user in entry.users:
            made.users.setdefault(user, []).append(place)
        for group in entry.groups:
            made.groups.setdefault(group, []).append(place)
        for cgroup in list(_above(entry.cgroup))[:1]:
            made.cgroups.setdefault(cgroup, []).append(place)
    return made


class Bounds:
    """Bounds sessions; what did not change is given as the same object, by which others know it again.

    Args:
        primary: gives the group that a user's sockets have unless he sees to it; None if there is none.
    """

    def __init__(self, primary: Callable[[int], int | None]) -> None:
        self._primary = primary
        self._index = _Index()
        self._known: dict[str, tuple[SessionSettings, Entries, SessionSettings]] = {}

    def bind(self, wished: Iterable[SessionSettings], entries: Entries) -> tuple[SessionSettings, ...]:
        """Give what sessions get, in their order.

        Args:
            wished: what they ask for.
            entries: the policy entries that are in force, in the order in which they were read.
        """
        same = entries == self._index.entries
        if not same:
            self._index = _index(entries)
        if not (self._index.users or self._index.groups or self._index.cgroups):
            self._known = {}
            return tuple(wished)
        known, self._known = self._known, {}
        for asked in wished:
            before = known.get(asked.name)
            if before is None or before[0] is not asked or not same:
                binding = self._binding(asked)
                if before is None or before[0] is not asked or before[1] != binding:
                    before = (asked, binding, bounded(asked, binding))
            self._known[asked.name] = before
        return tuple(got for _, _, got in self._known.values())

    def _binding(self, asked: SessionSettings) -> Entries:
        """The entries that name whose traffic a session is."""
        index, groups = self._index, list(asked.groups)
        users = asked.users if asked.only_user is None else (asked.only_user,)
        if index.groups and asked.only_user is not None and (group := self._primary(asked.only_user)) is not None:
            groups.append(group)
        places = {
            *(place for user in users for place in index.users.get(user, ())),
            *(place for group in groups for place in index.groups.get(group, ())),
            *(place for cgroup in _above(asked.cgroup) for place in index.cgroups.get(cgroup, ())),
        }
        return tuple(index.entries[place] for place in sorted(places))
