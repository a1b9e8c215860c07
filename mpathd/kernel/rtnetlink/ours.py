"""What stays the same object while nothing in it has changed: whoever compares later sees it at once.

Thousands of rules are not hashed anew because one has come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")


class Ours(Generic[T]):
    """The set; it stays the same object while what is in it stays."""

    def __init__(self) -> None:
        self.values: frozenset[T] = frozenset()
        self._count = 0  # of the listing's, in which two may be equal

    def follow(self, gone: list[T], come: list[T], everything: Callable[[], Iterable[T]]) -> bool:
        """Follow a listing, and tell whether the set is another now.

        Args:
            gone: ours that it does not have any more.
            come: ours that it has anew.
            everything: all of ours that it has.
        """
        if not gone and not come:
            return False
        plain = len(self.values) == self._count  # each of them once: what has gone is not there a second time
        self._count += len(come) - len(gone)
        found = self.values
        if plain and gone:
            found = found.difference(gone)
        if plain and come:
            found = found.union(come)
        if not plain or len(found) != self._count:
            found = frozenset(everything())
        if found == self.values:
            return False
        self.values = found
        return True


class Twins(Generic[T]):
    """What was written last: what is read and is equal is given as that very object, since sets find it sooner."""

    def __init__(self) -> None:
        self._written: list[T] = []
        self._known: dict[T, T] = {}

    def put(self, value: T) -> None:
        """Remember a value until `clear`.

        Args:
            value: the value.
        """
        self._written.append(value)

    def clear(self) -> None:
        """Forget them all."""
        if self._written:
            self._written.clear()
        if self._known:
            self._known.clear()

    def find(self, value: T) -> T | None:
        """Give the one that is equal.

        Args:
            value: what was read.
        """
        if self._written:
            self._known.update((one, one) for one in self._written)
            self._written.clear()
        return self._known.get(value) if self._known else None


class Together(Generic[T]):
    """What the families have together; the same object while the parts are.

    Args:
        join: makes it of the parts.
    """

    def __init__(self, join: Callable[[Iterable[T]], T]) -> None:
        self._join = join
        self._parts: tuple[T, ...] = ()
        self._whole: T | None = None

    def of(self, *parts: T) -> T:
        """Give it.

        Args:
            parts: of each family.
        """
        if self._whole is None or any(new is not old for new, old in zip(parts, self._parts, strict=True)):
            self._parts, self._whole = parts, self._join(parts)
        return self._whole


def united(parts: Iterable[frozenset[T]]) -> frozenset[T]:
    """Join sets.

    Args:
        parts: the sets.
    """
    return frozenset[T]().union(*parts)


def chained(parts: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    """Join tuples.

    Args:
        parts: the tuples, in their order.
    """
    return tuple(chain.from_iterable(parts))
