"""Tells listeners of their objects: everything first, then what changed, and Release when it ends without them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mpathd.codec import Variant

from .table import Arg, Listener, Object, Signal, Tree

# Calls that we make. They have the form of signals, since nobody waits for an answer.
UPDATE = Signal("Update", (Arg("settings", "a{sv}"),))
RELEASE = Signal("Release")


@dataclass(frozen=True, slots=True)
class Notice:
    """A call to be made.

    Args:
        listener: to whom.
        row: UPDATE or RELEASE.
        body: its values.
    """

    listener: Listener
    row: Signal
    body: list[Any]


@dataclass(frozen=True, slots=True)
class _Told:
    """What was told last.

    Args:
        listener: to whom.
        thing: of what.
        values: its properties, by name.
    """

    listener: Listener
    thing: Object
    values: dict[str, Any]


class Notices:
    """What the listeners on one connection know."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}
        self._held: set[str] = set()
        self._left: set[str] = set()

    def hold(self, path: str) -> None:
        """Say nothing of an object for now, also not that it has ended; afterwards everything is told anew.

        Args:
            path: of the object.
        """
        self._held.add(path)
        self._told.pop(path, None)

    def go_on(self, path: str) -> None:
        """Tell of an object again.

        Args:
            path: of the object.
        """
        self._held.discard(path)

    def left(self, owner: str) -> None:
        """Tell a client nothing any more.

        Args:
            owner: its unique name.
        """
        self._left.add(owner)
        for path in [path for path, told in self._told.items() if told.listener.owner == owner]:
            del self._told[path]

    def news(self, tree: Tree) -> Iterator[Notice]:
        """Give what listeners do not know yet; it counts as told.

        Args:
            tree: what is true now.
        """
        if self._left:
            self._left &= {thing.listener.owner for thing in tree.objects.values() if thing.listener is not None}
        for path, told in tuple(self._told.items()):
            thing = tree.objects.get(path)
            if thing is not told.thing and (thing is None or thing.listener != told.listener):
                del self._told[path]
                yield Notice(told.listener, RELEASE, [])
        for path, thing in tree.objects.items():
            listener = thing.listener
            if listener is None or path in self._held or listener.owner in self._left:
                continue
            before = self._told.get(path)
            if before is not None and before.thing is thing:
                continue
            values = {row.name: row.get(thing.subject) for row in listener.properties}
            known = before.values if before is not None else {}
            changed = {
                row.name: Variant(row.signature, values[row.name])
                for row in listener.properties
                if row.name not in known or values[row.name] != known[row.name]
            }
            self._told[path] = _Told(listener, thing, values)
            if changed:
                yield Notice(listener, UPDATE, [changed])

    def farewell(self) -> Iterator[Notice]:
        """Release everybody."""
        for told in self._told.values():
            yield Notice(told.listener, RELEASE, [])
        self._told.clear()
