"""What monitors have in common: the clock, and listening until nobody reads."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import TypeVar

from ..codec import Message
from .client import Client
from .errors import Absent, Answered, Usage
from .parse import Order

# Seconds between two readings of --watch: what it is without --interval, and what it may be.
EVERY, SHORTEST, LONGEST = 1.0, 0.1, 3600.0

T = TypeVar("T")


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


def interval(order: Order) -> float:
    """Give the seconds between two readings of --watch.

    Args:
        order: what was typed.

    Raises:
        Usage: they make no sense.
    """
    if not order.has("interval"):
        return EVERY
    word = order.options["interval"][-1]
    if not order.has("watch"):
        name = order.command.name if order.command is not None else ""
        raise Usage(f"{name}: --interval without --watch", "give both, or neither")
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not SHORTEST <= seconds <= LONGEST:  # "nan" is not either
        raise Usage(f"option --interval cannot be '{word}'", f"expected seconds from {SHORTEST:g} to {LONGEST:g}")
    return seconds


def again(client: Client, read: Callable[[], T], ended: Container[str] = ()) -> T | str:
    """Read once more, or give why that cannot be: what is watched, and mpathd, may go and come again.

    Args:
        client: who asks.
        read: asks.
        ended: names of errors that mean that what is watched has gone.
    """
    try:
        return read()
    except Absent:
        client.wire.ask("GetId")  # the bus is still there, or this is an Absent too
        return "mpathd is not there"
    except Answered as error:
        if error.name not in ended:
            raise
        return error.text


def pause(seconds: float) -> bool:
    """Wait; tells at once when nobody reads any more what is written.

    Args:
        seconds: how long.
    """
    waiter = select.poll()
    waiter.register(sys.stdout, 0)
    return not waiter.poll(seconds * 1000)


@contextmanager
def until_interrupted() -> Iterator[None]:
    """Let Ctrl-C be the end of what runs inside, and no trouble."""
    try:
        yield
    except KeyboardInterrupt:
        if sys.stdout.isatty():
            print(flush=True)  # the terminal shows ^C, and the shell's prompt would stand behind it


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
