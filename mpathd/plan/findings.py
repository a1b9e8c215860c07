"""Troubles that can be seen in one look; each goes by itself when its cause does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..model.marking import home
from ..model.numbers import SPLIT
from ..model.policy import Policy
from ..model.routing import Rule
from ..model.session import Origin
from ..model.view import Finding, Service
from ..model.words import Family, Prefix, Severity, host
from ..model.world import Stranger, World
from .membership import Member
from .naming import unsayable
from .picked import listed, told, unfit
from .prefixes import span
from .sockets import named
from .tables import best_default, borrowing

STRICT = 1  # of rp_filter
Found = tuple[Finding, ...]
RANK = {Severity.HIGH: 0, Severity.MEDIUM: 1, Severity.LOW: 2}


@dataclass(frozen=True, slots=True)
class Scene:
    """What checks look at.

    Args:
        world: what was found.
        policy: what is wished for.
        members: the services, with what was decided about them.
        services: the same, as shown.
    """

    world: World
    policy: Policy
    members: tuple[Member, ...]
    services: tuple[Service, ...]


@dataclass(frozen=True, slots=True)
class Sessions:
    """What the checks of sessions look at.

    Args:
        policy: what is wished for.
        rules: of others.
        strangers: chains of others in nft that use bits of marks.
        services: as shown.
        missed: what of a session has no early rules, in words.
        unmarked: why no socket is marked; empty if they are.
        homes: control groups that are there to be entered.
    """

    policy: Policy
    rules: tuple[Rule, ...]
    strangers: tuple[Stranger, ...]
    services: tuple[Service, ...]
    missed: tuple[str, ...]
    unmarked: str
    homes: frozenset[str]


def _rp_filter(scene: Scene) -> Iterator[Finding]:
    """A strict filter asks by which link the answer would go. Source rules answer "by this one"; without them the
    answer is main's best default, and what comes in elsewhere is dropped.
    """
    best = best_default(scene.world.main, Family.INET)
    leaves_by = {hop.index for hop in best.hops} if best else set()
    for member, service in zip(scene.members, scene.services, strict=True):
        strict = max(member.link.rp_filter, scene.world.rp_filter_all) == STRICT
        if strict and member.uplink(Family.INET) and not service.routed and member.link.index not in leaves_by:
            name = member.link.name
            yield Finding(
                "rp-filter-strict",
                Severity.MEDIUM,
                f"{name} drops what comes in by it: rp_filter is strict and main's default is another link",
                f"mpathctl config {name} --mpath_routing yes, or: sysctl -w net.ipv4.conf.{name}.rp_filter=2",
            )


def _arp_flux(scene: Scene) -> Iterator[Finding]:
    """Two links in one subnet: by default the kernel answers ARP for an address on any link that hears of it."""
    subnets: dict[tuple[int, int], list[Member]] = {}
    for member in scene.members:
        if not member.link.carrier:
            continue
        own = [a for a in member.addresses(Family.INET) if a.bits < 31]
        for first, bits in {(span(host(a.address))[0] >> (32 - a.bits), a.bits) for a in own}:
            subnets.setdefault((first, bits), []).append(member)
    for sharing in subnets.values():
        loose = [m.link.name for m in sharing if not max(m.link.arp_ignore, scene.world.arp_ignore_all)]
        if len(sharing) > 1 and loose and any(m.wanted for m in sharing):
            names = ", ".join(m.link.name for m in sharing)
            sets = " ".join(f"net.ipv4.conf.{n}.arp_ignore=1 net.ipv4.conf.{n}.arp_announce=2" for n in loose)
            yield Finding(
                "arp-flux",
                Severity.MEDIUM,
                f"{names} share a subnet and answer ARP for each other: requests may come in by the wrong one",
                f"sysctl -w {sets}",
            )


def _twice(scene: Scene) -> Iterator[Finding]:
    owners: dict[str, list[str]] = {}
    for member in scene.members:
        # A link may have an address in several prefixes.
        for address in dict.fromkeys(a.address for a in member.link.addresses if a.usable):
            owners.setdefault(address, []).append(member.link.name)
    for twice, names in owners.items():
        if len(names) > 1:
            text = f"{twice} is on {' and '.join(names)}: its traffic leaves by {names[0]}"
            yield Finding("address-twice", Severity.MEDIUM, text, f"ip address del {twice} dev {names[-1]}")


def _nameless(scene: Scene) -> Iterator[Finding]:
    for member in scene.members:
        if member.way_out and unsayable(member.link.name):
            text = f"nft has no words for the name of {member.link.name}: no session can use the link"
            yield Finding("link-name", Severity.MEDIUM, text, "give it another name: ip link set dev OLD name NEW")


def _borrowed(scene: Scene) -> Iterator[Finding]:
    if scene.policy.allow_borrowed:
        return
    for family in Family:
        by = borrowing(scene.world.main, scene.world.lent, family)
        if by is None:
            continue
        for member in scene.members:
            mine = {a.address for a in member.addresses(family)} & by.addresses
            if member.wanted and mine and member.link.index not in by.indexes:
                yield Finding(
                    "address-borrowed",
                    Severity.HIGH,
                    f"{by.device} has main's {family.label} default and sends with {min(mine)} of {member.link.name}, "
                    "which is therefore not multipath-routed",
                    f"give {by.device} an address of its own, or set allow_borrowed = true in [uplinks]",
                )


def _uncopied(scene: Scene) -> Iterator[Finding]:
    for member in scene.members:
        for item in scene.world.uncopied:
            if member.wanted and member.link.index in item.indexes:
                yield Finding(
                    "not-copied",
                    Severity.HIGH,
                    f"{member.link.name} is not multipath-routed in {item.family.label}: main's route "
                    f"{item.destination} by it has {item.why}, which a copy would lose",
                    f"ip {item.family.option} route show {item.destination} dev {member.link.name}",
                )


def _gateway(scene: Scene) -> Iterator[Finding]:
    for member in scene.members:
        stored = scene.policy.stored.services.get(member.id, {}).get("multipath_routing")
        gone = member.ruled and member.link.carrier and not any(member.uplink(family) for family in Family)
        if (stored and member.wanted and member.state.value == "configuration") or gone:
            yield Finding(
                "no-gateway",
                Severity.MEDIUM,
                f"{member.link.name} is to be multipath-routed and has no gateway (asked: "
                f"{', '.join(scene.policy.source_order)})",
                f"ip route add default via GATEWAY dev {member.link.name} metric 1000, or set [sources] static",
            )


def _long_split(scene: Scene) -> Iterator[Finding]:
    """A VPN that covers everything with prefixes longer than /1 is taken for specifics, and swallows the uplinks."""
    for family in Family:
        by_link: dict[int, list[Prefix]] = {}
        for route in scene.world.main:
            bits = span(route.destination)[2]
            if route.family is family and 0 < bits <= SPLIT[family] + 4:
                for hop in route.hops:
                    by_link.setdefault(hop.index, []).append(route.destination)
        for index, prefixes in by_link.items():
            longer = [prefix for prefix in prefixes if span(prefix)[2] > SPLIT[family]]
            if longer and _covers(prefixes, family) and not _covers([p for p in prefixes if p not in longer], family):
                name = scene.world.links[index].name if index in scene.world.links else str(index)
                yield Finding(
                    "long-split-default",
                    Severity.HIGH,
                    f"{name} covers all of {family.label} with {len(longer)} routes longer than "
                    f"/{SPLIT[family]}: bound and session traffic follows them",
                    "let the VPN set 0.0.0.0/1 and 128.0.0.0/1, or a default with a metric",
                )


def _covers(prefixes: list[Prefix], family: Family) -> bool:
    from netaddr import cidr_merge

    whole = ("0.0.0.0/0",) if family is Family.INET else ("::/0", "2000::/3")
    return any(str(merged) in whole for merged in cidr_merge(list(prefixes)))


def _walled(scene: Scene) -> Iterator[Finding]:
    """An error route of others in a service's table."""
    tables = {m.table: m for m, s in zip(scene.members, scene.services, strict=True) if s.routed}
    for family, table, words in scene.world.walls:
        if (member := tables.get(table)) is not None:
            text = (
                f"table {table} of {member.link.name} has an error route of another program, which its traffic may hear"
            )
            cure = f"ip {family.option} route del {words} table {table}"
            yield Finding("table-taken", Severity.HIGH, f"{text}: {words}", cure)


def _dead_end(scene: Scene) -> Iterator[Finding]:
    """An error route is not suppressed: where main's best default is one, no table behind main is ever asked."""
    for family, metric in scene.world.dead_ends.items():
        best = best_default(scene.world.main, Family(family))
        routed = [s.interface for m, s in zip(scene.members, scene.services, strict=True)
                  if s.routed and m.addresses(Family(family))]  # fmt: skip
        if routed and (best is None or best.metric > metric):
            option = Family(family).option
            yield Finding(
                "main-unreachable",
                Severity.HIGH,
                f"main's best {Family(family).label} default is an error route (metric {metric}): traffic bound to "
                f"{', '.join(routed)} hears its error too",
                f"see: ip {option} route show type unreachable; give it a rule of its own behind mpathd's",
            )


def _taken(scene: Scene) -> Iterator[Finding]:
    """Routes of others in a service's table: they are not touched, and its traffic follows them where they win."""
    tables = {m.table: m for m, s in zip(scene.members, scene.services, strict=True) if s.routed}
    for route in scene.world.foreign:
        if (member := tables.get(route.table)) is not None:
            yield Finding(
                "table-taken",
                Severity.HIGH,
                f"table {route.table} of {member.link.name} has a route of another program, which its traffic may "
                f"follow: {route.words()}",
                f"ip {route.family.option} route del {route.words()}, or set another table_base in [numbers]",
            )


def _marks(scene: Sessions) -> Iterator[Finding]:
    """Rules of others, of `ip` and of nft, that use bits of our marks; sessions avoid marks that `ip` rules match."""
    mask = scene.policy.numbers.mark_mask
    cure = "give mpathd other bits: mark_mask and mark_base in [numbers]"
    rules = [rule for rule in scene.rules if rule.mask & mask and rule.mark & mask]
    if scene.policy.sessions and rules:
        text = f"{len(rules)} rules of others use bits of mpathd's mark mask {mask:#x}, for example: {rules[0].words()}"
        yield Finding("mark-shared", Severity.LOW, text, cure)
    chains = [stranger.chain for stranger in scene.strangers if stranger.bits & mask]
    if scene.policy.sessions and chains:
        text = f"{len(chains)} nft chains of others use bits of mpathd's mark mask {mask:#x}, for example: {chains[0]}"
        yield Finding("mark-shared", Severity.LOW, text, f"see: nft list chain {chains[0]}; {cure}")


def _unbound(scene: Sessions) -> Iterator[Finding]:
    """Sessions that law 3 holds for only in part: neither a rule nor a control group catches some of their sockets."""
    limit = scene.policy.early_rules
    for session, missed in zip(scene.policy.sessions, scene.missed, strict=True):
        if missed:
            text = (
                f"session {session.settings.name}: sockets of {missed} that are bound to no address get main's source: "
                "they are translated, or leave by the service that has it if that is in MultipathRoutedServices"
            )
            cure = f"name users or a control group instead, or raise early_rules in [sessions] ({limit})"
            yield Finding("unbound-sockets", Severity.LOW, text, cure)


def _unmarked(scene: Sessions) -> Iterator[Finding]:
    """What the packet engine alone cannot tell: control groups, and whose a subflow is that the kernel joins."""
    if not (why := scene.unmarked):
        return
    needs = "set socket_engine = true in [sessions]"
    if scene.policy.socket_engine:
        needs = "let mpathd have cgroup v2 and bpf(2)"
    for settings in (session.settings for session in scene.policy.sessions):
        entered = home(settings.name)
        for group in filter(None, (named(settings), entered if entered in scene.homes else "")):
            text = f"session {settings.name}: what runs in control group {group} is not its traffic: {why}"
            cure = f"{needs}, or name users or flow_selectors"
            yield Finding("unmarked-group", Severity.HIGH, text, cure)
        if settings.users or settings.groups or settings.only_user is not None:
            text = (
                f"session {settings.name}: subflows that the kernel joins to MPTCP connections of its users and groups "
                f"are not its traffic, and leave by any link that has an endpoint: {why}"
            )
            yield Finding("unheld-subflows", Severity.LOW, text, f"{needs}, or name flow_selectors")


def _members(scene: Sessions) -> Iterator[Finding]:
    """Services named by hand that cannot be members; a client, and whoever is bound by a policy, need not be told."""
    for settings in (session.settings for session in scene.policy.sessions):
        if settings.origin is Origin.DBUS or settings.bounds:
            continue
        if wrong := unfit(settings.services or (), scene.services):
            text = (
                f"multipath_routed_services of session {settings.name} ({settings.owner}) cannot have {told(wrong)}; "
                f"services that can be given: {listed(scene.services)}"
            )
            cure = f"see: mpathctl services; mpathctl config {next(iter(wrong))} --mpath_routing yes, or name another"
            yield Finding("member-missing", Severity.MEDIUM, text, cure)


CHECKS: tuple[Callable[[Scene], Iterator[Finding]], ...] = (
    _rp_filter,
    _arp_flux,
    _twice,
    _nameless,
    _borrowed,
    _uncopied,
    _gateway,
    _long_split,
    _taken,
    _dead_end,
    _walled,
)
SESSION_CHECKS: tuple[Callable[[Sessions], Iterator[Finding]], ...] = (_marks, _unbound, _unmarked, _members)


def of_services(scene: Scene) -> Found:
    """Give the troubles of services.

    Args:
        scene: what to look at.
    """
    return tuple(finding for check in CHECKS for finding in check(scene))


def of_sessions(scene: Sessions) -> Found:
    """Give the troubles of sessions.

    Args:
        scene: what to look at.
    """
    return tuple(finding for check in SESSION_CHECKS for finding in check(scene))


def ranked(found: Iterable[Finding]) -> Found:
    """Give troubles once each, gravest first.

    Args:
        found: all of them.
    """
    return tuple(sorted(dict.fromkeys(found), key=lambda f: (RANK[f.severity], f.code, f.text)))
