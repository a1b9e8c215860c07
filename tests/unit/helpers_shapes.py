"""Sessions with selectors that overlap, packets, and a narrow model of what nft finds for them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

from mpathd.model.selector import FlowSelector
from mpathd.model.session import Origin, Session, SessionSettings
from mpathd.model.words import Prefix

# A small world, so that selectors overlap often.
SPACE4 = [Prefix(f"{n}/32") for n in ("10.0.0.1", "10.0.0.2", "10.0.1.1")] + [
    Prefix(n) for n in ("10.0.0.0/24", "10.0.0.0/16", "10.0.0.0/31", "0.0.0.0/0")
]
SPACE6 = [Prefix(n) for n in ("fd00::1/128", "fd00::/64", "fd00::/16", "fd00::2/128")]
PORTS = [(1, 1), (2, 2), (1, 2), (2, 3), (1, 4), (3, 4)]
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1", "fd00::2")


def _flow(space: Sequence[Prefix]) -> st.SearchStrategy[FlowSelector]:
    prefix = st.none() | st.sampled_from(space)
    port = st.none() | st.sampled_from(PORTS)
    plain = st.builds(FlowSelector, prefix, prefix, st.none() | st.sampled_from([1, 6, 17, 47]))
    return plain | st.builds(FlowSelector, prefix, prefix, st.sampled_from([6, 17]), port, port)


FLOWS = _flow(SPACE4) | _flow(SPACE6)
Drawn = tuple[list[FlowSelector], list[int], int]  # selectors, users, priority
SESSIONS = st.lists(
    st.tuples(st.lists(FLOWS, max_size=6), st.lists(st.integers(1, 3), max_size=2), st.sampled_from([1, 2])),
    min_size=1,
    max_size=5,
)
# user, source, destination, protocol, source port, destination port
Packet = tuple[int, str, str, int, int, int]
PACKETS = st.tuples(
    st.integers(1, 3),
    st.sampled_from(ADDRESSES),
    st.sampled_from(ADDRESSES),
    st.sampled_from([1, 6, 17, 47]),
    st.integers(1, 5),
    st.integers(1, 5),
).filter(lambda p: (":" in p[1]) == (":" in p[2]))


def sessions(drawn: Sequence[Drawn]) -> tuple[Session, ...]:
    """Give sessions, numbered in their order.

    Args:
        drawn: selectors, users and priority of each.
    """
    return tuple(
        Session(
            SessionSettings(
                f"s{n}",
                Origin.POLICY,
                "x",
                selectors=tuple(dict.fromkeys(flows)),
                users=tuple(users),
                priority=priority,
            ),
            n,
        )
        for n, (flows, users, priority) in enumerate(drawn, 1)
    )


# A narrow model of nft's lookup: the key's fields as numbers, an element's as ranges.

FIELDS = (
    "meta skuid",
    "meta skgid",
    "ip saddr",
    "ip daddr",
    "ip6 saddr",
    "ip6 daddr",
    "meta l4proto",
    "th sport",
    "th dport",
)
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17}


def _value(field: str, packet: Packet) -> int | None:
    """The packet's value; None if the packet has no such field, so that the expression breaks the rule."""
    user, source, destination, protocol, sport, dport = packet
    match field:
        case "meta skuid":
            return user
        case "meta l4proto":
            return protocol
        case "th sport" | "th dport":
            # nft reads the transport header's first words, whatever the protocol is
            return {"th sport": sport, "th dport": dport}[field]
    family, word = field.split()
    address = source if word == "saddr" else destination
    return int(ipaddress.ip_address(address)) if (family == "ip6") is (":" in address) else None


def _range(text: str) -> tuple[int, int]:
    if text in PROTOCOLS:
        return PROTOCOLS[text], PROTOCOLS[text]
    if text.isdigit():
        return int(text), int(text)
    low, dash, high = text.partition("-")
    if dash and low.isdigit():
        return int(low), int(high)
    if dash:
        return int(ipaddress.ip_address(low)), int(ipaddress.ip_address(high))
    network = ipaddress.ip_network(text)
    return int(network[0]), int(network[-1])


def element(text: str) -> list[tuple[int, int]]:
    """Give the ranges of a key.

    Args:
        text: the key, in nft's words.
    """
    return [_range(part) for part in text.split(" . ")]


def looked_up(expression: str, elements: Mapping[str, str], packet: Packet) -> str:
    """Give the verdict that a packet finds, empty if none.

    Args:
        expression: the key.
        elements: of the map.
        packet: the packet.
    """
    values = [_value(field, packet) for field in expression.split(" . ")]
    if None in values:
        return ""
    for text, verdict in elements.items():
        if all(low <= (value or 0) <= high for value, (low, high) in zip(values, element(text), strict=True)):
            return verdict
    return ""
