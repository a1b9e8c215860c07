"""What the last pass worked out, kept for as long as what it was made from is the same.

A pass looks at everything, and nearly everything is as it was. What is the same is found by identity first, so values
that come from here make the next comparison cheap: the same inputs give the same object. Nothing is decided here, and
with an empty memory the result is equal.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar, TypeVarTuple

T = TypeVar("T")
In = TypeVarTuple("In")


class Recall:
    """A memory of two passes: what this one did not ask for is forgotten."""

    def __init__(self) -> None:
        self._old: dict[object, tuple[tuple[object, ...], object]] = {}
        self._new: dict[object, tuple[tuple[object, ...], object]] = {}

    def turn(self) -> None:
        """Begin a pass."""
        self._old, self._new = self._new, {}

    def of(self, place: Hashable, make: Callable[[*In], T], *inputs: *In) -> T:
        """Give what is made of inputs, or what was made of equal ones in the last pass.

        Args:
            place: what it is the value of: the same in each pass, and one for each value.
            make: pure.
            inputs: all that the value depends on.
        """
        known = (make, place)
        before = self._old.get(known)
        if before is None or before[0] != inputs:
            before = (inputs, make(*inputs))
        self._new[known] = before
        return before[1]  # type: ignore[return-value]
