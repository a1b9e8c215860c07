"""The part of a pass that is about MPTCP: behind the routing, the same road again for endpoints and limits.

Rule 1: it comes last in a pass, since what routing could not be written is no way for MPTCP either.
Rule 2: where no service is multipath-routed and nothing of ours is there, the kernel is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from errno import errorcode

from .model.errors import Refusal
from .model.mptcp import Act, Change, Endpoint, Kept, Mptcp
from .model.numbers import Numbers
from .model.policy import Policy
from .model.routing import KernelState, Step
from .model.view import Finding, Service
from .model.words import Severity
from .model.world import Link
from .plan.contest import Contest
from .plan.mptcp import Wanted, changes, desire, spare, split
from .plan.ownership import adoptable, as_step, farewell, kept
from .ports import PathKeeper, Paths

USUAL = (
    8  # endpoints, and subflows of a connection, that Linux 6.18 and its elders take; nothing is tried for --dry-run
)
# A refusal may tell how many endpoints the kernel takes, another one its greatest limit; or others' have come and gone.
ROUNDS = 3

Refused = tuple[tuple[Step, Refusal], ...]


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of it.

    Args:
        done: written, or handed to the thread that writes what takes long.
        refused: by the kernel, also what was handed over earlier.
        findings: what a person should see.
        later: seconds until what is contested may be tried again, None if nothing is.
    """

    done: tuple[Step, ...] = ()
    refused: Refused = ()
    findings: tuple[Finding, ...] = ()
    later: float | None = None


def nothing(*_scene: object, look: bool) -> Brought:  # noqa: ARG001 - there is nothing to look at
    """Be the part of a pass where there is no hand for MPTCP."""
    return Brought()


class Endpoints:
    """Keeps endpoints and limits as they should be.

    Args:
        hand: reads and writes them.
        keeper: what lasts over a restart.
    """

    def __init__(self, hand: Paths, keeper: PathKeeper) -> None:
        self._hand, self._keeper = hand, keeper
        self._kept: Kept | None = None
        self._true = Wanted()
        self._last: tuple[object, Brought] = (None, Brought())  # what the last pass went by, and what became of it
        self.listen: Callable[[bool], None] = lambda _wanted: None  # told whether connections by ours may be there

    @property
    def ours(self) -> tuple[Endpoint, ...]:
        """Those that the last pass made true."""
        return self._true.endpoints

    @property
    def words(self) -> str:
        """How it is with MPTCP here, for people."""
        count = len(self.ours)
        return f"{self._hand.words}, {count} endpoint{'' if count == 1 else 's'}" if count else self._hand.words

    def bring(
        self,
        services: Sequence[Service],
        routing: KernelState,
        policy: Policy,
        links: Mapping[int, Link],
        contest: Contest,
        now: float,
        *,
        look: bool,
    ) -> Brought:
        """Run the part of a pass.

        Args:
            services: in their order, as they are in force.
            routing: what is ours in the kernel now.
            policy: what is wished for.
            links: by index.
            contest: the memory of what others undo.
            now: seconds on its clock.
            look: even if nothing has changed that endpoints depend on. Generic netlink waits for what others do in any
                network namespace (its one mutex, seen: 12 ms), so what has only to do with sessions passes it by.
        """
        given = (tuple(services), policy.mptcp, policy.numbers)
        before, brought = self._last
        if not look and given == before and not self._hand.busy and not brought.refused and brought.later is None:
            return replace(brought, done=())
        late = tuple((as_step(change), refusal) for change, refusal in self._hand.late())
        brought = Brought()
        if self._kept is None or self._kept.mine or any(service.routed for service in services):
            try:
                brought = self._bring(services, routing, policy, links, contest, now)
            except OSError as error:  # routing is written and must be told of, whatever MPTCP says
                brought = Brought(findings=(_broken(error),))
            else:
                self.listen(bool(self.ours))
        brought = replace(brought, refused=late + brought.refused)
        self._last = (given, brought)
        return brought

    def _bring(
        self,
        services: Sequence[Service],
        routing: KernelState,
        policy: Policy,
        links: Mapping[int, Link],
        contest: Contest,
        now: float,
    ) -> Brought:
        found = self._look(policy.numbers, routing, links)
        done: tuple[Step, ...] = ()
        for _ in range(ROUNDS):
            want = desire(services, found, routing, policy.numbers, policy.mptcp)
            steps, later = contest.judge([as_step(change) for change in changes(want, found)], self._true, now)
            due = [step.what for step in steps if isinstance(step.what, Change)]
            self._keep(found, due)
            written, refused = self._hand.apply(due)
            done += tuple(as_step(change) for change in written)
            if not refused:
                break
            before, found = found, self._look(policy.numbers, routing, links)
            if (found.room, found.ceiling, split(found)[1]) == (before.room, before.ceiling, split(before)[1]):
                break
        lacking = {change.what for change, _ in refused}
        self._true = replace(want, endpoints=tuple(e for e in want.endpoints if e not in lacking))
        return Brought(done, tuple((as_step(change), no) for change, no in refused), want.findings, later)

    def intend(
        self, services: Sequence[Service], routing: KernelState, policy: Policy, links: Mapping[int, Link]
    ) -> tuple[tuple[Change, ...], tuple[Finding, ...]]:
        """Give the changes that would be made, and what a person should see.

        Args:
            services: in their order.
            routing: as it will be.
            policy: what is wished for.
            links: by index.
        """
        found = self._look(policy.numbers, routing, links)
        usual = max(USUAL, len(found.endpoints))
        found = replace(found, room=found.room or usual, ceiling=found.ceiling or USUAL)
        want = desire(services, found, routing, policy.numbers, policy.mptcp)
        return changes(want, found), want.findings

    def release(self, numbers: Numbers, routing: KernelState) -> tuple[tuple[Step, ...], Refused]:
        """Take everything of ours away, and wait for it.

        Args:
            numbers: which ids are ours.
            routing: what is ours in the kernel.
        """
        self._hand.settle()
        self._hand.late()  # what was refused until now is no failure of leaving
        found = self._look(numbers, routing, {})
        assert self._kept is not None
        done, refused = self._hand.apply(farewell(self._kept, found))
        self._hand.settle()
        late = self._hand.late()
        refused += late
        failed = {change for change, _ in refused}
        if self._kept != Kept() and not refused:
            self._kept = Kept()
            self._keeper.save(self._kept)
        steps = tuple(as_step(change) for change in done if change not in failed)
        return steps, tuple((as_step(change), refusal) for change, refusal in refused)

    def renew(self, old: Endpoint, numbers: Numbers, pause: Callable[[], float | None]) -> None:
        """Have an endpoint of ours tried anew for live connections.

        Args:
            old: one of `ours`.
            numbers: which ids are ours.
            pause: asked in a thread when its turn has come: seconds without it, None to leave it.
        """
        found = self._hand.look()
        ids = spare(found, numbers)
        if old in found.endpoints and old.name in found.mine and ids:
            new = replace(old, id=ids[0])
            self._keep(found, [Change(Act.ADD, new)])
            self._hand.renew(old, new, pause)

    def _look(self, numbers: Numbers, routing: KernelState, links: Mapping[int, Link]) -> Mptcp:
        """Look; the first time, know again what was ours before this process began."""
        names = {index: link.name for index, link in links.items()}
        if self._kept is None:
            before = self._keeper.load()
            if before is None:
                before = Kept(adoptable(self._hand.look(names), numbers, routing))
            self._hand.adopt(before)
            self._kept = before
        return self._hand.look(names)

    def _keep(self, found: Mptcp, due: Sequence[Change]) -> None:
        """Write down what is ours, before the kernel gets to know it."""
        assert self._kept is not None
        fresh = kept(self._kept, found, due, whole=not self._hand.busy)
        if fresh != self._kept:
            self._kept = fresh
            self._keeper.save(fresh)


def _broken(error: OSError) -> Finding:
    name = errorcode.get(error.errno or 0, str(error.errno))
    return Finding("internal", Severity.HIGH, f"MPTCP endpoints cannot be read or written: {error} ({name})",
                   "this is a fault of mpathd: please report it with its log")  # fmt: skip
