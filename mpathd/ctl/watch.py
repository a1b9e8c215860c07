"""What monitors have in common: the clock, and listening until nobody reads."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Iterator

from .client import Client
from .codec import Message


class Clock:
    """The time of day, as monitors write it."""

    def time(self) -> str:
        """For people: "12:04:31.271"."""
        return self._now("%H:%M:%S", "")

    def stamp(self) -> str:
        """For programs: with date and zone."""
        return self._now("%Y-%m-%dT%H:%M:%S", "%z")

    @staticmethod
    def _now(form: str, zone: str) -> str:
        now = time.time()
        here = time.localtime(now)
        return time.strftime(form, here) + f".{int(now % 1 * 1000):03}" + (time.strftime(zone, here) if zone else "")


def pause(seconds: float) -> bool:
    """Wait; tells at once when nobody reads any more what is written.

    Args:
        seconds: how long.
    """
    waiter = select.poll()
    waiter.register(sys.stdout, 0)
    return not waiter.poll(seconds * 1000)


def messages(client: Client) -> Iterator[Message]:
    """Give signals as they come; ends when nobody reads what is written.

    Args:
        client: it listens.
    """
    waiter = select.poll()
    waiter.register(client.wire, select.POLLIN)
    # No events asked for: poll still says when the reader of a pipe is gone, and `monitor | head -1` ends at once.
    waiter.register(sys.stdout, 0)
    while True:
        yield from client.heard()
        if any(number != client.wire.fileno() for number, _ in waiter.poll()):
            return
