"""What sessions have sent and received: the kernel counts, and what its counters had counted when they went is added.

Law: no number is ever less than before, whatever mpathd, its death, or others do to the counters. A counter goes
only in our own writes: what it counted is written down before, together with the digest of the ruleset that is without
it; whoever finds that ruleset in the kernel knows that it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from time import monotonic

from .model.errors import Refusal
from .model.packet import Load, Ruleset
from .model.routing import Step
from .model.statistics import Count, Counted, ServiceCount, Statistics, birth, counter
from .model.view import View
from .model.world import World
from .ports import Keeper, Kernel

NO_TABLE = "none"  # for a digest
FRESH = 0.1  # seconds that one reading serves; a whole listing of sessions asks for each of them


class Meter:
    """The hands, with an eye on what is counted: stands between the loop and the kernel.

    Args:
        kernel: the hands.
        keeper: what lasts over a restart.
    """

    def __init__(self, kernel: Kernel, keeper: Keeper | None) -> None:
        self._kernel, self._keeper = kernel, keeper
        self._counted = keeper.counted() if keeper is not None else Counted()
        self._seen: dict[str, Count] = {}
        self._read = self._began = -FRESH
        self._young: frozenset[int] = frozenset()  # births of the sessions whose counters came with the last write

    def heard(self) -> set[str]:
        """Take what was heard, and tell which kinds of objects others have moved."""
        return self._kernel.heard()

    def look(self, protocol: int, *, whole: bool = True) -> World:
        """Read everything that decisions need.

        Args:
            protocol: what marks routes and rules as ours.
            whole: also what nobody was heard to move.
        """
        world = self._kernel.look(protocol, whole=whole)
        if told := self._counted.digest:  # a write that was refused, or during which the last mpathd died
            there = told == (world.digest or NO_TABLE)
            self._counted = Counted(self._counted.after if there else self._counted.before)
        return world

    def apply(self, steps: Sequence[Step]) -> tuple[tuple[Step, ...], tuple[tuple[Step, Refusal], ...]]:
        """Write steps; what their counters have counted is not lost.

        Args:
            steps: in their order.
        """
        loads = [step.what for step in steps if isinstance(step.what, Load)]
        if not loads:
            return self._kernel.apply(steps)
        births = {born for _, born in self._keeper.numbers().values()} if self._keeper is not None else set()
        lost = {load: None if load.anew or load.have is None else load.have.lost(load.want) for load in loads}
        for load, names in lost.items():
            # A session that has ended takes along what it has counted.
            if names is None or _births(names) & births:
                seen = self._look()
                gone = {n for n in seen if birth(n) in births and (names is None or n in names)}
                if gone:
                    after = {**self._counted.before, **{name: self._total(name) for name in gone}}
                    self._keep(Counted(self._counted.before, after, _digest(load.want)))
        done, refused = self._kernel.apply(steps)
        for load, names in lost.items():
            if not any(step.what is load for step in done):
                continue
            came = self._counted.digest != "" and self._counted.digest == _digest(load.want)
            told = self._counted.after if came else self._counted.before
            # A birth is given again once nobody has it: what the session counted that had it goes with it.
            self._keep(Counted({name: count for name, count in told.items() if birth(name) in births}))
            self._seen = {} if names is None else {n: c for n, c in self._seen.items() if n not in names}
            self._young, self._began = _new(load), monotonic()
        return done, refused

    def adopt(self, packets: Ruleset) -> None:
        """Take it that our nft table holds what its digest says.

        Args:
            packets: the ruleset of that digest.
        """
        self._kernel.adopt(packets)

    def read(self, packets: Ruleset) -> Ruleset | None:
        """Give what our nft table holds as nft tells it, None if that is not understood.

        Args:
            packets: what it is to hold.
        """
        return self._kernel.read(packets)

    def suspects(self) -> tuple[str, ...]:
        """Name programs here that are known to undo what others write."""
        return self._kernel.suspects()

    def make_home(self, group: str) -> None:
        """Make a session's control group.

        Args:
            group: its path.
        """
        self._kernel.make_home(group)

    def enter(self, group: str, pid: int, user: int) -> str:
        """Move a process into a control group.

        Args:
            group: of a session.
            pid: the process.
            user: whose it must be.
        """
        return self._kernel.enter(group, pid, user)

    def counters(self) -> Mapping[str, Count]:
        """Give what the counters in our nft table have counted, by name."""
        return self._kernel.counters()

    def statistics(self, name: str, view: View, *, now: bool = False) -> Statistics:
        """Give what a session has sent and received.

        Args:
            name: the session.
            view: the picture.
            now: ask the kernel, however fresh the last reading is.
        """
        session = next((session for session in view.sessions if session.name == name), None)
        if session is None:
            return Statistics()
        if not now and session.born in self._young and monotonic() - self._began <= FRESH:
            return Statistics()
        if now or monotonic() - self._read > FRESH:
            self._look()
        seen, before = self._seen, self._counted.before
        services = []
        for service in view.services:
            received, sent = (counter(kind, session.born, service.id) for kind in "io")
            if received in seen or sent in seen or received in before or sent in before:
                services.append(ServiceCount(service.id, service.interface, self._total(received), self._total(sent)))
        return Statistics((*services, *self._gone(session.born, view)), self._total(counter("d", session.born)))

    def _gone(self, born: int, view: View) -> Iterable[ServiceCount]:
        """What went by services that are no more."""
        here = {counter("o", born, service.id)[2:] for service in view.services}
        names = {name[2:] for name in {*self._counted.before, *self._seen} if birth(name) == born and name[0] in "io"}
        for rest in sorted(names - here):
            received, sent = self._total(f"i_{rest}"), self._total(f"o_{rest}")
            if received[0] or sent[0]:
                yield ServiceCount(rest.partition("_")[2], "", received, sent)

    def _look(self) -> dict[str, Count]:
        """Read the kernel; a counter that somebody else has set back goes on from where it was."""
        fresh = dict(self._kernel.counters())
        lost = {n: self._total(n) for n, seen in self._seen.items() if fresh.get(n, (0, 0)) < seen}
        self._seen, self._read, self._young = fresh, monotonic(), frozenset()
        if lost:
            self._keep(Counted({**self._counted.before, **lost}, self._counted.after, self._counted.digest))
        return fresh

    def _total(self, name: str) -> Count:
        packets, octets = self._seen.get(name, (0, 0))
        more, further = self._counted.before.get(name, (0, 0))
        return packets + more, octets + further

    def _keep(self, counted: Counted) -> None:
        if counted != self._counted:
            self._counted = counted
            if self._keeper is not None:
                self._keeper.count(counted)


def _births(counters: Iterable[str]) -> frozenset[int]:
    return frozenset(birth(name) for name in counters)


def _new(load: Load) -> frozenset[int]:
    """Births of the sessions that have no counters before a write: they begin at zero with it."""
    if load.have is None:
        return frozenset()
    return _births(load.want.counters - load.have.counters)


def _digest(want: Ruleset) -> str:
    return NO_TABLE if want.empty else want.digest()
