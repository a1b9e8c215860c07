"""What must last over a restart, but not over a boot: numbers of sessions, what was counted, what is ours of MPTCP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from . import disk
from .model.mptcp import Kept, Limits
from .model.statistics import Count, Counted
from .model.words import Address

Numbers = Mapping[str, tuple[int, int]]
# What reading a file raises that is not what we have written: numbers too large, lists too deep, no text, no numbers.
UNFIT = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


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
            except UNFIT:
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
        told = {"before": dict(counted.before), "after": dict(counted.after), "digest": counted.digest}
        try:
            disk.put(self._path, json.dumps({"numbers": dict(numbers), "counted": told}) + "\n")
        except OSError:
            return  # numbers are then given anew at the next start; nothing in the kernel is lost by it
        self._last = dict(numbers), counted


def _counts(told: Mapping[str, tuple[int, int]]) -> dict[str, Count]:
    return {str(name): (int(packets), int(octets)) for name, (packets, octets) in told.items()}


class Bonds:
    """The file mptcp.json in the runtime folder: which endpoints are ours, and which limits were there before us.

    Args:
        folder: made when there is something to keep.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "mptcp.json"

    def load(self) -> Kept | None:
        """Give what was kept, None if nothing was, or if it cannot be read."""
        try:
            data = json.loads(self._path.read_text())
            mine = frozenset((int(number), Address(str(address))) for number, address in data["mine"])
            before, raised = data["before"], data["raised"]
            learned = int(data["room"]), int(data["ceiling"])
            return Kept(mine, None if before is None else _limits(before), _limits(raised), *learned)
        except UNFIT:
            return None

    def save(self, kept: Kept) -> None:
        """Replace it, whole or not at all.

        Args:
            kept: what is kept.
        """
        limits = {
            "before": None if kept.before is None else [kept.before.subflows, kept.before.accepted],
            "raised": [kept.raised.subflows, kept.raised.accepted],
            "room": kept.room,
            "ceiling": kept.ceiling,
        }
        try:
            disk.put(self._path, json.dumps({"mine": sorted(kept.mine), **limits}) + "\n")
        except OSError:
            return  # the next start then goes by what endpoints look like, and leaves the limits


def _limits(told: tuple[int, int]) -> Limits:
    subflows, accepted = told
    return Limits(int(subflows), int(accepted))
