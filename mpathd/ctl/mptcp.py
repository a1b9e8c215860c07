"""mptcp: live connections, once or again and again; and what the kernel tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from . import mptcpwords, news
from .client import LIFE, MPTCP, NAME, Client
from .parse import Order
from .screen import Screen
from .show import json_text, say
from .watch import Clock, again, interval, messages, pause, until_interrupted

# Connections that are asked for: once, and each time that the screen is drawn anew.
WHOLE, WATCHED = 500, 100

# Seconds between the two looks that tell how fast everything is.
APART = 0.5
PATIENCE = 4  # times that it is asked for: where there are very many connections, a look is given out again for a while

# What a monitor of MPTCP hears.
HEARD = (f"type='signal',sender='{NAME}',interface='{MPTCP}'", *LIFE)


def show(order: Order) -> None:
    """Show live connections.

    Args:
        order: what was typed.
    """
    every = interval(order)
    client = Client.open()
    if order.has("watch"):
        drawn = Screen.there() and not order.has("json")
        _watch(client, every, _Frames() if drawn else _Lines(as_json=order.has("json")))
        return
    found = client.connections(WHOLE)
    for _ in range(PATIENCE if found["Connections"] else 0):
        if not pause(APART):
            return
        found = client.connections(WHOLE)
        if found["Seconds"]:
            break
    say(json_text(found) if order.has("json") else "\n".join(mptcpwords.lines(found)))


def _watch(client: Client, every: float, out: _Frames | _Lines) -> None:
    read = partial(client.connections, WATCHED)
    found: Mapping[str, Any] | str = read()  # what is wrong at first is told as without --watch
    with until_interrupted():
        while True:
            match found:
                case str():
                    out.nothing(found)
                case _:
                    out.show(found)
            if not pause(every):
                return
            found = again(client, read)


class _Frames:
    """Draws in place."""

    def __init__(self) -> None:
        self._screen = Screen()

    def show(self, found: Mapping[str, Any]) -> None:
        self._screen.draw(mptcpwords.lines(found, self._screen.size()[0]))

    def nothing(self, why: str) -> None:
        self._screen.draw([why])


class _Lines:
    """Writes all lines of each reading, behind the time; or an object for each.

    Args:
        as_json: objects.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._clock = Clock()
        self._as_json = as_json
        self._why = ""

    def show(self, found: Mapping[str, Any]) -> None:
        self._why = ""
        if self._as_json:
            print(json_text({"Time": self._clock.stamp(), **found}, lines=True), flush=True)
        else:
            now = self._clock.time()
            print("\n".join(f"{now}  {line}" for line in mptcpwords.lines(found)), flush=True)

    def nothing(self, why: str) -> None:
        if why != self._why and not self._as_json:
            print(f"{self._clock.time()}  {why}", flush=True)
        self._why = why


def monitor(order: Order) -> None:
    """Tell what the kernel tells until interrupted, or until nobody reads.

    Args:
        order: what was typed.
    """
    clock, as_json = Clock(), order.has("json")
    with until_interrupted():
        client = Client.open()
        _tell(news.daemon(client.listen(HEARD)), clock, as_json=as_json)
        for message in messages(client):
            for fact in mptcpwords.facts(message):
                _tell(fact, clock, as_json=as_json)


def _tell(fact: news.Fact, clock: Clock, *, as_json: bool) -> None:
    text = json_text(news.record(fact, clock.stamp()), lines=True) if as_json else news.line(fact, clock.time())
    print(text, flush=True)
