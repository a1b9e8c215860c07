"""What sessions have sent and received."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .path import fit

Count = tuple[int, int]  # packets and bytes


def counter(kind: str, born: int, service: str = "") -> str:
    """Name the kernel's counter of a session. A number and a link's index are used again at once.

    Args:
        kind: "i" what came in, "o" what went out, "d" what was refused or dropped.
        born: of the session.
        service: identifier of the service; empty for what is dropped.
    """
    return f"{kind}_{born}" + (f"_{fit(service)}" if service else "")


def birth(name: str) -> int:
    """Give the birth of the session that a counter belongs to.

    Args:
        name: of the counter.
    """
    return int(name.split("_")[1])


@dataclass(frozen=True, slots=True)
class ServiceCount:
    """What went by one service; bytes are those of IP packets.

    Args:
        service: its identifier.
        interface: of the service, empty if it is gone.
        received, sent: packets and bytes.
    """

    service: str
    interface: str
    received: Count
    sent: Count


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one session has sent and received since it came; never less than before.

    Args:
        services: each that carried something, or may.
        dropped: packets and bytes that were refused, or dropped since they would have left by a wrong link.
    """

    services: tuple[ServiceCount, ...] = ()
    dropped: Count = (0, 0)

    @property
    def received(self) -> Count:
        """By all services."""
        return _sum(service.received for service in self.services)

    @property
    def sent(self) -> Count:
        """By all services."""
        return _sum(service.sent for service in self.services)


def _sum(counts: Iterable[Count]) -> Count:
    packets = octets = 0
    for count in counts:
        packets, octets = packets + count[0], octets + count[1]
    return packets, octets


@dataclass(frozen=True, slots=True)
class Counted:
    """What counters had counted when they went.

    Args:
        before: by name of the counter.
        after: the same once the kernel has a ruleset; a killed mpathd does not know whether it came to that.
        digest: of that ruleset; empty if nothing is under way.
    """

    before: Mapping[str, Count] = field(default_factory=dict)
    after: Mapping[str, Count] = field(default_factory=dict)
    digest: str = ""
