"""What must last over a restart, but not over a boot: clients' sessions, numbers, what was counted, MPTCP's endpoints.

One file holds it all: sessions.json in the runtime folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .disk import UNFIT, Parts
from .model.mptcp import Kept, Limits
from .model.statistics import Count, Counted
from .model.words import Address

Numbers = Mapping[str, tuple[int, int]]


def lasting(folder: Path) -> Parts:
    """Give the file.

    Args:
        folder: made when there is something to keep.
    """
    return Parts(folder / "sessions.json", {part: folder / f"{part}.json" for part in ("clients", "mptcp")})


class Runtime:
    """Numbers of sessions, and what was counted.

    Args:
        file: where they are kept.
    """

    def __init__(self, file: Parts) -> None:
        self._file = file
        self._last: tuple[Numbers, Counted] | None = None

    def _load(self) -> tuple[Numbers, Counted]:
        if self._last is None:
            try:
                kept = json.loads(self._file.text("numbers") or "{}")
                numbers = {str(name): (int(number), int(born)) for name, (number, born) in kept.items()}
                told = json.loads(self._file.text("counted") or "{}")
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
        fresh = dict(numbers)
        self._save("numbers", fresh, (fresh, self._load()[1]))

    def count(self, counted: Counted) -> None:
        """Replace what was counted.

        Args:
            counted: by counters that are gone.
        """
        told = {"before": dict(counted.before), "after": dict(counted.after), "digest": counted.digest}
        self._save("counted", told, (self._load()[0], counted))

    def _save(self, part: str, value: object, kept: tuple[Numbers, Counted]) -> None:
        if kept == self._load():
            return
        try:
            self._file.put(part, json.dumps(value))
        except OSError:
            return  # numbers are then given anew at the next start; nothing in the kernel is lost by it
        self._last = kept


def _counts(told: Mapping[str, tuple[int, int]]) -> dict[str, Count]:
    return {str(name): (int(packets), int(octets)) for name, (packets, octets) in told.items()}


class Bonds:
    """Which endpoints are ours, and which limits were there before us.

    Args:
        file: where that is kept.
    """

    def __init__(self, file: Parts) -> None:
        self._file = file

    def load(self) -> Kept | None:
        """Give what was kept, None if nothing was, or if it cannot be read."""
        try:
            if (text := self._file.text("mptcp")) is None:
                return None
            data = json.loads(text)
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
            self._file.put("mptcp", json.dumps({"mine": sorted(kept.mine), **limits}))
        except OSError:
            return  # the next start then goes by what endpoints look like, and leaves the limits


def _limits(told: tuple[int, int]) -> Limits:
    subflows, accepted = told
    return Limits(int(subflows), int(accepted))
