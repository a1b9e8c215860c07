"""What is decided about services: whether they are routed, by which rules, and what is shown of them.

Rule 1: every decision about a service's rules is made in this file. The four rules of an address, and why they stand
in this order, are in mpathd(8), Rules, and docs/decisions/001-ends-are-rules.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..model.numbers import MAIN, SERVICE_END, SERVICE_MAIN, SERVICE_OWN, SERVICE_TABLE, SPLIT, Numbers
from ..model.routing import Action, Rule
from ..model.view import Service
from ..model.words import Family, Prefix, host
from ..model.world import Uncopied
from .membership import Member
from .naming import mac_text, technology
from .order import TECHNOLOGIES
from .tables import Borrowing


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


@dataclass(frozen=True, slots=True)
class Ground:
    """What verdicts depend on beside the service.

    Args:
        uncopied: routes of main that cannot be expressed.
        borrowing: by family, who may send main's default traffic with whose address.
        allow_borrowed: route services all the same.
        sources: where gateways are asked for.
    """

    uncopied: tuple[Uncopied, ...]
    borrowing: Mapping[Family, Borrowing | None]
    allow_borrowed: bool
    sources: tuple[str, ...]


Verdicts = Mapping[Family, Verdict]


def verdicts(member: Member, ground: Ground) -> Verdicts:
    """Tell whether a service is routed, in each family.

    Args:
        member: the service.
        ground: what else counts.
    """
    return {family: _verdict(member, family, ground) for family in Family}


def _verdict(member: Member, family: Family, ground: Ground) -> Verdict:
    by = ground.borrowing[family]
    if not member.settings.multipath_routing:
        return Verdict(routed=False, because="MultipathRouting is off")
    if not member.settings.autoconnect:
        return Verdict(routed=False, because="AutoConnect is off")
    if not member.addresses(family) and not member.left_behind(family):
        return Verdict(routed=False, because=f"no {family.label} address")
    for uncopied in ground.uncopied:
        if uncopied.family is family and member.link.index in uncopied.indexes:
            because = f"main's route {uncopied.destination} by it cannot be copied ({uncopied.why})"
            return Verdict(routed=False, because=because)
    if by is not None and _borrowed(member, family, by) and not ground.allow_borrowed:
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
    return Verdict(routed=False, because=f"no gateway known (asked: {', '.join(ground.sources)})")


def _borrowed(member: Member, family: Family, by: Borrowing | None) -> bool:
    """Whether main's default traffic may go out with this service's address by another device."""
    if by is None or not by.addresses or member.link.index in by.indexes:
        return False
    return any(a.address in by.addresses for a in member.addresses(family))


def shown(member: Member, verdicts: Verdicts) -> Service:
    """Give a service as it is shown.

    Args:
        member: the service.
        verdicts: what was decided.
    """
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


def order(places: Mapping[str, int], member: Member) -> tuple[bool, int, int, int]:
    """Give what services are sorted by: connected ones first, then as people have put them, by technology, by index.

    Args:
        places: of services that people have put in order.
        member: the service.
    """
    kind, place = TECHNOLOGIES.index(technology(member.link)), places.get(member.id, len(places))
    return (not member.state.connected, place, kind, member.link.index)


Sources = tuple[tuple[Prefix, Family], ...]


def sources(member: Member, decided: Verdicts) -> Sources:
    """Give the sources of a service that have rules, if no other one has them: its routed addresses, and those that are
    gone with the link's being up.

    Args:
        member: the service.
        decided: whether it is routed.
    """
    out: list[tuple[Prefix, Family]] = []
    for family in Family:
        if decided[family].routed:
            every = (*member.left_behind(family), *(host(a.address) for a in member.addresses(family)))
            out.extend((source, family) for source in dict.fromkeys(every))
    return tuple(out)


def claims(wanted: Iterable[tuple[str, Sources]]) -> Mapping[str, Sources]:
    """Give the sources that have rules, by service: of two links with one address the first in order has it.

    Args:
        wanted: services in their order, and their sources.
    """
    taken: set[tuple[Prefix, Family]] = set()
    out: dict[str, Sources] = {}
    for name, sources in wanted:
        out[name] = sources if taken.isdisjoint(sources) else tuple(one for one in sources if one not in taken)
        taken.update(sources)
    return out


def rules(numbers: Numbers, table: int, sources: Sources) -> frozenset[Rule]:
    """Give the rules of a service.

    Args:
        numbers: protocol and priorities.
        table: the service's.
        sources: its addresses.
    """
    return frozenset(rule for source, family in sources for rule in service_rules(numbers, table, source, family))
