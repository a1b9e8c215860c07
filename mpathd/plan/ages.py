"""How old subflows are: the kernel does not tell, its events do."""

from __future__ import annotations

from ..model.connections import Subflow
from ..model.mptcp import Event, Kind
from ..model.sight import Age

CONNECTIONS = 10_000  # that are remembered, and as many subflows that end: some 4 MB

BEGUN = {Kind.CREATED, Kind.ESTABLISHED, Kind.SUB_ESTABLISHED}


class Ages:
    """Remembers when subflows were established.

    Args:
        since: from when on events are heard, seconds of a clock that never goes back.
        most: connections that are remembered, and subflows that end.
    """

    def __init__(self, since: float, most: int = CONNECTIONS) -> None:
        self._since, self._most = since, most
        self._born: dict[int, dict[int, float]] = {}  # token, and the hash of both ends, to the time
        # A subflow that is told as closed is listed until its last packets are acknowledged.
        self._ending: dict[tuple[int, int], float] = {}

    def heard(self, event: Event, now: float) -> None:
        """Take an event.

        Args:
            event: what the kernel told.
            now: when.
        """
        if event.kind in BEGUN:
            self._ending.pop((event.token, _ends(event)), None)
            self._born.setdefault(event.token, {}).setdefault(_ends(event), now)
            if len(self._born) > self._most:
                del self._born[next(iter(self._born))]
                self._since = now  # the one forgotten is older than this
        elif event.kind is Kind.SUB_CLOSED:
            born = self._born.get(event.token, {}).pop(_ends(event), None)
            if born is not None:
                self._ending[event.token, _ends(event)] = born
                if len(self._ending) > self._most:
                    del self._ending[next(iter(self._ending))]
        elif event.kind is Kind.CLOSED:
            self._born.pop(event.token, None)

    def lost(self, now: float) -> None:
        """Take it that events were lost: what is not known is older than now, and no more can be said.

        Args:
            now: when.
        """
        self._born.clear()
        self._ending.clear()
        self._since = now

    def age(self, subflow: Subflow, now: float) -> Age:
        """Tell how old a subflow is.

        Args:
            subflow: that is there.
            now: when.
        """
        ends = _ends(subflow)
        born = self._born.get(subflow.token, {}).get(ends, self._ending.get((subflow.token, ends)))
        return Age(max(0.0, now - self._since), least=True) if born is None else Age(max(0.0, now - born))


def _ends(thing: Event | Subflow) -> int:
    return hash((thing.source, thing.sport, thing.destination, thing.dport))
