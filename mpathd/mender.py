"""Brings back subflows that the kernel has closed and does not open again.

An endpoint is tried once for each live connection; a subflow that is reset, or times out, is gone for good, also when
its link works again (seen on 6.18). Delete and add of the endpoint makes the kernel try anew, and closes whatever uses
it: so that is done only where nothing does, with growing pauses, and it is looked right before, in the same thread.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

import structlog

from .endpoints import Endpoints
from .model.connections import Connection, Subflow
from .model.mptcp import Endpoint, Event, Kind
from .model.numbers import Numbers
from .model.words import Address
from .plan.connections import connections, forgetting, mendable, missed
from .plan.whose import Forbids

log = structlog.get_logger("mpathd")

FIRST, LONGEST = 0.5, 60.0  # seconds between two tries of an endpoint, doubling


class Ear(Protocol):
    """What the kernel tells of connections."""

    def fileno(self) -> int:
        """The descriptor to wait on."""

    def drain(self, lost: Callable[[], None]) -> tuple[Event, ...]:
        """Take what has arrived."""

    def close(self) -> None:
        """Stop listening."""


class Eye(Protocol):
    """Which connections there are."""

    def connections(self) -> tuple[Connection, ...]:
        """Read the connections that are alive."""

    def subflows(self) -> tuple[Subflow, ...]:
        """Read the subflows that are alive."""

    def close(self) -> None:
        """Give it back."""


class Mender:
    """Watches over the subflows of our endpoints, as long as there are any.

    Args:
        endpoints: keeps them.
        numbers: gives those in force.
        hear: opens an ear.
        see: opens an eye.
        loop: waits and calls.
        forbids: gives what tells of subflows that a session keeps from a connection.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        numbers: Callable[[], Numbers],
        hear: Callable[[], Ear],
        see: Callable[[], Eye],
        loop: AbstractEventLoop,
        forbids: Callable[[], Forbids],
    ) -> None:
        self._endpoints, self._numbers, self._hear, self._see, self._loop = endpoints, numbers, hear, see, loop
        self._forbids = forbids
        self._ear: Ear | None = None
        self._due: dict[Address, TimerHandle] = {}
        self._gap: dict[Address, float] = {}
        self._losses = 0  # that were heard of
        self._whole: set[Address] = set()  # endpoints that no connection missed when it was last looked

    def listen(self, wanted: bool) -> None:
        """Listen, or stop.

        Args:
            wanted: there are endpoints of ours.
        """
        if wanted and self._ear is None:
            self._ear = self._hear()
            self._loop.add_reader(self._ear.fileno(), self._heard)
        elif not wanted and self._ear is not None:
            self._loop.remove_reader(self._ear.fileno())
            self._ear.close()
            self._ear = None

    def _heard(self) -> None:
        assert self._ear is not None
        ours = {endpoint.address for endpoint in self._endpoints.ours}
        for event in self._ear.drain(lambda: self._ask(ours)):
            if event.kind is Kind.SUB_CLOSED and event.error and event.source in ours:
                self._losses += 1
                self._ask((event.source,))

    def _ask(self, addresses: Iterable[Address]) -> None:
        """Try endpoints a while from now, each time a longer one; what was well in between is a new matter."""
        for address in addresses:
            if address in self._whole:
                self._forget(address)
            if address not in self._due:
                self._gap[address] = gap = min(LONGEST, self._gap.get(address, FIRST / 2) * 2)
                self._due[address] = self._loop.call_later(gap, self._try, address)

    def _try(self, address: Address) -> None:
        del self._due[address]
        endpoint = next((one for one in self._endpoints.ours if one.address == address), None)
        if endpoint is None or address in self._whole:
            self._forget(address)
            return
        self._ask((address,))  # what came of it; first, since the thread may find at once that it is well
        self._endpoints.renew(endpoint, self._numbers(), partial(self._pause, endpoint))

    def _forget(self, address: Address) -> None:
        self._whole.discard(address)
        self._gap.pop(address, None)
        if (handle := self._due.pop(address, None)) is not None:
            handle.cancel()

    def _pause(self, endpoint: Endpoint) -> float | None:
        """Look, in the thread that then deletes and adds, and give the seconds in between; None: leave it."""
        eye, losses = self._see(), self._losses
        try:
            views = connections(eye.connections(), eye.subflows(), (), {})
        except OSError as error:  # it is tried again later
            log.warning("connections cannot be read", error=str(error))
            return None
        finally:
            eye.close()
        forbids = self._forbids()
        if not missed(views, endpoint, forbids) and losses == self._losses:  # else it may be lost since it was read
            self._whole.add(endpoint.address)
        if not mendable(views, (endpoint,), forbids):
            log.debug("subflows are left alone", endpoint=str(endpoint))
            return None
        log.info("subflows are tried anew", endpoint=str(endpoint))
        return forgetting(views, endpoint)
