"""Which links are services, what they can do now, and by which gateways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from ..model.numbers import MAIN
from ..model.policy import Policy, ServiceSettings
from ..model.renew import renew
from ..model.routing import Rule
from ..model.words import Family, Prefix, ServiceState, family_of, host
from ..model.world import Gateway, Link, LinkAddress, World
from .naming import capable, identifiers
from .recall import Recall
from .settings import effective


@dataclass(frozen=True, slots=True)
class Member:
    """A link that is a service, with what was decided about it.

    Args:
        id: service identifier.
        link: the link.
        table: its routing table.
        settings: in effect.
        gateways: most trusted first.
        state: how far it has come.
        ruled: its addresses that have rules of ours in the kernel now.
        kept: addresses that had to go because the link was set down, and still have rules: IPv6 loses its addresses
            then, but sockets bound to them go on sending, and would leave by another link (law 1).
    """

    id: str
    link: Link
    table: int
    settings: ServiceSettings
    gateways: tuple[Gateway, ...]
    state: ServiceState
    ruled: frozenset[Prefix]
    kept: frozenset[Prefix] = frozenset()
    _usable: Mapping[Family, tuple[LinkAddress, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # A pass asks fifty times, and nearly all members are those of the last pass.
        found = {f: tuple(a for a in self.link.addresses if a.family is f and a.usable) for f in Family}
        object.__setattr__(self, "_usable", found)

    @property
    def wanted(self) -> bool:
        """Whether people want it multipath-routed."""
        return self.settings.multipath_routing and self.settings.autoconnect

    @property
    def way_out(self) -> bool:
        """Whether it leads to more than its own neighbours, or did until a moment ago: else it is a LAN of main's."""
        return bool(self.gateways or self.link.point_to_point or self.ruled or self.kept)

    def addresses(self, family: Family) -> tuple[LinkAddress, ...]:
        """Give its addresses that sockets may use.

        Args:
            family: of this family.
        """
        return self._usable[family]

    def left_behind(self, family: Family) -> tuple[Prefix, ...]:
        """Give the addresses that are gone with the link's being up, and keep their rules.

        Args:
            family: of this family.
        """
        return tuple(sorted(prefix for prefix in self.kept if family_of(prefix) is family))

    def uplink(self, family: Family) -> bool:
        """Tell whether traffic of a family can leave by it.

        Args:
            family: the family.
        """
        return self.will_be_uplink(family) and any(not a.tentative for a in self.addresses(family))

    def will_be_uplink(self, family: Family) -> bool:
        """Tell the same, or that only the check for duplicates stands in the way: rules are there when it is over.

        Args:
            family: the family.
        """
        way = self.link.point_to_point or any(g.family is family for g in self.gateways)
        return self.link.carrier and way and bool(self.addresses(family))


def matches(link: Link, service: str, pattern: str) -> bool:
    """Tell whether a pattern of [uplinks] or a name in [sources] means a link.

    Args:
        link: the link.
        service: its identifier.
        pattern: interface name or service identifier, with * ? [..]; or a hardware address in any notation.
    """
    if fnmatchcase(link.name, pattern) or fnmatchcase(service, pattern):
        return True
    return bool(link.mac) and mac_of(pattern) == link.mac


def mac_of(text: str) -> bytes:
    """Give the bytes of a hardware address, empty if the text is none.

    Args:
        text: "36:e0:bd:ee:60:14", "36-E0-BD-EE-60-14", "36e0.bdee.6014" ...
    """
    if sum(c in "0123456789abcdefABCDEF" for c in text) != 12:
        return b""
    from netaddr import EUI, AddrFormatError

    try:
        return bytes(EUI(text).words)
    except (AddrFormatError, ValueError):
        return b""


def _admitted(link: Link, include: tuple[str, ...], exclude: tuple[str, ...]) -> bool:
    name = next(iter(identifiers([link]).values()))
    if any(matches(link, name, pattern) for pattern in exclude):
        return False
    # A bridge that carries the uplink (a host of virtual machines) is let in by its plain name.
    if link.name in include and not link.loopback and not link.master:
        return True
    return capable(link) and (not include or any(matches(link, name, p) for p in include))


def _state(member: Member) -> ServiceState:
    if not member.link.carrier:
        return ServiceState.IDLE
    if any(member.uplink(family) for family in Family):
        return ServiceState.READY
    return ServiceState.CONFIGURATION


def _ruled(here: frozenset[Rule], had: frozenset[Rule]) -> Mapping[int, frozenset[Prefix]]:
    """The sources that have rules of ours, or had them until somebody took them away, by table."""
    found: dict[int, set[Prefix]] = {}
    for rules in (here,) if here == had else (here, had):
        for rule in rules:
            if not rule.mask and rule.source and rule.table not in {0, MAIN}:  # most are sessions', and have a mask
                found.setdefault(rule.table, set()).add(rule.source)
    return {table: frozenset(sources) for table, sources in found.items()}


def _vanished(gone: frozenset[Prefix]) -> frozenset[Prefix]:
    """Those that the kernel took: IPv4 addresses stay on a link that is set down, so a missing one was removed."""
    return frozenset(prefix for prefix in gone if family_of(prefix) is Family.INET6)


def _trusted(found: tuple[Gateway, ...], order: tuple[str, ...]) -> tuple[Gateway, ...]:
    """Gateways by trust; those of sources that are not asked are left out."""
    rank = {source: n for n, source in enumerate(order)}
    asked = (gateway for gateway in found if gateway.source in rank)
    return tuple(sorted(asked, key=lambda g: (g.family, rank[g.source], g.metric)))


def _member(
    link: Link,
    name: str,
    table: int,
    settings: ServiceSettings,
    gateways: tuple[Gateway, ...],
    ruled: frozenset[Prefix],
    gone: frozenset[Prefix],
) -> Member:
    member = Member(
        id=name,
        link=link,
        table=table,
        settings=settings,
        gateways=gateways,
        state=ServiceState.IDLE,
        ruled=ruled,
        kept=frozenset() if link.up else _vanished(gone),
    )
    return renew(member, state=_state(member))


def members(world: World, policy: Policy, recall: Recall) -> tuple[Member, ...]:
    """Give the services.

    Args:
        world: what was found.
        policy: what is wished for.
        recall: what the last pass worked out.
    """
    every = tuple(world.links.values())
    links = tuple(link for link in every if recall.of(link.index, _admitted, link, policy.include, policy.exclude))
    names = recall.of("names", identifiers, links)
    ruled = recall.of("ruled", _ruled, world.have.rules, world.had)
    present = recall.of("present", _present, every)
    out: list[Member] = []
    for link in links:
        table, name = policy.numbers.table(link.index), names[link.index]
        gateways = recall.of(link.index, _trusted, world.gateways.get(link.index, ()), policy.source_order)
        settings = recall.of(name, effective, policy.defaults, policy.stored, name)
        mine = ruled.get(table, NO_PREFIX)
        here = mine & recall.of(link.index, _present, (link,))
        out.append(recall.of(link.index, _member, link, name, table, settings, gateways, here, mine - present))
    return tuple(out)


NO_PREFIX: frozenset[Prefix] = frozenset()


def _present(links: tuple[Link, ...]) -> frozenset[Prefix]:
    return frozenset(host(address.address) for link in links for address in link.addresses)
