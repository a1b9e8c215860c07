"""session stats: what sessions have carried, once or again and again."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import stats
from .client import Client, Session
from .errors import Answered
from .parse import Order
from .screen import Screen
from .sessionoptions import pick, text
from .show import json_text, say
from .watch import Clock, again, interval, pause, until_interrupted

# Answers about a session that has ended since it was listed.
ENDED = {"NotFound", "UnknownObject"}


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters of a session at one moment.

    Args:
        session: the session.
        found: what Stats gave.
        counts: the same as rows.
    """

    session: Session
    found: Mapping[str, Any]
    counts: tuple[stats.Count, ...]


def show(order: Order) -> None:
    """Show what sessions have carried.

    Args:
        order: what was typed.
    """
    word = text("NAME", order.words[0]) if order.words else ""
    every = interval(order)
    client = Client.open()
    if order.has("watch"):
        _watch(client, word, every, _Frames() if Screen.there() and not order.has("json") else _Lines(order))
        return
    found = _read(client, word, stats.Rates())
    if order.has("json"):
        records = [stats.record(row.session, row.found) for row in found]
        say(json_text(records[0] if word else records))
    elif found:
        say("\n".join(stats.table(count for row in found for count in row.counts)))


def _read(client: Client, word: str, rates: stats.Rates) -> list[Reading]:
    sessions = client.sessions()
    return list(_each(client, [pick(word, sessions)] if word else sessions, rates, named=bool(word)))


def _each(client: Client, sessions: Iterable[Session], rates: stats.Rates, *, named: bool) -> Iterator[Reading]:
    for session in sessions:
        try:
            found = client.statistics(session.path)
        except Answered as error:
            if error.name in ENDED and not named:
                continue
            raise
        yield Reading(session, found, tuple(stats.counts(session, found, time.monotonic(), rates)))


def _watch(client: Client, word: str, every: float, out: _Frames | _Lines) -> None:
    rates = stats.Rates()
    found: list[Reading] | str = _read(client, word, rates)  # what is wrong at first is told as without --watch
    with until_interrupted():
        while True:
            match found:
                case str():
                    out.nothing(found)
                case _:
                    out.readings(found)
            if not pause(every):
                return
            found = again(client, partial(_read, client, word, rates), ENDED)


class _Frames:
    """Draws the table in place."""

    def __init__(self) -> None:
        self._screen = Screen()

    def readings(self, found: list[Reading]) -> None:
        counts = (count for row in found for count in row.counts)
        self._screen.draw(stats.table(counts, stats.RATED, self._screen.size()[0]))

    def nothing(self, why: str) -> None:
        self._screen.draw([why])


class _Lines:
    """Writes a line for each session and service, or an object for each session."""

    def __init__(self, order: Order) -> None:
        self._clock = Clock()
        self._as_json = order.has("json")
        self._headed = self._as_json
        self._why = ""

    def readings(self, found: list[Reading]) -> None:
        self._why = ""
        if not self._headed:
            print(stats.heading(), flush=True)
            self._headed = True
        stamp, now = self._clock.stamp(), self._clock.time()
        for row in found:
            if self._as_json:
                print(json_text(stats.rated(row.session, row.found, row.counts, stamp), lines=True), flush=True)
            else:
                print("\n".join(stats.line(stats.cells(count), now) for count in row.counts), flush=True)

    def nothing(self, why: str) -> None:
        if why != self._why and not self._as_json:
            print(f"{self._clock.time()}  {why}", flush=True)
        self._why = why
