"""What became of a pass: what is true now, and what to say of refusals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..model.errors import Refusal
from ..model.marking import Marking
from ..model.mptcp import Act, Change
from ..model.packet import TABLE, Connections, Load
from ..model.routing import KernelState, Route, Rule, Step
from ..model.view import Finding, Service
from ..model.words import Severity

Refused = tuple[tuple[Step, Refusal], ...]


def confirmed(want: KernelState, missing: Iterable[Step]) -> KernelState:
    """Give what is true now: what was wanted, less what was refused or held back.

    Args:
        want: what was wanted.
        missing: steps that were not done.
    """
    lacking = {step.what for step in missing}
    if not lacking:
        return want
    return KernelState(
        frozenset(r for r in want.routes if r not in lacking),
        frozenset(r for r in want.rules if r not in lacking),
        None if any(isinstance(what, Load) for what in lacking) else want.packets,
        frozenset(m for m in want.sockets if m not in lacking),
    )


def cure(step: Step) -> str:
    """Say where to look when a step was refused.

    Args:
        step: the step.
    """
    match step.what:
        case Route(family=family, table=table):
            return f"see: ip {family.option} route show table {table}"
        case Rule(family=family):
            return f"see: ip {family.option} rule"
        case Load():
            return f"see: nft list table {TABLE}"
        case Connections():
            return "see: conntrack -L"
        case Marking(group=group):
            return f"make the control group, or see what else is attached: bpftool cgroup show CGROUP2{group}"
        case Change(act=act):
            return "see: ip mptcp limits show" if act is Act.SET else "see: ip mptcp endpoint show"


def troubles(refused: Refused, markless: Iterable[str]) -> tuple[Finding, ...]:
    """Give findings about what is wanted and is not there.

    Args:
        refused: what the kernel refused.
        markless: sessions for which no mark is left.
    """
    remedy = "end other sessions, or give mpathd more bits: mark_mask in [numbers]"
    unserved = (f"no mark is left for session {name}: it is not served" for name in markless)
    return (
        *(Finding("no-mark", Severity.HIGH, text, remedy) for text in unserved),
        *(Finding("refused", Severity.HIGH, f"the kernel refuses: {why}", cure(step)) for step, why in refused),
    )


def fault(number: int, error: Exception) -> Finding:
    """Give the finding about a pass that failed.

    Args:
        number: of the pass.
        error: what went wrong in mpathd itself.
    """
    text = f"pass {number} failed: {type(error).__name__}: {error}"
    return Finding("internal", Severity.HIGH, text, "this is a fault of mpathd: please report it with its log")


def in_force(service: Service, refused: Refused) -> Service:
    """Give a service as it is: one whose table could not be filled is not routed, whatever was decided.

    Args:
        service: as it was decided.
        refused: what the kernel refused.
    """
    for step, refusal in refused:
        if isinstance(step.what, Route) and step.what.table == service.table:
            return replace(service, routed=False, because=f"the kernel refuses {refusal}")
    return service
