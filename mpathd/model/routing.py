"""Routes and rules, as the kernel keys them; each prints itself as the command that makes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from functools import lru_cache

from .marking import Marking
from .mptcp import Change
from .numbers import MAIN, METRIC6
from .packet import Connections, Load, Ruleset
from .selector import NAMES, Ports
from .words import Address, Family, Prefix, family_of

# RTA_METRICS (include/uapi/linux/rtnetlink.h, RTAX_*) in the words of `ip route`; numbers without a unit are raw there.
METRICS = {
    2: "mtu", 3: "window", 4: "rtt", 5: "rttvar", 6: "ssthresh", 7: "cwnd", 8: "advmss", 9: "reordering",
    10: "hoplimit", 11: "initcwnd", 12: "features", 13: "rto_min", 14: "initrwnd", 15: "quickack", 16: "congctl",
    17: "fastopen_no_cookie",
}  # fmt: skip
LOCK, RTO_MIN = 1, 13
UNLOCKABLE = {10, 11, 12, 14, 15, 17}  # words that take no "lock"


def metric_words(raw: bytes) -> str:
    """Give a route's metrics in the words of `ip route`.

    Args:
        raw: RTA_METRICS.
    """
    found: dict[int, bytes] = {}
    at = 0
    while at + 4 <= len(raw):
        length, kind = int.from_bytes(raw[at : at + 2], "little"), int.from_bytes(raw[at + 2 : at + 4], "little")
        if length < 4:
            break
        found[kind] = raw[at + 4 : at + length]
        at += (length + 3) & ~3
    locks = int.from_bytes(found.pop(LOCK, b"\0"), "little")
    out = ""
    for kind, value in sorted(found.items()):
        number = int.from_bytes(value, "little")
        match kind:
            case 12:
                text = "ecn" if number & 1 else str(number)
            case 13:
                text = f"{number}ms"  # ip locks it by itself
            case 16:
                text = value.rstrip(b"\0").decode(errors="replace")
            case _:
                text = str(number)
        lock = "lock " if locks >> kind & 1 and kind not in UNLOCKABLE | {RTO_MIN} else ""
        out += f" {METRICS.get(kind, f'metric-{kind}')} {lock}{text}"
    return out


class Action(IntEnum):
    """What a rule does with what it matches (include/uapi/linux/fib_rules.h)."""

    LOOKUP = 1
    GOTO = 2  # go on with the first rule of a priority
    NOP = 3  # nothing: where a goto goes on
    UNREACHABLE = 7
    OTHER = 0  # blackhole, prohibit: never ours


@dataclass(frozen=True, slots=True)
class Hop:
    """One way that a route takes.

    Args:
        index: the interface.
        via: the router's address, of either family; None means that the destination is on the link.
        onlink: the router is on the link although no prefix says so.
        weight: share among several hops, 1 and up.
        realm: IPv4 traffic realm, for accounting (RTA_FLOW), 0 for none.
        encap: encapsulation, type and parameters, as the kernel's own bytes (copied, never made).
        dev: the interface's name, for printing; a rename changes nothing in the kernel's route.
    """

    index: int
    via: Address | None = None
    onlink: bool = False
    weight: int = 1
    encap: bytes = b""
    realm: int = 0
    dev: str = field(default="", compare=False)

    def words(self, family: Family) -> str:
        """The hop in the words of `ip route`.

        Args:
            family: the route's family; a router of the other one is named with its own.
        """
        out = f"encap-bytes {self.encap.hex()} " if self.encap else ""
        if self.via is not None:
            other = family is Family.INET and ":" in self.via
            out += f"via inet6 {self.via} " if other else f"via {self.via} "
        out += f"dev {self.dev or f'if{self.index}'}"
        if self.realm:
            out += f" realm {f'{self.realm >> 16}/' if self.realm >> 16 else ''}{self.realm & 0xFFFF}"
        return out + " onlink" if self.onlink else out


@dataclass(frozen=True, slots=True)
class Route:
    """A unicast route, or a throw.

    Args:
        family: its address family.
        table: the table that holds it.
        destination: prefix; Family.any for a default.
        hops: one or more ways; none for a throw.
        metric: lower wins; 0 is IPv4's default, 1024 IPv6's.
        source: the address that an unbound socket gets.
        link_scope: IPv4's scope link (the destination is on the link).
        tos: type of service key, nearly always 0.
        preference: IPv6 router preference (RFC 4191), 0 medium, 1 high, 3 low.
        metrics: RTA_METRICS as the kernel's own bytes (mtu, hoplimit ...).
        throw: go on with the next rule, as if this table had nothing for the destination.
        protocol: who made it; never part of the comparison, since ours all have one.
    """

    family: Family
    table: int
    destination: Prefix
    hops: tuple[Hop, ...]
    metric: int = 0
    source: Address | None = None
    link_scope: bool = False
    tos: int = 0
    preference: int = 0
    metrics: bytes = b""
    throw: bool = False
    protocol: int = field(default=109, compare=False)

    @property
    def key(self) -> tuple[int, int, str, int, int]:
        """What the kernel tells routes apart by: two with one key cannot both be there."""
        return (self.family, self.table, self.destination, self.metric, self.tos)

    def copied(self, table: int, hops: tuple[Hop, ...], protocol: int) -> Route:
        """Give the same route in another table (spelled out: dataclasses.replace costs four times as much).

        Args:
            table: where.
            hops: the ways that the copy takes.
            protocol: who makes it.
        """
        return Route(
            self.family,
            table,
            self.destination,
            hops,
            self.metric,
            self.source,
            self.link_scope,
            self.tos,
            self.preference,
            self.metrics,
            self.throw,
            protocol,
        )

    @property
    def is_default(self) -> bool:
        """Whether it takes what no other route takes."""
        return self.destination.endswith("/0")

    @property
    def on_link(self) -> bool:
        """Whether no router is involved."""
        return all(hop.via is None for hop in self.hops)

    def words(self) -> str:
        """The route as `ip route add` wants it, without family."""
        out = "throw " if self.throw else ""
        out += "default" if self.is_default else self.destination
        if self.tos:
            out += f" tos {self.tos:#x}"
        if len(self.hops) == 1:
            out += f" {self.hops[0].words(self.family)}"
        if self.table != MAIN:
            out += f" table {self.table}"
        out += f" proto {self.protocol}"
        if self.link_scope and self.family is Family.INET:
            out += " scope link"
        if self.source:
            out += f" src {self.source}"
        if self.metric and (self.family is Family.INET or self.metric != METRIC6):
            out += f" metric {self.metric}"
        out += metric_words(self.metrics)
        if self.preference:
            out += f" pref {'high' if self.preference == 1 else 'low'}"
        if len(self.hops) > 1:
            out += "".join(f" nexthop {hop.words(self.family)} weight {hop.weight}" for hop in self.hops)
        return out

    def __str__(self) -> str:
        return f"ip {self.family.option} route add {self.words()}"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Which of this machine's own packets a rule is for (iif lo); everything open is all of them.

    Args:
        destination: prefix of the destination address.
        user: owner of the socket.
        ipproto: transport protocol.
        sport, dport: first and last port. The kernel takes 1 to 65534 (net/core/fib_rules.c,
            fib_rule_port_range_valid).
    """

    destination: Prefix | None = None
    user: int | None = None
    ipproto: int | None = None
    sport: Ports | None = None
    dport: Ports | None = None

    def words(self) -> str:
        """The traffic in the words of `ip rule`, with a blank before each."""
        out = f" to {_bare(self.destination)}" if self.destination else ""
        out += " iif lo"
        if self.user is not None:
            out += f" uidrange {self.user}-{self.user}"
        if self.ipproto is not None:
            out += f" ipproto {NAMES.get(self.ipproto, self.ipproto)}"
        for word, ports in (("sport", self.sport), ("dport", self.dport)):
            if ports is not None:
                out += f" {word} {ports[0]}" + (f"-{ports[1]}" if ports[0] != ports[1] else "")
        return out


@lru_cache(1024)  # of a few words made thousands of times: there are some for each pair of a session and an uplink
def _bare(prefix: Prefix) -> str:
    address, _, bits = prefix.partition("/")
    return address if int(bits) == family_of(prefix).bits else prefix


@lru_cache(1024)
def _marked(mark: int, mask: int) -> str:
    return f" fwmark {mark:#x}/{mask:#x}"


@dataclass(frozen=True, slots=True)
class Rule:
    """A routing policy rule.

    Args:
        family: its address family.
        priority: rules are tried from low to high.
        source: prefix of the packet's source address; None matches all.
        table: the table that is looked up, 0 for none.
        suppress: ignore a result whose prefix is this long or shorter (bits); None takes any.
        mark, mask: firewall mark under a mask; 0, 0 matches all.
        action: look up the table, or answer unreachable.
        other: every attribute that mpathd never sets itself (a device, several users ...), as bytes: two rules that
            differ there are different rules.
        traffic: only these of the machine's own packets; None is whatever comes.
        target: priority where a goto goes on.
        protocol: who made it; 109 is us.
    """

    family: Family
    priority: int
    source: Prefix | None = None
    table: int = 0
    suppress: int | None = None
    mark: int = 0
    mask: int = 0
    action: Action = Action.LOOKUP
    other: bytes = b""
    traffic: Traffic | None = None
    target: int = 0
    protocol: int = field(default=109, compare=False)

    def words(self) -> str:
        """The rule as `ip rule add` wants it, without family."""
        out = f"pref {self.priority} from {_bare(self.source) if self.source else 'all'}"
        if self.traffic is not None:
            out += self.traffic.words()
        if self.mask:
            out += _marked(self.mark, self.mask)
        match self.action:
            case Action.LOOKUP:
                out += f" lookup {'main' if self.table == MAIN else self.table}"
            case Action.UNREACHABLE:
                out += " unreachable"
            case Action.GOTO:
                out += f" goto {self.target}"
            case Action.NOP:
                out += " nop"
            case Action.OTHER:
                out += " (other)"
        if self.suppress is not None:
            out += f" suppress_prefixlength {self.suppress}"
        return f"{out} proto {self.protocol}"

    def __str__(self) -> str:
        return f"ip {self.family.option} rule add {self.words()}"


@dataclass(frozen=True, slots=True)
class KernelState:
    """What is ours in the kernel, or should be.

    Args:
        routes: routes of our protocol, in any table.
        rules: rules of our protocol.
        packets: our nft table; None where what it holds is not known.
        sockets: control groups whose sockets are marked.
    """

    routes: frozenset[Route] = frozenset()
    rules: frozenset[Rule] = frozenset()
    packets: Ruleset | None = Ruleset()
    sockets: frozenset[Marking] = frozenset()


class Verb(StrEnum):
    """What a step does."""

    ADD = "add"
    REPLACE = "replace"
    APPEND = "append"  # beside a route of others with the same key, which a replace would take for ours
    DELETE = "del"


@dataclass(frozen=True, slots=True)
class Step:
    """One write.

    Args:
        verb: add, replace or delete.
        what: the object.
    """

    verb: Verb
    what: Route | Rule | Load | Connections | Marking | Change

    def __str__(self) -> str:
        what = self.what
        if isinstance(what, Rule):  # first, since a session has dozens of them, and each pass tells of its steps
            return f"ip {what.family.option} rule {self.verb} {what.words()}"
        if isinstance(what, Route):
            return f"ip {what.family.option} route {self.verb} {what.words()}"
        if isinstance(what, Marking) and self.verb is Verb.DELETE:
            return f"{what}, no more"
        return str(what)
