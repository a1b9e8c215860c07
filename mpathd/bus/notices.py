"""Tells listeners of their objects: everything first, then what changed, and Release when it ends without them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mpathd.codec import Variant

from .table import Arg, Listener, Signal, Tree

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


class Notices:
    """What the listeners on one connection know."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[Listener, dict[str, Any]]] = {}
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
        for path in [path for path, (listener, _) in self._told.items() if listener.owner == owner]:
            del self._told[path]

    def news(self, tree: Tree) -> Iterator[Notice]:
        """Give what listeners do not know yet; it counts as told.

        Args:
            tree: what is true now.
        """
        listeners = {path: thing.listener for path, thing in tree.objects.items() if thing.listener is not None}
        self._left &= {listener.owner for listener in listeners.values()}
        for path, (listener, _) in tuple(self._told.items()):
            if listeners.get(path) != listener:
                del self._told[path]
                yield Notice(listener, RELEASE, [])
        for path, listener in listeners.items():
            if path in self._held or listener.owner in self._left:
                continue
            subject = tree.objects[path].subject
            values = {row.name: row.get(subject) for row in listener.properties}
            before = self._told[path][1] if path in self._told else {}
            changed = {  # a Variant checks its value, which takes long for 10,000 selectors
                row.name: Variant(row.signature, values[row.name])
                for row in listener.properties
                if row.name not in before or values[row.name] != before[row.name]
            }
            self._told[path] = (listener, values)
            if changed:
                yield Notice(listener, UPDATE, [changed])

    def farewell(self) -> Iterator[Notice]:
        """Release everybody."""
        for listener, _ in self._told.values():
            yield Notice(listener, RELEASE, [])
        self._told.clear()
