"""The eye on MPTCP: live connections, read in a thread when somebody asks; events as they come; counters.

What costs is bounded: one dump of each list, in which only the busiest connections are kept; a look serves all who ask
for a while that grows with its duration; events are told at a pace, and wait meanwhile in the kernel's buffer.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic

from .kernel.mptcp import Diag, Events, counters, owners, probe
from .model.connections import Connection, Subflow
from .model.mptcp import Event
from .model.sight import MOST, USUAL, EventSeen, Sight
from .model.view import Finding, View
from .plan import mptcphealth
from .plan.ages import Ages
from .plan.sight import Found, sight

FRESH = 0.1  # seconds that a look serves at least
SHARE = 3  # times its own duration that it serves: a quarter of the time goes into looks, however many ask
APART = 0.15  # seconds that speeds are over at least
RATE = 500  # events that are told in a second, and at once
PAUSE = 0.05  # seconds until the kernel is asked again for events that had to wait
LOST = "events were lost: there were more than could be told"


class Eye:
    """Looks at the MPTCP of this network namespace.

    Args:
        known: gives services and sessions, and the bits of a mark that are ours.
        tell: is given events as they come.
    """

    def __init__(self, known: Callable[[], tuple[View, int]], tell: Callable[[tuple[EventSeen, ...]], None]) -> None:
        self._known, self._tell = known, tell
        self._diag: Diag | None = None
        self._events = Events()
        self._ages = Ages(monotonic())
        self._health = mptcphealth.begun(counters())
        self._turn = asyncio.Lock()
        self._looks: deque[tuple[float, dict[int, Connection | Subflow]]] = deque(maxlen=2)
        self._last: tuple[float, int, Sight] | None = None
        self._cost = 0.0
        self._allowed, self._refilled = float(RATE), monotonic()

    def close(self) -> None:
        """Give the sockets back."""
        self._events.close()
        if self._diag is not None:
            self._diag.close()

    @property
    def backend(self) -> str:
        """By what links are given to MPTCP."""
        return str(probe().backend)

    @property
    def missing(self) -> str:
        """Why MPTCP cannot be used at this moment, empty if it can."""
        return probe().missing

    def counters(self) -> Mapping[str, int]:
        """Give what the kernel counts of MPTCP."""
        return counters()

    def findings(self) -> tuple[Finding, ...]:
        """Read the counters, and give the troubles that they tell of."""
        self._health = mptcphealth.watched(self._health, counters(), monotonic())
        return mptcphealth.findings(self._health)

    # Connections.

    async def look(self, most: int = USUAL) -> Sight:
        """Read the connections that are alive; whoever asks while, or just after, this is done gets the same.

        Args:
            most: connections that are wanted, at most MOST.
        """
        most = min(most, MOST)
        async with self._turn:
            if self._last is not None:
                at, enough, last = self._last
                if monotonic() - at < max(FRESH, SHARE * self._cost) and enough == most:
                    return last
            began = monotonic()
            found = await asyncio.to_thread(self._read, most)
            now = monotonic()
            ages = {one.cookie: self._ages.age(one, now) for one in found.subflows}
            since, before = self._before(now)
            view, mask = self._known()
            seen = sight(found, view, mask, ages, before.values(), now - since if before else 0.0)
            if not self._looks or now - self._looks[-1][0] >= APART:
                self._looks.append((now, {one.cookie: one for one in found.sockets}))
            self._cost = now - began
            self._last = (now, most, seen)
            return seen

    def _before(self, now: float) -> tuple[float, Mapping[int, Connection | Subflow]]:
        """The last look that is long enough ago for speeds."""
        return next((look for look in reversed(self._looks) if now - look[0] >= APART), (now, {}))

    def _read(self, most: int) -> Found:
        """Read the kernel; in a thread."""
        if self._diag is None:
            try:
                self._diag = Diag()
            except OSError:  # a kernel that cannot list sockets (CONFIG_INET_DIAG)
                return Found()
        connections, total = self._diag.busiest(most)
        if not connections:
            return Found()
        subflows = self._diag.subflows({one.token for one in connections})
        names = dict(socket.if_nameindex())
        return Found(connections, total, subflows, owners(one.inode for one in connections), names)

    # Events.

    def attend(self) -> None:
        """Listen from now on, in the running loop."""
        if self._events.heard:
            asyncio.get_running_loop().add_reader(self._events.fileno(), self._heard)

    def _heard(self) -> None:
        now = monotonic()
        self._allowed = min(float(RATE), self._allowed + (now - self._refilled) * RATE)
        self._refilled = now
        lost: list[Event | None] = []
        told = self._events.drain(lambda: lost.append(None), int(self._allowed))
        self._allowed -= len(told)
        if lost:
            self._ages.lost(now)
        for event in told:
            self._ages.heard(event, now)
        if told or lost:
            self._tell((*(EventSeen(None, LOST) for _ in lost[:1]), *map(_seen, told)))
        if self._allowed < 1:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._events.fileno())
            loop.call_later(PAUSE, self._again)

    def _again(self) -> None:
        with suppress(ValueError):  # it is closed
            self.attend()


def _seen(event: Event) -> EventSeen:
    name = ""
    if event.index:
        with suppress(OSError):  # it has gone
            name = socket.if_indextoname(event.index)
    return EventSeen(event, event.words({event.index: name} if name else {}), name)
