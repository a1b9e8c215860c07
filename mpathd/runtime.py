"""What must last over a restart, but not over a boot: numbers of sessions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


class Runtime:
    """The file sessions.json in the runtime folder.

    Args:
        folder: made when there is something to keep.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "sessions.json"
        self._last: Mapping[str, tuple[int, int]] | None = None

    def numbers(self) -> Mapping[str, tuple[int, int]]:
        """Give name to number and birth of the sessions that were here."""
        if self._last is None:
            try:
                data = json.loads(self._path.read_text())
                self._last = {str(name): (int(number), int(born)) for name, (number, born) in data["numbers"].items()}
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                self._last = {}
        return self._last

    def keep(self, numbers: Mapping[str, tuple[int, int]]) -> None:
        """Replace what is kept, whole or not at all. Called before the kernel gets to know the numbers.

        Args:
            numbers: name to number and birth.
        """
        if numbers == self._last:
            return
        fresh = self._path.with_suffix(".json.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(json.dumps({"numbers": dict(numbers)}) + "\n")
            fresh.replace(self._path)
        except OSError:
            return  # numbers are then given anew at the next start; nothing in the kernel is lost by it
        self._last = dict(numbers)
