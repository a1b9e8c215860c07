"""Which endpoints and limits MPTCP should have, and the writes that are missing.

Rule 1: an endpoint comes after the address, the table's way out and the rule, and goes with the first of them. The
kernel tries a new endpoint once for each live connection; where that fails, it never tries again (seen on 6.18).
Rule 2: an endpoint is ours if mpathd remembers that it made it. Those of others are never written, also where their ids
are among ours; where one has the address that ours would have, it serves, and a finding says so if it contradicts.
Rule 3: between on and backup only flags change. Whatever deletes an endpoint closes its subflows on all connections.
Law: apply(changes(w, h), h) == w for what is ours, and changes(w, w) == ().
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..model.mptcp import (
    CHANGEABLE,
    KNOWN,
    Act,
    Change,
    Endpoint,
    Flag,
    Limits,
    LinkUse,
    Manager,
    Mptcp,
    Options,
)
from ..model.numbers import Numbers
from ..model.routing import KernelState
from ..model.view import Finding, Service
from ..model.words import Address, Family, MptcpMode, Prefix, Severity, host
from .mptcprank import Candidate, ranked
from .tables import shortish

ROLE = Flag.SUBFLOW | Flag.BACKUP  # what MultipathTcpLink decides
PLAIN = Options()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be there.

    Args:
        endpoints: ours, the most wanted first.
        limits: in force.
        findings: what a person should see.
        links: what they are for, where the kernel has flags of links.
    """

    endpoints: tuple[Endpoint, ...] = ()
    limits: Limits = Limits()
    findings: tuple[Finding, ...] = ()
    links: tuple[LinkUse, ...] = ()


@dataclass(frozen=True, slots=True)
class _Ways:
    """Where routing is in place.

    Args:
        rules: source and table of rules that lead an address to its table.
        out: family, table and link of defaults in tables.
    """

    rules: frozenset[tuple[Prefix | None, int]]
    out: frozenset[tuple[Family, int, int]]


def _ways(routing: KernelState) -> _Ways:
    leads = (r for r in routing.rules if not r.mask and r.suppress is None)
    out = {(r.family, r.table, hop.index) for r in routing.routes if shortish(r) for hop in r.hops}
    return _Ways(frozenset((r.source, r.table) for r in leads), frozenset(out))


def split(found: Mptcp) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
    """Give our endpoints, and those of others.

    Args:
        found: what is there.
    """
    ours = tuple(e for e in found.endpoints if e.name in found.mine)
    return ours, tuple(e for e in found.endpoints if e.name not in found.mine)


def desire(
    services: Sequence[Service],
    found: Mptcp,
    routing: KernelState,
    numbers: Numbers,
    options: Options = PLAIN,
) -> Wanted:
    """Decide which endpoints and limits there should be.

    Args:
        services: in their order, as they are in force.
        found: what is there.
        routing: what is ours in the kernel once routes and rules are written; what was refused is not in it.
        numbers: which ids are ours.
        options: [mptcp] of the configuration.
    """
    if found.links:
        return Wanted(links=_uses(services, found))
    ours, others = split(found)
    if found.missing and not ours:
        return Wanted(limits=found.limits)
    theirs = {e.key: e for e in others if not e.flags & Flag.IMPLICIT}
    held = {e.address for e in ours}, {address for address, port in theirs if not port}
    ready = ranked(_candidates(services, _ways(routing)), *held)
    free = [one for one in ready if (one.address, 0) not in theirs]
    replaced = {(one.address, 0) for one in free}  # implicit ones there give way
    room = _room(found, sum(e.key not in replaced for e in others), numbers)
    taken, left = free[:room], free[room:]
    endpoints = _numbered(taken, found, numbers, options)
    if found.missing:  # switched off: what lives still goes on by its links, and may lose them, but gets no others
        return Wanted(tuple(e for e in endpoints if e.name in found.mine), found.limits)
    findings = (*_contradictions(services, theirs), *_crowded(left, found), *_unheard(endpoints, found))
    limits = _limits((*endpoints, *theirs.values()), found, options) if endpoints else found.limits
    return Wanted(endpoints, limits, findings)


def _uses(services: Sequence[Service], found: Mptcp) -> tuple[LinkUse, ...]:
    """What links are for: those that mpathd has set and need not set any more are as the kernel has them at first."""
    modes = {service.index: service.mptcp for service in services if service.routed}
    started = (replace(use, mode=MptcpMode.ON) if use.name in found.mine else use for use in found.links)
    return tuple(replace(use, mode=modes.get(use.index, use.mode)) for use in started)


def _candidates(services: Sequence[Service], ways: _Ways) -> Iterator[Candidate]:
    for service in services:
        if service.mptcp is MptcpMode.OFF or not service.routed:
            continue
        count, seen = dict.fromkeys(Family, 0), set[str]()
        for a in service.addresses:
            if a.temporary or a.deprecated or a.tentative or a.address in seen:  # once, whatever prefixes it is in
                continue
            seen.add(a.address)
            led = (host(a.address), service.table) in ways.rules
            if led and (a.family, service.table, service.index) in ways.out:
                yield Candidate(service, a.address, count[a.family])
                count[a.family] += 1


def _room(found: Mptcp, theirs: int, numbers: Numbers) -> int:
    """How many endpoints may be ours. As long as the kernel has refused none, only our ids are the limit."""
    first, last = numbers.endpoint_ids
    ids = last - first + 1
    return min(ids, max(0, found.room - theirs)) if found.room else ids


def _numbered(taken: Sequence[Candidate], found: Mptcp, numbers: Numbers, options: Options) -> tuple[Endpoint, ...]:
    """Endpoints with their ids: an address keeps the one that it has; another never gets it while it is in use.

    From the highest down: whoever asks the kernel for no id gets one above the last that came, so that ours are seldom
    among theirs.
    """
    ours, _ = split(found)
    there = {e.key: e.id for e in ours}
    stay = {there[one.address, 0] for one in taken if (one.address, 0) in there}
    fresh = [*spare(found, numbers), *sorted(set(there.values()) - stay, reverse=True)]
    plain = options.flags & ~found.lacks
    out = []
    for one in taken:
        number = there.get((one.address, 0)) or (fresh.pop(0) if fresh else 0)
        if not number:
            continue  # others have the ids of ours
        flags = plain | Flag.BACKUP if one.backup else plain
        out.append(Endpoint(number, one.address, one.service.index, 0, flags, one.service.interface))
    return tuple(out)


def spare(found: Mptcp, numbers: Numbers) -> tuple[int, ...]:
    """Give the ids that a new endpoint may have, the best first: those that were never used, then the longest unused.

    Args:
        found: what is there.
        numbers: which ids are ours.
    """
    first, last = numbers.endpoint_ids
    used = {e.id for e in found.endpoints}
    every = [n for n in range(last, first - 1, -1) if n not in used]
    return (*(n for n in every if n not in found.spent), *(n for n in found.spent if n in every))


def _limits(endpoints: Sequence[Endpoint], found: Mptcp, options: Options) -> Limits:
    """Raise limits to what a connection may need; never lower them.

    The first subflow may leave by a link that has no endpoint: then there are as many others as endpoints of its
    family. Each announced address of the far side is one more for each endpoint with fullmesh, and one for one with
    laminar.
    """
    if not options.limits:
        return found.limits
    need = max(sum(bool(e.flags & Flag.SUBFLOW) and e.family is family for e in endpoints) for family in Family)
    accepted = need if options.fullmesh or options.laminar else 0
    subflows = need * (accepted + 1) if options.fullmesh else need
    top = found.ceiling or max(subflows, accepted)
    return Limits(max(found.limits.subflows, min(subflows, top)), max(found.limits.accepted, min(accepted, top)))


# What a person should see.


def _contradictions(services: Sequence[Service], theirs: Mapping[tuple[Address, int], Endpoint]) -> Iterator[Finding]:
    roles = {MptcpMode.ON: Flag.SUBFLOW, MptcpMode.BACKUP: ROLE, MptcpMode.OFF: Flag(0)}
    serving: list[str] = []
    for service in services:
        if not service.routed:
            continue
        for address in service.addresses:
            other = theirs.get((address.address, 0))
            if other is None:
                continue
            elsewhere = other.index not in {0, service.index}
            role = other.flags & ROLE if other.flags & Flag.SUBFLOW else Flag(0)
            if role != roles[service.mptcp] or elsewhere:
                yield Finding(
                    "endpoint-foreign",
                    Severity.MEDIUM,
                    f"another program has set MPTCP endpoint {other.words()}; "
                    f"MultipathTcpLink of {service.interface} is {service.mptcp}",
                    f"ip mptcp endpoint delete id {other.id}, or let that program leave {service.interface} alone",
                )
            elif role:
                serving.append(other.words())
    if serving:
        yield Finding(
            "endpoint-shared",
            Severity.LOW,
            f"another program sets MPTCP endpoints where mpathd would: {'; '.join(serving)}; they serve, and mpathd "
            "neither changes nor removes them, also when the link is lost",
            "NetworkManager: nmcli connection modify NAME connection.mptcp-flags disabled; mptcpd: stop it",
        )


def _crowded(left: Sequence[Candidate], found: Mptcp) -> Iterator[Finding]:
    if left:
        names = ", ".join(f"{one.address} of {one.service.interface}" for one in left)
        yield Finding(
            "endpoints-full",
            Severity.MEDIUM,
            f"the kernel takes {found.room} MPTCP endpoints; left out: {names}",
            "switch links off that MPTCP does not need: mpathctl config LINK --mpath_tcp_link off",
        )


def _unheard(endpoints: Sequence[Endpoint], found: Mptcp) -> Iterator[Finding]:
    if endpoints and found.manager is not Manager.KERNEL:
        yield Finding(
            "endpoints-unheard",
            Severity.MEDIUM,
            "new MPTCP connections do not look at endpoints: a program makes their subflows "
            "(sysctl net.mptcp.path_manager)",
            "sysctl -w net.mptcp.path_manager=kernel (before Linux 6.15: net.mptcp.pm_type=0), or stop that program",
        )


# The writes that are missing.


def changes(want: Wanted, found: Mptcp) -> tuple[Change, ...]:
    """Give the writes that turn what is into what should be, in order.

    Limits are raised before there are subflows to count; a link becomes primary before another one becomes a backup,
    so that one is always there to carry; removals come last, since the kernel takes milliseconds for each, unless they
    stand in the way.

    Args:
        want: what should be there.
        found: what is there.
    """
    # Bits that this version does not know are a newer kernel's own.
    own, others = split(found)
    ours = {e.id: replace(e, flags=e.flags & KNOWN) for e in own}
    targets = {e.id: e for e in want.endpoints}
    flags = [e for e in want.endpoints if e.id in ours and e != ours[e.id] and _same_but_flags(e, ours[e.id])]
    changed = {e.id for e in flags}
    new = [e for e in want.endpoints if e != ours.get(e.id) and e.id not in changed]
    gone = [e for e in ours.values() if e != targets.get(e.id) and e.id not in changed]
    # The kernel makes implicit endpoints by itself, and refuses ours beside them.
    keys, ids = {e.key for e in new}, {e.id for e in new}
    gone += [e for e in others if e.flags & Flag.IMPLICIT and e.key in keys]
    tight = bool(found.room) and len(found.endpoints) + len(new) > found.room
    first = [e for e in gone if tight or e.key in keys or e.id in ids]
    out = [Change(Act.SET, use) for use in want.links if use not in found.links]
    out += [Change(Act.SET, want.limits)] if want.limits != found.limits else []
    out += [Change(Act.CHANGE, e) for e in sorted(flags, key=lambda e: bool(e.flags & Flag.BACKUP))]
    out += [Change(Act.DELETE, e) for e in first]
    out += [Change(Act.ADD, e) for e in new]
    return (*out, *(Change(Act.DELETE, e) for e in gone if e not in first))


def _same_but_flags(one: Endpoint, other: Endpoint) -> bool:
    return replace(one, flags=one.flags & ~CHANGEABLE) == replace(other, flags=other.flags & ~CHANGEABLE)
