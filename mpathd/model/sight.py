"""What is seen of MPTCP: live connections at one moment, events in words, and who looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from .connections import ConnectionView, Owner, Speed, SubflowView
from .mptcp import Event
from .view import Finding

USUAL, MOST = 100, 500  # connections of one look: where no number is asked for, and at most


@dataclass(frozen=True, slots=True)
class Age:
    """How long something has been there; the kernel does not tell, mpathd remembers it from the kernel's events.

    Args:
        seconds: since it was established.
        least: it is older, since it was there before mpathd listened.
    """

    seconds: float
    least: bool = False


@dataclass(frozen=True, slots=True)
class SubflowSeen:
    """A subflow with what the kernel does not tell.

    Args:
        view: the subflow and its uplink.
        age: of the subflow.
        speed: None where there is nothing to compare with.
    """

    view: SubflowView
    age: Age
    speed: Speed | None = None


@dataclass(frozen=True, slots=True)
class ConnectionSeen:
    """A connection with what the kernel does not tell.

    Args:
        view: the connection and its uplink.
        session: name of the session that its mark tells, empty for none.
        owners: processes that have its socket.
        subflows: in the order of the view.
        speed: None where there is nothing to compare with.
    """

    view: ConnectionView
    session: str
    owners: tuple[Owner, ...]
    subflows: tuple[SubflowSeen, ...]
    speed: Speed | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """Live connections at one moment.

    Args:
        connections: those that have carried most, by far end.
        total: how many there are.
        seconds: time that speeds are over, 0 for none.
    """

    connections: tuple[ConnectionSeen, ...] = ()
    total: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class EventSeen:
    """Something that the kernel told of connections.

    Args:
        event: what; None: it had more to tell than could be heard.
        words: the same for people.
        interface: the name of the link that it names, empty for none.
    """

    event: Event | None
    words: str
    interface: str = ""


class Seeing(Protocol):
    """Who looks at connections."""

    @property
    def backend(self) -> str:
        """By what links are given to MPTCP: "upstream", "multipath-tcp.org" or "none"."""

    @property
    def missing(self) -> str:
        """Why MPTCP cannot be used at this moment, empty if it can."""

    def counters(self) -> Mapping[str, int]:
        """Give what the kernel counts of MPTCP, by its own names."""

    def findings(self) -> tuple[Finding, ...]:
        """Give the troubles that the kernel's counters tell of."""

    async def look(self, most: int = USUAL) -> Sight:
        """Read the connections that are alive.

        Args:
            most: connections that are wanted, at most MOST.
        """


class Blind:
    """Sees nothing: before mpathd serves, and where it does not."""

    backend = "none"
    missing = "nobody looks at MPTCP here"

    def counters(self) -> Mapping[str, int]:
        """None."""
        return {}

    def findings(self) -> tuple[Finding, ...]:
        """None."""
        return ()

    async def look(self, most: int = USUAL) -> Sight:  # noqa: ARG002  the Protocol's
        """See nothing."""
        return Sight()
