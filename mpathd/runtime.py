"""What must last over a restart, but not over a boot: numbers of sessions, and what was counted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .model.statistics import Count, Counted

Numbers = Mapping[str, tuple[int, int]]


class Runtime:
    """The file sessions.json in the runtime folder.

    Args:
        folder: made when there is something to keep.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "sessions.json"
        self._last: tuple[Numbers, Counted] | None = None

    def _load(self) -> tuple[Numbers, Counted]:
        if self._last is None:
            try:
                data = json.loads(self._path.read_text())
                numbers = {str(name): (int(number), int(born)) for name, (number, born) in data["numbers"].items()}
                told = data.get("counted", {})
                before, after = _counts(told.get("before", {})), _counts(told.get("after", {}))
                self._last = numbers, Counted(before, after, str(told.get("digest", "")))
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                self._last = {}, Counted()
        return self._last

    def numbers(self) -> Numbers:
        """Give name to number and birth of the sessions that were here."""
        return self._load()[0]

    def counted(self) -> Counted:
        """Give what counters had counted that are gone."""
        return self._load()[1]

    def keep(self, numbers: Numbers) -> None:
        """Replace the numbers that are kept, whole or not at all. Called before the kernel gets to know them.

        Args:
            numbers: name to number and birth.
        """
        self._save(numbers, self._load()[1])

    def count(self, counted: Counted) -> None:
        """Replace what was counted.

        Args:
            counted: by counters that are gone.
        """
        self._save(self._load()[0], counted)

    def _save(self, numbers: Numbers, counted: Counted) -> None:
        if (numbers, counted) == self._last:
            return
        fresh = self._path.with_suffix(".json.new")
        told = {"before": dict(counted.before), "after": dict(counted.after), "digest": counted.digest}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps({"numbers": dict(numbers), "counted": told}) + "\n")
            fresh.replace(self._path)
        except OSError:
            return  # numbers are then given anew at the next start; nothing in the kernel is lost by it
        self._last = dict(numbers), counted


def _counts(told: Mapping[str, tuple[int, int]]) -> dict[str, Count]:
    return {str(name): (int(packets), int(octets)) for name, (packets, octets) in told.items()}
