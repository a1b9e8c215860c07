"""Text to flow selectors; parse(str(s)) == s, and every bad text hears which field, what was expected, an example."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from ..model.errors import InvalidArguments
from ..model.selector import FAMILIES, NAMES, PROTOCOLS, WITH_PORTS, FlowSelector, Ports
from ..model.words import Prefix, family_of

EXAMPLE = "example: *-*-udp-7777-8888, or 10.0.1.0/24-*-tcp-*-443, or *-*-tcp-*-8000:8999"
FIELDS = ("source", "destination", "protocol", "source port", "destination port")
PROTOCOL_LAST, PORT_LAST, DIGITS = 255, 65535, 20


def _wrong(text: str, what: str) -> InvalidArguments:
    return InvalidArguments(f"flow selector '{text}': {what}", EXAMPLE)


@lru_cache(maxsize=16384)
def parse(text: str) -> FlowSelector:
    """Read a flow selector.

    Args:
        text: 1 to 5 fields `source-destination-protocol-sport-dport`; trailing ones may be left out, `*` is any.

    Raises:
        InvalidArguments: it is none.
    """
    fields = text.strip().lower().split("-")
    if len(fields) > len(FIELDS):
        raise _wrong(text, f"{len(fields)} fields, expected at most 5 ({'-'.join(FIELDS)})")
    for name, field in zip(FIELDS, fields, strict=False):
        if not field:
            raise _wrong(text, f"the {name} is empty, expected * for any")
    fields += ["*"] * (len(FIELDS) - len(fields))
    source, destination = (_prefix(text, name, field) for name, field in zip(FIELDS[:2], fields[:2], strict=True))
    protocol = _protocol(text, fields[2])
    sport, dport = (_port_range(text, name, field) for name, field in zip(FIELDS[3:], fields[3:], strict=True))
    if source and destination and family_of(source) is not family_of(destination):
        raise _wrong(text, f"{source} and {destination} are of two families; a packet has one")
    if (sport or dport) and protocol not in WITH_PORTS:
        names = ", ".join(NAMES[number] for number in sorted(WITH_PORTS))
        raise _wrong(text, f"ports without a protocol that has ports; expected one of {names}")
    out = FlowSelector(source, destination, protocol, sport, dport)
    wanted = FAMILIES.get(protocol) if protocol is not None else None
    if wanted is not None and out.family is not wanted:
        raise _wrong(text, f"{NAMES[protocol or 0]} is {wanted.label} only, the addresses are not")
    return out


def parse_all(texts: Iterable[str]) -> tuple[FlowSelector, ...]:
    """Read a list of flow selectors; empty texts are skipped (ConnMan's clients send [""] to clear), twins are one.

    Args:
        texts: the texts.

    Raises:
        InvalidArguments: one of them is none.
    """
    return tuple(dict.fromkeys(parse(text) for text in texts if text.strip()))


def _prefix(text: str, name: str, field: str) -> Prefix | None:
    if field == "*":
        return None
    if (plain := _plain_prefix(field)) is not None:
        return plain
    try:
        network = ipaddress.ip_network(field, strict=False)
        exact = ipaddress.ip_interface(field)
    except ValueError:
        raise _wrong(
            text, f"the {name} '{field}' is no address or prefix, expected for example 10.0.0.1 or fd00::/64"
        ) from None
    if "%" in field:
        raise _wrong(text, f"the {name} '{field}' names an interface, expected an address or prefix alone")
    if exact.ip != network.network_address:
        raise _wrong(text, f"the {name} '{field}' has bits behind its prefix, expected {network}")
    return Prefix(str(network))


def _plain_prefix(field: str) -> Prefix | None:
    """The same for nearly all texts there are, ten times as fast; None: ipaddress is to say what it is."""
    address, slash, bits = field.partition("/")
    v6 = ":" in address
    width = 128 if v6 else 32
    length = width
    if slash:
        if not (bits.isascii() and bits.isdigit() and len(bits) <= len("128") and int(bits) <= width):
            return None
        length = int(bits)
    try:
        packed = inet_pton(AF_INET6 if v6 else AF_INET, address)
    except (OSError, ValueError):  # also a null, or letters beyond ASCII
        return None
    if int.from_bytes(packed, "big") & ((1 << (width - length)) - 1):
        return None
    text = inet_ntop(AF_INET6, packed) if v6 else address
    # The two spell out IPv4 addresses inside IPv6 ones differently.
    return None if v6 and "." in text else Prefix(f"{text}/{length}")


def _protocol(text: str, field: str) -> int | None:
    if field == "*":
        return None
    if field in PROTOCOLS:
        return PROTOCOLS[field]
    if (number := _number(field)) is not None and number <= PROTOCOL_LAST:
        return number
    raise _wrong(text, f"the protocol '{field}' is not known, expected *, {', '.join(PROTOCOLS)} or a number 0-255")


def _port_range(text: str, name: str, field: str) -> Ports | None:
    if field == "*":
        return None
    low, colon, high = field.partition(":")
    first, last = _number(low), _number(high if colon else low)
    if first is None or last is None or not (1 <= first <= PORT_LAST and 1 <= last <= PORT_LAST):
        raise _wrong(text, f"the {name} '{field}' is none, expected 1-{PORT_LAST}, or a range as 8000:8999")
    if first > last:
        raise _wrong(text, f"the {name} range '{field}' goes backwards, expected {last}:{first}")
    return first, last


def _number(text: str) -> int | None:
    """A number of few digits; Python refuses to read those of thousands."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS else None
