"""Turns what a transfer and its meter have logged into rates over time: pure arithmetic."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .meter import Sample
from .stream import Arrival

MEGA = 1e6
TICK = 0.02  # seconds between two windows that are looked at
Cumulative = Callable[[float], float]  # moment to bytes until then


@dataclass(frozen=True, slots=True)
class Point:
    """A rate at a moment.

    Args:
        at: seconds since the start.
        rate: Mbit/s.
    """

    at: float
    rate: float


def arrived(arrivals: Sequence[Arrival]) -> Cumulative:
    """How much a program has got until a moment.

    Args:
        arrivals: in the order of time.
    """
    moments = [arrival.at for arrival in arrivals]
    sums = [0]
    for arrival in arrivals:
        sums.append(sums[-1] + arrival.size)
    return lambda at: float(sums[bisect_left(moments, at)])


def carried(samples: Sequence[Sample], device: str, *, received: bool = False) -> Cumulative:
    """How much an interface has carried until a moment; between two samples the counter rises evenly.

    Args:
        samples: in the order of time.
        device: the interface.
        received: what it received, else what it sent.
    """
    there = [(sample.at, sample.counts[device]) for sample in samples if device in sample.counts]
    moments = [at for at, _ in there]
    values = [count.received if received else count.sent for _, count in there]

    def until(at: float) -> float:
        place = bisect_left(moments, at)
        if place == 0 or place == len(moments):
            return float(values[min(place, len(values) - 1)]) if values else 0.0
        share = (at - moments[place - 1]) / (moments[place] - moments[place - 1])
        return values[place - 1] + share * (values[place] - values[place - 1])

    return until


def mean(total: Cumulative, since: float, until: float) -> float:
    """The rate between two moments, in Mbit/s.

    Args:
        total: what counts.
        since: monotonic seconds.
        until: likewise.
    """
    return (total(until) - total(since)) * 8 / MEGA / (until - since) if until > since else 0.0


def rates(total: Cumulative, start: float, end: float, step: float) -> tuple[Point, ...]:
    """The rate over time: one point in the middle of each step.

    Args:
        total: what counts.
        start: the moment that becomes 0.
        end: nothing behind it counts.
        step: seconds.
    """
    count = max(0, int((end - start) / step + 1e-9))
    edges = [start + number * step for number in range(count + 1)]
    return tuple(Point((a + b) / 2 - start, mean(total, a, b)) for a, b in pairwise(edges))


def silence(arrivals: Sequence[Arrival], since: float, until: float) -> float:
    """The longest time without data that began or ended between two moments, in seconds.

    Args:
        arrivals: in the order of time.
        since: monotonic seconds.
        until: likewise.
    """
    moments = [arrival.at for arrival in arrivals]
    first = max(0, bisect_left(moments, since) - 1)
    last = bisect_left(moments, until)
    over = last == len(moments)  # nothing came any more
    near = [*moments[first:last], until] if over else moments[first : last + 1]
    return max((b - a for a, b in pairwise(near)), default=until - since)


def recovery(total: Cumulative, since: float, until: float, rate: float, window: float = 0.2) -> float:
    """How long after a moment a rate is reached again, in seconds; what is left of the time if it is not.

    Args:
        total: what counts.
        since: monotonic seconds; the window begins there at the earliest.
        until: likewise; it ends there at the latest.
        rate: Mbit/s, held over the window.
        window: seconds.
    """
    steps = int((until - since - window) / TICK)
    found = (step * TICK for step in range(1, steps + 1)
             if mean(total, since + step * TICK, since + step * TICK + window) >= rate)  # fmt: skip
    # Data under way arrives for a moment after the event: what counts is the time after the rate has gone.
    gone = next((s * TICK for s in range(1, steps + 1)
                 if mean(total, since + s * TICK, since + s * TICK + window) < rate), None)  # fmt: skip
    if gone is None:
        return 0.0
    return next((moment for moment in found if moment > gone), until - since)
