"""Whether another program undoes our writes again and again, and how long to wait before the next try."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..model.marking import Marking
from ..model.mptcp import Change
from ..model.packet import Load, Ruleset
from ..model.routing import KernelState, Route, Rule, Step, Verb
from ..model.view import Finding
from ..model.words import Severity
from .mptcp import Wanted
from .ownership import holds

WINDOW = 60.0  # seconds that an undoing is remembered
PATIENCE = 5  # undoings within the window that are healed at once
FIRST, LONGEST = 1.0, 30.0  # seconds between two tries of a contested object, doubling
SHOWN = 3  # objects that the finding names


def undone(step: Step, wanted: KernelState | Wanted) -> bool:
    """Tell whether a step repeats what was right after the last pass.

    Args:
        step: what is due now.
        wanted: what the last pass had made true.
    """
    if isinstance(wanted, Wanted):
        return isinstance(step.what, Change) and holds(wanted, step.what)
    match step.what:
        case Load():
            return wanted.packets is not None and step.what.have != wanted.packets
        case Route():
            there = step.what in wanted.routes
        case Rule():
            there = step.what in wanted.rules
        case Marking():
            there = step.what in wanted.sockets
        case _:
            return False  # Connections: each one is new; forgetting repeats nothing
    return there is not (step.verb is Verb.DELETE)


@dataclass(slots=True)
class Contest:
    """A memory of what was undone, by object. Time is an argument."""

    _times: dict[Step, list[float]] = field(default_factory=dict)
    _next: dict[Step, float] = field(default_factory=dict)
    _gap: dict[Step, float] = field(default_factory=dict)
    _aim: Ruleset | None = None

    def judge(
        self,
        steps: Iterable[Step],
        wanted: KernelState | Wanted,
        now: float,
        *,
        moved: bool = False,
        aim: Ruleset | None = None,
    ) -> tuple[tuple[Step, ...], float | None]:
        """Give the steps that may go now, and in how many seconds the first of the others may.

        Args:
            steps: what is due.
            wanted: what the last pass had made true.
            now: seconds on a clock that never jumps.
            moved: links or addresses have changed since: the kernel itself takes routes away then.
            aim: what our nft table is to hold in the end.
        """
        go: list[Step] = []
        first: float | None = None
        steady = aim is self._aim  # the same object while nothing else is wished for: to compare it takes a ms
        if isinstance(wanted, KernelState):
            self._aim = aim
        for due in steps:
            step, fought = due, undone(due, wanted)
            if isinstance(due.what, Load):  # they differ by what they found, and lead to one thing
                step, fought = Step(due.verb, Load(aim or due.what.want)), fought and steady
            else:  # nothing is contested, nearly always: the hash of a step costs as much as the rest
                slowed = bool(self._next) and due in self._next
                fought = slowed or (fought and not (moved and isinstance(due.what, Route)))
            if not fought:
                go.append(due)
                continue
            if (ready := self._next.get(step, 0.0)) > now:
                first = min(first if first is not None else ready, ready)
                continue
            times = [t for t in self._times.get(step, []) if now - t < WINDOW]
            times.append(now)
            self._times[step] = times
            if len(times) > PATIENCE or step in self._next:
                gap = min(LONGEST, self._gap.get(step, FIRST / 2) * 2)
                self._gap[step], self._next[step] = gap, now + gap
            go.append(due)
        return tuple(go), None if first is None else first - now

    def settle(self, now: float) -> None:
        """Forget what has been left alone for a while.

        Args:
            now: seconds on the same clock.
        """
        for step, times in list(self._times.items()):
            if now - times[-1] > WINDOW:
                del self._times[step]
                self._next.pop(step, None)
                self._gap.pop(step, None)

    @property
    def next_settle(self) -> float | None:
        """When the first contested object may be forgotten, None if none is contested."""
        return min((self._times[step][-1] + WINDOW for step in self._next), default=None)

    def findings(self, suspects: Iterable[str]) -> tuple[Finding, ...]:
        """Say what is fought over.

        Args:
            suspects: programs that are known to do such things and run here.
        """
        if not self._next:
            return ()
        objects = sorted(str(step) for step in self._next)
        names = "; ".join(objects[:SHOWN]) + (f"; and {len(objects) - SHOWN} more" if len(objects) > SHOWN else "")
        who = ", ".join(suspects) or "a program that mpathd does not know"
        cure = "stop it from managing rules, routes and endpoints that are not its own"
        if "systemd-networkd" in who:
            cure = "install mpathd's drop-in for networkd.conf (ManageForeignRoutingPolicyRules=no)"
        text = f"another program undoes what mpathd writes ({names}); suspect: {who}; repairs are slowed down"
        return (Finding("contested", Severity.HIGH, text, cure),)
