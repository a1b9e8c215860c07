"""Counts what passes the interfaces of a host, again and again, as the kernel's own counters have it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from . import netns
from .lab import Lab

COUNTERS = Path("/proc/thread-self/net/dev")  # /proc/net is the whole process's, whose namespace is another


@dataclass(frozen=True, slots=True)
class Count:
    """What an interface has carried.

    Args:
        received, sent: bytes, with Ethernet headers.
    """

    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class Sample:
    """All interfaces at one moment.

    Args:
        at: seconds, monotonic.
        counts: by interface name; one that is gone is not there.
    """

    at: float
    counts: Mapping[str, Count]


class Meter:
    """Samples a host's interfaces from entering to leaving, in a thread of its own.

    Args:
        lab: the lab.
        host: the host.
        devices: its interfaces.
        every: seconds between two samples.
    """

    def __init__(self, lab: Lab, host: str, devices: Sequence[str], every: float = 0.05) -> None:
        self._ns, self._devices, self._every = lab.ns(host), frozenset(devices), every
        self._stop, self._first = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"meter in {host}", daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._thread.start()
        self._first.wait(5.0)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(5.0)

    def _work(self) -> None:
        netns.step_in(self._ns)
        due = time.monotonic()
        while True:
            counts = read(COUNTERS.read_text(), self._devices)
            self.samples.append(Sample(time.monotonic(), counts))
            self._first.set()
            due += self._every
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return


def read(text: str, devices: frozenset[str]) -> dict[str, Count]:
    """Reads what /proc/net/dev says.

    Args:
        text: the file.
        devices: interfaces that count.
    """
    found = {}
    for line in text.splitlines()[2:]:
        name, _, numbers = line.partition(":")
        if name.strip() in devices:
            fields = numbers.split()
            found[name.strip()] = Count(int(fields[0]), int(fields[8]))
    return found
