"""Where events are played and answers are heard, the same for mpathd and for everything beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

from labkit import Lab, LabError

from .driver import Driver
from .ear import DELADDR, NEWADDR, NEWLINK, Ear, News

QUIET, LIMIT = 0.04, 5.0  # seconds without news that are rest; seconds until an event counts as never answered


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens to an uplink.

    Args:
        kind: as the table calls it.
        line: what stands after `ip`.
        far: it happens at the far end.
        running: the uplink's carrier that it ends with; None: no link event is waited for.
    """

    kind: str
    line: str
    far: bool = False
    running: bool | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """How an event was answered.

    Args:
        event: what happened.
        took: milliseconds from its arrival to the last write; None: nothing was written.
        first: milliseconds from its arrival to the first write.
        writes: how many objects the agent wrote.
        right: everything was in place then.
        began: when it arrived, in nanoseconds of the monotonic clock.
        news: all that was heard.
    """

    event: Event
    took: float | None
    first: float | None
    writes: int
    right: bool
    began: int = 0
    news: tuple[News, ...] = field(default=(), repr=False)


def latency(world: Sequence[News], written: Sequence[News], which: int = -1) -> float | None:
    """Milliseconds from the event's first news to a write of the agent; None: it wrote nothing.

    Args:
        world: what the kernel said about the event.
        written: what the agent wrote.
        which: of the writes; the last one unless told.
    """
    return (written[which].time - world[0].time) / 1e6 if world and written else None


class Stage:
    """A lab's client, heard, and moved from both ends.

    Args:
        lab: the lab.
        quiet: seconds without news that are rest.
        limit: seconds until an event counts as never answered.
        hidden: the agent's writes cannot be told from the kernel's own: all news but the link's are its.
        nft: what it writes to nftables counts too.
        acts: lets an event happen by the agent itself, or leaves it to `ip` and gives False.
    """

    def __init__(
        self,
        lab: Lab,
        quiet: float = QUIET,
        limit: float = LIMIT,
        *,
        hidden: bool = False,
        nft: bool = False,
        acts: Callable[[Event], bool] = lambda _event: False,
    ) -> None:
        self._quiet, self._limit, self._hidden, self._acts = quiet, limit, hidden, acts
        self._indexes = {end.dev: lab.index("client", end.dev) for end in lab.topology.ends("client")}
        self.ear = Ear(lab.ns("client"), nft=nft)
        self._client = Driver(lab.ns("client"))
        self._far = Driver(lab.ns("net"))

    def __enter__(self) -> Self:
        self.ear.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._client.__exit__()
        self._far.__exit__()
        self.ear.__exit__()

    def play(self, event: Event, dev: str, right: Callable[[], bool]) -> Answer:
        """Let one event happen and wait until all is at rest and right.

        Args:
            event: what happens.
            dev: the uplink.
            right: whether everything is in place.

        Raises:
            LabError: the event did not happen.
        """
        mark = self.ear.mark()
        own = self._acts(event)
        if not own:
            (self._far if event.far else self._client).do(event.line)
        index = self._indexes[dev]

        def seen(news: list[News]) -> bool:
            if event.running is None:
                return bool(news)
            links = [one for one in news if one.kind == NEWLINK and one.index == index]
            return bool(links) and links[-1].running is event.running

        if not self.ear.until(mark, seen, LIMIT) or self._client.said() or self._far.said():
            raise LabError(f"the event did not happen: {event.line}", self._client.said() + self._far.said())
        self.ear.rest(mark, self._quiet, self._limit)
        deadline = time.monotonic() + self._limit
        while not (good := right()) and time.monotonic() < deadline:
            time.sleep(0.01)
            self.ear.rest(mark, self._quiet, self._limit)
        news = self.ear.since(mark)
        world = [one for one in news if one.port in {0, self._client.port}]
        if own:  # from its own change of an address, whatever it does before
            by = [one for one in news if one.port]
            at = next((at for at, one in enumerate(by) if one.kind in {NEWADDR, DELADDR}), len(by))
            world, written = by[at : at + 1], by[at + 1 :]
        elif self._hidden:
            written = [one for one in news if one.kind != NEWLINK]
        else:
            written = [one for one in news if one.port not in {0, self._client.port}]
        began = world[0].time if world else 0
        took, first = latency(world, written), latency(world, written, 0)
        return Answer(event, took, first, len(written), good, began, tuple(news))
