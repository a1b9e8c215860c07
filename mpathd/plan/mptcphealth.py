"""What the kernel's counters tell of the far side, and of what is in between: troubles of MPTCP that no event names.

What grew before mpathd began does not count. A trouble goes when its counters have not grown for a while, and is
counted from the beginning if it comes again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ..model.view import Finding
from ..model.words import Severity

FADE = 600.0  # seconds without growth after which a trouble is over: `status` is asked by people, not all the time

LIMITS = "ip mptcp limits set subflows 8"


@dataclass(frozen=True, slots=True)
class Health:
    """What is remembered of counters, by their names.

    Args:
        base: from where growth is counted.
        last: as they were read last.
        grew: when they were seen to have grown last; one that has not, or long ago, is missing.
    """

    base: Mapping[str, int]
    last: Mapping[str, int]
    grew: Mapping[str, float] = field(default_factory=dict)

    def grown(self, *names: str) -> int:
        """Tell how much counters have grown, all together.

        Args:
            names: of the counters; those that this kernel has not are 0.
        """
        return sum(max(0, self.last[name] - self.base[name]) for name in names if name in self.grew)


def begun(counters: Mapping[str, int]) -> Health:
    """Begin to watch.

    Args:
        counters: as they are.
    """
    return Health(counters, counters)


def watched(health: Health, counters: Mapping[str, int], now: float) -> Health:
    """Remember what has grown.

    Args:
        health: what was known.
        counters: as they are.
        now: seconds of a clock that never goes back.
    """
    grew = {name: at for name, at in health.grew.items() if now - at < FADE and name in counters}
    base = {name: (health.base if name in grew else health.last).get(name, value) for name, value in counters.items()}
    grew |= {name: now for name, value in counters.items() if value > health.last.get(name, value)}
    return Health(base, counters, grew)


def findings(health: Health) -> tuple[Finding, ...]:
    """Give the troubles.

    Args:
        health: what is known.
    """
    return tuple(finding for check in CHECKS for finding in check(health))


def _changed(health: Health) -> Iterator[Finding]:
    """Each end counts what it tells the other, and what it is told, of one and the same fault."""
    broken = health.grown("DataCsumErr", "DSSCorruptionFallback", "DSSCorruptionReset")
    if count := max(broken, health.grown("MPFailTx"), health.grown("MPFailRx")):
        yield Finding(
            "mptcp-changed",
            Severity.MEDIUM,
            f"{times(count)} MPTCP data was changed on its way: by a proxy, or a router that looks into connections",
            "switch that off there (application level gateway, transparent proxy), or go by a VPN or another port",
        )


def _dropped(health: Health) -> Iterator[Finding]:
    if count := health.grown("MPCapableSYNTXDrop"):
        rest = "; plain TCP is used for a while" if health.grown("Blackhole", "MPCapableSYNTXDisabled") else ""
        yield Finding(
            "mptcp-dropped",
            Severity.MEDIUM,
            f"{times(count)} a connection began only without MPTCP's option: something drops packets with it{rest}",
            "look for the firewall, perhaps at the far side; then write sysctl net.mptcp.blackhole_timeout, as it is: "
            "MPTCP is tried again at once",
        )


def _stripped(health: Health) -> Iterator[Finding]:
    # A connection that falls back for changed data counts as one without its options too.
    bare = max(0, health.grown("DssFallback") - health.grown("MPFailRx"))
    if count := health.grown("MPCapableFallbackACK", "MPCapableDataFallback") + bare:
        yield Finding(
            "mptcp-stripped",
            Severity.MEDIUM,
            f"{times(count)} MPTCP's option vanished once a connection had begun with it: something in between takes "
            "it out",
            "look for the firewall or proxy that rewrites TCP, or go by a VPN",
        )


def _fallback(health: Health) -> Iterator[Finding]:
    if count := health.grown("MPCapableFallbackSYNACK"):
        asked = max(count, health.grown("MPCapableSYNTX"))
        yield Finding(
            "mptcp-fallback",
            Severity.LOW,
            f"{count} of {asked} connections fell back to TCP: the far side does not speak MPTCP, or its option was "
            "taken out on the way",
            "mpathctl mptcp names them; over there: sysctl -w net.mptcp.enabled=1, and a server that listens with "
            "MPTCP (mptcpize run)",
        )


def _refused(health: Health) -> Iterator[Finding]:
    """Seen from the end that opens subflows: they are there, and reset at once. A connection that is closed hard is
    reset too, and is told apart by its own counter.
    """
    cut = health.grown("MPRstTx") - health.grown("MPFastcloseTx")
    tried, heard = health.grown("MPJoinSynTx"), health.grown("MPJoinSynAckRx")
    if cut > 0 and tried and not health.grown("MPFailTx"):
        doubt = ", or MPTCP's option is taken out on their way" if heard < tried else ""
        yield Finding(
            "mptcp-refused",
            Severity.MEDIUM,
            f"{min(cut, tried)} of {tried} further subflows were cut off at once: the far side allows no more of "
            f"them{doubt}",
            f"over there: {LIMITS}; mpathctl mptcp monitor shows which ones",
        )


def _full(health: Health) -> Iterator[Finding]:
    if count := health.grown("MPJoinRejected"):
        yield Finding(
            "mptcp-full",
            Severity.MEDIUM,
            f"{times(count)} a further subflow of a client was refused here: its connection has as many as the limits "
            "allow",
            LIMITS,
        )


def _astray(health: Health) -> Iterator[Finding]:
    if count := health.grown("MPJoinNoTokenFound", "MPJoinSynAckHMacFailure", "MPJoinAckHMacFailure"):
        yield Finding(
            "mptcp-astray",
            Severity.LOW,
            f"{times(count)} a further subflow met an end that does not know its connection: one that has just ended, "
            "or another server",
            "let the load balancer send all subflows of a connection to one server (it knows them by MPTCP's token)",
        )


CHECKS: tuple[Callable[[Health], Iterator[Finding]], ...] = (
    _changed,
    _dropped,
    _stripped,
    _refused,
    _full,
    _fallback,
    _astray,
)


def times(count: int) -> str:
    """Say how often.

    Args:
        count: the number.
    """
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
