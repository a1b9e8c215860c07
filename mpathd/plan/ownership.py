"""Whose MPTCP's endpoints and limits are, over restarts and against others, and what is left behind at the end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..model.mptcp import Act, Change, Endpoint, Flag, Kept, Limits, LinkUse, Mptcp
from ..model.numbers import Numbers
from ..model.routing import KernelState, Step, Verb
from ..model.words import Address, MptcpMode, host
from .mptcp import Wanted, split

VERBS = {Act.ADD: Verb.ADD, Act.CHANGE: Verb.REPLACE, Act.SET: Verb.REPLACE, Act.DELETE: Verb.DELETE}


def adoptable(found: Mptcp, numbers: Numbers, routing: KernelState) -> frozenset[tuple[int, Address]]:
    """Give id and address of the endpoints that look like ours, for a start without memory of the run before.

    Args:
        found: what is there.
        numbers: which ids ours have.
        routing: what is ours in the kernel; an address without a rule of ours has no endpoint of ours.
    """
    first, last = numbers.endpoint_ids
    ruled = {rule.source for rule in routing.rules}
    return frozenset(
        e.name
        for e in found.endpoints
        if first <= e.id <= last
        and e.index
        and not e.port
        and e.flags & Flag.SUBFLOW
        and not e.flags & Flag.IMPLICIT
        and host(e.address) in ruled
    )


def holds(want: Wanted, change: Change) -> bool:
    """Tell whether what a change leads to was wanted before it: then somebody has undone that.

    Args:
        want: what was wanted before.
        change: what is due now.
    """
    match change.what:
        case Limits():
            return change.what == want.limits
        case LinkUse():
            return change.what in want.links
        case Endpoint():
            return (change.what in want.endpoints) is not (change.act is Act.DELETE)


def as_step(change: Change) -> Step:
    """Give a change as the loop writes it.

    Args:
        change: the change.
    """
    return Step(VERBS[change.act], change)


def kept(before: Kept, found: Mptcp, due: Iterable[Change], *, whole: bool) -> Kept:
    """Give what must be written down before changes are made.

    Args:
        before: what is written down.
        found: what is there.
        due: the changes.
        whole: what is ours in `found` is all that is ours; while removals are under way it is not.
    """
    changes = tuple(due)
    added = {c.what.name for c in changes if c.act is not Act.DELETE and not isinstance(c.what, Limits)}
    mine = found.mine | added | (frozenset() if whole else before.mine)
    out = replace(before, mine=mine, room=found.room, ceiling=found.ceiling)
    for change in changes:
        if isinstance(change.what, Limits):
            out = replace(out, before=_first(out, found, whole=whole), raised=change.what)
    return out


def _first(kept: Kept, found: Mptcp, *, whole: bool) -> Limits:
    """The limits to go back to. While removals are under way `found` has what we have asked for, which the kernel may
    yet refuse: it says nothing of what others have set.
    """
    if kept.before is None:
        return found.limits
    return restored(kept.before, kept.raised, found.limits) if whole else kept.before


def farewell(kept: Kept, found: Mptcp) -> tuple[Change, ...]:
    """Give the changes that take away what is ours, and put the limits back.

    Args:
        kept: what is written down.
        found: what is there.
    """
    back = found.limits if kept.before is None else restored(kept.before, kept.raised, found.limits)
    ours, _ = split(found)
    limits = (Change(Act.SET, back),) if back != found.limits else ()
    uses = (replace(use, mode=MptcpMode.ON) for use in found.links if use.name in found.mine)
    flags = (Change(Act.SET, use) for use in uses if use not in found.links)
    return (*limits, *flags, *(Change(Act.DELETE, e) for e in ours))


def restored(before: Limits, raised: Limits, found: Limits) -> Limits:
    """Give the limits to leave behind: those of before, unless others have changed what we set.

    Args:
        before: what was there when mpathd first raised them.
        raised: what mpathd has set.
        found: what is there.
    """
    return Limits(
        before.subflows if found.subflows == raised.subflows else found.subflows,
        before.accepted if found.accepted == raised.accepted else found.accepted,
    )
