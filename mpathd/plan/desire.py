"""From what is there and what is wished for to what should be in the kernel, and what to show.

Rule 1: every decision about a service's rules is made in this file. The four rules of an address, and why they stand
in this order, are in mpathd(8), Rules, and docs/decisions/001-ends-are-rules.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from ..model.numbers import MAIN, SERVICE_END, SERVICE_MAIN, SERVICE_OWN, SERVICE_TABLE, SPLIT, Numbers
from ..model.policy import Policy
from ..model.routing import Action, KernelState, Route, Rule
from ..model.view import Desired, Finding, Service, SessionView, View
from ..model.words import Family, Prefix, host
from ..model.world import LinkAddress, World
from . import early, forward, marks
from .findings import Scene, findings
from .membership import Member, members
from .naming import mac_text, technology
from .order import TECHNOLOGIES, places
from .packets import ruleset
from .sessions import Choice, choose
from .sockets import markings
from .tables import Borrowing, Main, borrowing, routes, sort_main


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a service is routed in a family, and because of what.

    Args:
        routed: its rules are in force.
        because: one clause for people.
    """

    routed: bool
    because: str


def service_rules(numbers: Numbers, table: int, source: Prefix, family: Family) -> tuple[Rule, ...]:
    """Give the four rules of an address, in their order.

    Args:
        numbers: protocol and priorities.
        table: the service's table.
        source: the address as a prefix.
        family: its family.
    """
    own, main, whole, end = (numbers.priority(n) for n in (SERVICE_OWN, SERVICE_MAIN, SERVICE_TABLE, SERVICE_END))
    ours = numbers.protocol
    return (
        Rule(family, own, source, table, suppress=0, protocol=ours),
        Rule(family, main, source, MAIN, suppress=SPLIT[family], protocol=ours),
        Rule(family, whole, source, table, protocol=ours),
        Rule(family, end, source, action=Action.UNREACHABLE, protocol=ours),
    )


def _verdict(member: Member, family: Family, world: World, policy: Policy, by: Borrowing | None) -> Verdict:
    if not member.settings.multipath_routing:
        return Verdict(routed=False, because="MultipathRouting is off")
    if not member.settings.autoconnect:
        return Verdict(routed=False, because="AutoConnect is off")
    if not member.addresses(family) and not member.left_behind(family):
        return Verdict(routed=False, because=f"no {family.label} address")
    for uncopied in world.uncopied:
        if uncopied.family is family and member.link.index in uncopied.indexes:
            because = f"main's route {uncopied.destination} by it cannot be copied ({uncopied.why})"
            return Verdict(routed=False, because=because)
    if by is not None and _borrowed(member, family, by) and not policy.allow_borrowed:
        return Verdict(routed=False, because=f"{by.device} sends main's default traffic with its address")
    if any(member.will_be_uplink(f) for f in Family):
        way = next((g for g in member.gateways if g.family is family), None)
        if way is not None:
            return Verdict(routed=True, because=f"gateway {way.address or 'on the link'} ({way.source})")
        if member.link.point_to_point:
            return Verdict(routed=True, because="point-to-point")
        return Verdict(routed=True, because=f"no {family.label} gateway: its {family.label} traffic hears unreachable")
    if member.ruled or member.kept:
        # Law 1: as long as the address is here, its traffic leaves by this link or not at all. That the service
        # was an uplink once is written in the kernel: its rules are there.
        why = "no carrier" if not member.link.carrier else "no gateway at present"
        return Verdict(routed=True, because=f"{why}: its traffic hears unreachable")
    if not member.link.carrier:
        return Verdict(routed=False, because="no carrier")
    return Verdict(routed=False, because=f"no gateway known (asked: {', '.join(policy.source_order)})")


def _borrowed(member: Member, family: Family, by: Borrowing | None) -> bool:
    """Whether main's default traffic may go out with this service's address by another device."""
    if by is None or not by.addresses or member.link.index in by.indexes:
        return False
    return any(a.address in by.addresses for a in member.addresses(family))


def _service(member: Member, verdicts: dict[Family, Verdict]) -> Service:
    routed = [family for family, verdict in verdicts.items() if verdict.routed]
    if len(routed) == len(Family) or len({v.because for v in verdicts.values()}) == 1:
        texts = dict.fromkeys(verdict.because for verdict in verdicts.values())
    elif routed:
        texts = {verdicts[family].because: None for family in routed}
    else:
        reasons = [v.because for f, v in verdicts.items() if member.addresses(f)]
        texts = dict.fromkeys(reasons or ["no address"])
    return Service(
        id=member.id,
        name=technology(member.link).title,
        technology=technology(member.link),
        state=member.state,
        index=member.link.index,
        interface=member.link.name,
        mac=mac_text(member.link.mac),
        mtu=member.link.mtu,
        table=member.table,
        settings=member.settings,
        routed=bool(routed),
        because="; ".join(texts),
        addresses=tuple(a for family in Family for a in member.addresses(family)),
        gateways=member.gateways,
    )


def _order(places: Mapping[str, int], member: Member) -> tuple[bool, int, int, int]:
    kind, place = TECHNOLOGIES.index(technology(member.link)), places.get(member.id, len(places))
    return (not member.state.connected, place, kind, member.link.index)


def _claims(
    found: tuple[Member, ...], verdicts: dict[str, dict[Family, Verdict]]
) -> Iterator[tuple[Member, LinkAddress]]:
    """Each routed address, once: of two links with one address the first in order has it."""
    taken: set[str] = set()
    for member in found:
        for family in Family:
            if not verdicts[member.id][family].routed:
                continue
            for address in member.addresses(family):
                if address.address not in taken:
                    taken.add(address.address)
                    yield member, address


def _session(choice: Choice, numbers: Numbers) -> SessionView:
    best = choice.best
    reasons = [f"{name}: {verdict.because}" for name, verdict in choice.verdicts.items() if not verdict.allowed]
    missing = [family.label for family in Family if family not in choice.defaults]
    lacks = f"no service for {' and '.join(missing)}" if missing else ""
    return SessionView(
        name=choice.session.settings.name,
        number=choice.session.number,
        mark=numbers.mark(choice.session.number),
        state=choice.state,
        bearer=technology(best.link).value if best else "",
        interface=best.link.name if best else "",
        service=best.id if best else "",
        routed=tuple(member.id for member in choice.members),
        reason="; ".join(filter(None, (lacks, *reasons))) or "all services serve it",
        active=choice.session.active,
        settings=choice.session.settings,
        defaults={family: member.id for family, member in choice.defaults.items()},
        born=choice.session.born,
    )


def desire(world: World, policy: Policy) -> Desired:
    """Decide what should be in the kernel and what to show.

    Args:
        world: what was found.
        policy: what is wished for.
    """
    numbers = policy.numbers
    main: Main = sort_main(world)
    found = tuple(sorted(members(world, policy), key=partial(_order, places(policy.stored.order))))
    lent = {family: borrowing(world, family) for family in Family}
    verdicts = {m.id: {family: _verdict(m, family, world, policy, lent[family]) for family in Family} for m in found}
    wanted: set[Route] = set()
    rules: set[Rule] = set()
    for member in found:
        for family in Family:
            if verdicts[member.id][family].routed:
                wanted.update(routes(member, family, main, numbers.protocol))
                for gone in member.left_behind(family):
                    rules.update(service_rules(numbers, member.table, gone, family))
    for member, address in _claims(found, verdicts):
        rules.update(service_rules(numbers, member.table, host(address.address), address.family))
    routed = frozenset(name for name, of in verdicts.items() if any(verdict.routed for verdict in of.values()))
    choices = tuple(choose(session, found, routed) for session in policy.sessions)
    for choice in choices:
        rules.update(marks.rules(choice, numbers))
    sockets = frozenset(markings(choices, world.homes, numbers))
    rules.update(early.rules(choices, numbers, policy.early_rules))
    if sockets:
        rules.update(early.exceptions(numbers))
    wanted.update(marks.tables(choices, main, numbers))
    links: tuple[forward.LinkMark, ...] = ()
    if world.forwarding:
        ways = [(m, tuple(f for f in Family if verdicts[m.id][f].routed)) for m in found]
        links = forward.link_marks(ways, world.rules, {s.number for s in policy.sessions}, numbers)
        rules.update(forward.rules(links, numbers))
    packets = ruleset(choices, found, numbers, links, forwarding=world.forwarding)
    services = tuple(_service(member, verdicts[member.id]) for member in found)
    sessions = tuple(_session(choice, numbers) for choice in choices)
    troubles: tuple[Finding, ...] = findings(Scene(world, policy, found, services, sessions))
    return Desired(
        KernelState(frozenset(wanted), frozenset(rules), packets, sockets), View(services, sessions, troubles)
    )
