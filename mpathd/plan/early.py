"""Early rules: an unbound socket of a session is given the right source by its first route lookup.

Without one the kernel looks up twice: first without a mark, and then the source is chosen for good; marked packets are
routed again, and translated. A rule can say a user, a destination, a protocol and ports, so it can catch the first
lookup. What a rule cannot say is left to the packet engine, which stands behind all of this.

Rule 1: an early rule sees only lookups that have no source yet, since a bound socket's, and an answer's, has one: in
IPv4 `from 0.0.0.0`; in IPv6, where a rule with a source is skipped while there is none (net/ipv6/fib6_rules.c), two
rules ahead send whatever has one past them. And only lookups without a session's mark: a marked packet is routed by its
mark.
Rule 2: among sessions the order is that of the packet engine's maps. Priorities depend only on how specific a selector
is and on what it overlaps with, so that sessions come and go without moving the rules of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

from ..model.numbers import (
    AS_WITHOUT,
    EARLY_BAND,
    EARLY_NEVER,
    EARLY_OPEN,
    EARLY_SERVERS,
    EARLY_SOURCED,
    EARLY_SPORT,
    MAIN,
    SPLIT,
    Numbers,
)
from ..model.routing import Action, Rule, Traffic
from ..model.selector import PROTOCOLS, FlowSelector
from ..model.session import Session
from ..model.words import Family, Prefix, Technology
from .membership import Member
from .naming import technology
from .recall import Recall
from .sessions import Choice
from .shapes import Key, key

T = TypeVar("T")
Span = tuple[tuple[int, int], ...]
EVERYTHING = (0, 1 << 128)


@dataclass(frozen=True, slots=True)
class Match:
    """What a session catches by a user or a selector.

    Args:
        session: its number.
        priority: of the session.
        born: when the session came; lower is older.
        user: the socket's user; None is any.
        flow: the packet's fields.
        key: what a packet must have, as the packet engine sees it.
        span: the same as ranges of destination, source port and destination port, to see overlaps.
    """

    session: int
    priority: int
    born: int
    user: int | None
    flow: FlowSelector
    key: Key
    span: Span

    @classmethod
    def of(cls, session: Session, user: int | None, flow: FlowSelector) -> Match:
        """Give what a session catches by one of its users, or selectors.

        Args:
            session: the session.
            user: the socket's user; None is any.
            flow: the packet's fields.
        """
        found = key(user, flow)
        ranges = dict(zip((words.split()[-1] for words in found[0]), found[2], strict=True))
        span = tuple(ranges.get(word, EVERYTHING) for word in ("daddr", "sport", "dport"))
        return cls(session.number, session.settings.priority, session.born, user, flow, found, span)


STEPS = 3  # rules of one traffic: the session's specifics, main's specifics, the session's table
LAST_PORT = 65534  # the last that a rule can say
NO_SOURCE = {Family.INET: Prefix("0.0.0.0/32"), Family.INET6: None}

# What is never a session's traffic (mpathd-policy(5)) as far as a lookup can tell; the packet engine has its own list.
NEVER = {
    Family.INET: (
        *(Traffic(Prefix(net)) for net in ("169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32")),
        Traffic(ipproto=PROTOCOLS["udp"], sport=(68, 68), dport=(67, 67)),
    ),
    Family.INET6: (
        *(Traffic(Prefix(net)) for net in ("fe80::/10", "ff00::/8")),
        Traffic(ipproto=PROTOCOLS["udp"], sport=(546, 546), dport=(547, 547)),
    ),
}
# A datagram from a port below the ephemeral ones (net.ipv4.ip_local_port_range) is a server's answer, mostly: only
# conntrack knows, and comes later. connect() looks up before there is a port at all.
SERVERS = (None, EARLY_SERVERS, Traffic(ipproto=PROTOCOLS["udp"], sport=(1, 32767)))
SOURCED = tuple((Prefix(half), EARLY_SOURCED, Traffic()) for half in ("::/1", "8000::/1"))
PAST = {Family.INET: (SERVERS,), Family.INET6: (*SOURCED, SERVERS)}


Said = tuple[int | None, FlowSelector]  # a user, or anybody, and the packet's fields


def _protocols(user: int | None, flow: FlowSelector) -> tuple[int | None, ...]:
    """The protocols to name. What is as good as everything is kept to what sockets speak: tunnels of the kernel are
    root's, as a rule sees it.
    """
    if flow.protocol is not None or flow.destination is not None or user:
        return (flow.protocol,)
    return (PROTOCOLS["tcp"], PROTOCOLS["udp"], PROTOCOLS["icmp"], PROTOCOLS["icmpv6"])


def _sayable(flow: FlowSelector) -> bool:
    return all(ports is None or ports[1] <= LAST_PORT for ports in (flow.sport, flow.dport))


def _said(session: Session) -> Iterator[Said]:
    """Everything of a session that may have a rule, users first: they are few, and say most."""
    settings = session.settings
    only = settings.only_user
    users = ((user, FlowSelector()) for user in settings.users if only in {None, user})
    return chain(users, ((only, flow) for flow in _unbound(session)))


def _unbound(session: Session) -> list[FlowSelector]:
    """The selectors that may mean unbound sockets: one with a source means those that have it."""
    return [flow for flow in session.settings.selectors if flow.source is None]


@dataclass(frozen=True, slots=True)
class Caught:
    """What of a session has early rules.

    Args:
        matches: that.
        missed: what has none, in words; empty if all has. A selector with a source means bound sockets.
    """

    matches: tuple[Match, ...]
    missed: str


def caught(session: Session, limit: int) -> Caught:
    """Give what of a session has early rules; ten thousand selectors take 25 ms to look through.

    Args:
        session: the session.
        limit: rules of one family that it may have.
    """
    found = _caught(session, limit)
    return Caught(found, _uncaught(session, found))


def _caught(session: Session, limit: int) -> tuple[Match, ...]:
    out: list[Match] = []
    left = limit // STEPS
    for user, flow in _said(session):
        if left <= 0:
            break
        if not _sayable(flow):
            continue
        cost = 1 if len(_protocols(user, flow)) == 1 else STEPS  # icmp and icmpv6 are of one family each
        if cost <= left:
            out.append(Match.of(session, user, flow))
            left -= cost
    return tuple(out)


def _uncaught(session: Session, found: tuple[Match, ...]) -> str:
    settings = session.settings
    groups = len(settings.groups)
    named = len(_unbound(session)) + len(settings.users)
    others = named - len(found)
    parts = ((groups, "group"), (others, "selector or user" if settings.users else "selector"))
    return " and ".join(f"{count} {word}{'s' if count > 1 else ''}" for count, word in parts if count > 0)


def _places(found: tuple[Match, ...]) -> tuple[int | None, ...]:
    """Give the offset of each match's first priority; None where there is no place."""
    bands: dict[int, list[int]] = {}
    for place, match in enumerate(found):
        count = len(match.key[0])
        band = EARLY_SPORT + (5 - count) * EARLY_BAND if match.flow.sport else EARLY_OPEN + (4 - count) * EARLY_BAND
        bands.setdefault(band, []).append(place)
    ranks = {place: (band, rank) for band, inside in bands.items() for place, rank in _ranked(found, inside)}
    spots = (ranks[place] for place in range(len(found)))
    return tuple(band + rank * STEPS if (rank + 1) * STEPS <= EARLY_BAND else None for band, rank in spots)


def _ranked(found: tuple[Match, ...], inside: list[int]) -> Iterator[tuple[int, int]]:
    """One behind the other where they overlap, best first; side by side where they do not."""
    shapes: dict[tuple[str, ...], list[int]] = {}
    for place in inside:
        shapes.setdefault(found[place].key[0], []).append(place)
    best = {
        shape: (-max(found[p].priority for p in of), min((found[p].born, found[p].session) for p in of), shape)
        for shape, of in shapes.items()
    }

    def good(place: int) -> tuple[int, int, int, int]:
        match = found[place]
        return (match.key[3], -match.priority, match.born, match.session)

    order = (place for shape in sorted(shapes, key=best.__getitem__) for place in sorted(shapes[shape], key=good))
    # By user, protocol and port: only neighbours of the same one, or of an open one, can overlap.
    near: dict[int | None, dict[int | None, dict[int | None, list[tuple[Match, int]]]]] = {}
    for place in order:
        match, rank = found[place], 0
        user, protocol, port = match.user, match.flow.protocol, _port(match.flow.dport)
        for protocols in _near(near, user):
            for ports in _near(protocols, protocol):
                for others in _near(ports, port):
                    for other, level in others:
                        if level >= rank and other.session != match.session and _overlap(match.span, other.span):
                            rank = level + 1
        near.setdefault(user, {}).setdefault(protocol, {}).setdefault(port, []).append((match, rank))
        yield place, rank


def _overlap(one: Span, other: Span) -> bool:
    for (low, high), (first, last) in zip(one, other, strict=True):  # noqa: SIM110 - all() takes twice as long
        if low > last or first > high:
            return False
    return True


def _port(ports: tuple[int, int] | None) -> int | None:
    """The one port that is meant; None: several."""
    return ports[0] if ports is not None and ports[0] == ports[1] else None


def _near(groups: Mapping[int | None, T], value: int | None) -> Iterable[T]:
    """The groups of a value and the open one; all of them for what is open itself."""
    return groups.values() if value is None else [groups[near] for near in (value, None) if near in groups]


def _traffics(match: Match, family: Family, bearer: Technology) -> Iterator[Traffic]:
    flow: FlowSelector = match.flow
    if flow.family not in {None, family}:
        return
    if not match.user and flow.destination is None and bearer is Technology.VPN:
        return  # the kernel's tunnels are root's: what carries the tunnel would be led into it
    for protocol in _protocols(match.user, flow):
        if FlowSelector(protocol=protocol).family in {None, family}:
            yield Traffic(flow.destination, match.user, protocol, flow.sport, flow.dport)


def rules(
    choices: Iterable[Choice], of: Mapping[int, Caught], numbers: Numbers, recall: Recall
) -> tuple[frozenset[Rule], ...]:
    """Give the early rules of all sessions that have some.

    Args:
        choices: the sessions and their services.
        of: what of each session has early rules, by its number.
        numbers: priorities and marks.
        recall: what the last pass worked out.
    """
    found = [choice for choice in choices if choice.defaults and of[choice.session.number].matches]
    places = recall.of("places", _places, tuple(m for c in found for m in of[c.session.number].matches))
    out, first = [], 0
    for choice in found:
        number = choice.session.number
        mine = of[number].matches
        spots, first = places[first : first + len(mine)], first + len(mine)
        out.append(recall.of(number, _rules, choice.defaults, mine, spots, numbers.mark(number), numbers))
    return tuple(out)


def _rules(
    ways: Mapping[Family, Member],
    matches: tuple[Match, ...],
    places: tuple[int | None, ...],
    table: int,
    numbers: Numbers,
) -> frozenset[Rule]:
    return frozenset(
        Rule(
            family, numbers.priority(place + step), NO_SOURCE[family], where, suppress,
            mask=numbers.mark_mask, traffic=traffic, protocol=numbers.protocol,
        )
        for match, place in zip(matches, places, strict=True)
        if place is not None
        for family, member in ways.items()
        for traffic in _traffics(match, family, technology(member.link))
        for step, (where, suppress) in enumerate(((table, 0), (MAIN, SPLIT[family]), (table, None)))
    )  # fmt: skip


def exceptions(numbers: Numbers) -> frozenset[Rule]:
    """Give the rules that send past all sessions what is never theirs, or has a source already.

    Args:
        numbers: priorities.
    """
    return frozenset(_exceptions(numbers))


def _exceptions(numbers: Numbers) -> Iterator[Rule]:
    ours, target = numbers.protocol, numbers.priority(AS_WITHOUT)
    never = numbers.priority(EARLY_NEVER)
    for family in Family:
        yield Rule(family, target, action=Action.NOP, protocol=ours)
        for traffic in NEVER[family]:
            yield Rule(family, never, action=Action.GOTO, traffic=traffic, target=target, protocol=ours)
        for source, where, traffic in PAST[family]:
            yield Rule(
                family, numbers.priority(where), source, mask=numbers.mark_mask,
                action=Action.GOTO, traffic=traffic, target=target, protocol=ours,
            )  # fmt: skip
