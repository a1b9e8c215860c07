"""Flow selectors: the form, the round trip, and what bad ones get to hear."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpathd.model.errors import InvalidArguments
from mpathd.model.selector import NAMES, WITH_PORTS, FlowSelector
from mpathd.model.words import Family, Prefix
from mpathd.plan.selectors import _plain_prefix, parse, parse_all


def _prefixes(family: Family) -> st.SearchStrategy[Prefix | None]:
    addresses = st.ip_addresses(v=4 if family is Family.INET else 6)
    nets = st.builds(
        lambda address, bits: Prefix(str(ipaddress.ip_network((address, bits), strict=False))),
        addresses,
        st.integers(0, family.bits),
    )
    return st.none() | nets


PORTS = st.none() | st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda p: (min(p), max(p)))
OPEN = st.none() | st.integers(0, 255).filter(lambda number: number not in {1, 58})


def _selectors(family: Family) -> st.SearchStrategy[FlowSelector]:
    plain = st.builds(FlowSelector, _prefixes(family), _prefixes(family), OPEN)
    ports = st.builds(
        FlowSelector, _prefixes(family), _prefixes(family), st.sampled_from(sorted(WITH_PORTS)), PORTS, PORTS
    )
    return plain | ports


SELECTORS = _selectors(Family.INET) | _selectors(Family.INET6)


@given(SELECTORS)
def test_round_trip(selector: FlowSelector) -> None:
    text = str(selector)

    assert parse(text) == selector
    assert parse(text.upper()) == selector
    assert text == text.lower()
    assert text.count("-") >= 2
    assert text.count("-") == 2 or not text.endswith("-*")


@given(st.text() | st.from_regex(r"[0-9a-f:.*/-]{0,40}", fullmatch=True))
def test_no_text_makes_it_crash(text: str) -> None:
    try:
        selector = parse(text)
    except InvalidArguments as error:
        words = str(error)
    else:
        words = "example:"
        assert parse(str(selector)) == selector

    assert "example:" in words


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("*", "*-*-*"),
        ("*-*-*", "*-*-*"),
        ("*-*-*-*-*", "*-*-*"),
        ("10.0.0.1", "10.0.0.1-*-*"),
        ("10.0.0.1/32-*", "10.0.0.1-*-*"),
        ("*-*-udp-7777-8888", "*-*-udp-7777-8888"),
        ("*-*-TCP-*-443", "*-*-tcp-*-443"),
        ("*-*-tcp-22-*", "*-*-tcp-22"),
        ("*-*-6-*-80:80", "*-*-tcp-*-80"),
        ("fd00:0:0::/64-FD00::1-sctp-1:9", "fd00::/64-fd00::1-sctp-1:9"),
        ("0.0.0.0/0", "0.0.0.0/0-*-*"),
        ("*-*-47", "*-*-47"),
        ("*-*-1", "*-*-icmp"),
    ],
)
def test_canonical_form(text: str, canonical: str) -> None:
    assert str(parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the source is empty"),
        ("*--tcp", "the destination is empty"),
        ("*-*-tcp-1-2-3", "6 fields, expected at most 5"),
        ("10.0.0.300", "no address or prefix"),
        ("10.0.0.1/24", "expected 10.0.0.0/24"),
        ("10.0.0.1-fd00::1", "two families"),
        ("fe80::1%eth0", "names an interface"),
        ("*-*-ftp", "'ftp' is not known"),
        ("*-*-256", "0-255"),
        ("*-*-*-*-80", "ports without a protocol that has ports"),
        ("*-*-icmp-1", "ports without a protocol that has ports"),
        ("*-*-tcp-0", "expected 1-65535"),
        ("*-*-tcp-65536", "expected 1-65535"),
        ("*-*-tcp-9:1", "goes backwards, expected 1:9"),
        ("*-*-tcp-٣", "expected 1-65535"),
        ("fd00::1-*-icmp", "IPv4 only"),
        ("10.0.0.1-*-icmpv6", "IPv6 only"),
        ("*-*-" + "9" * 5000, "0-255"),
        ("*-*-tcp-*-" + "9" * 5000, "expected 1-65535"),
        ("*-*-tcp-1:" + "0" * 5000 + "2", "expected 1-65535"),
    ],
    ids=lambda text: text[:40],
)
def test_bad_selectors(text: str, words: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        parse(text)

    assert words in str(caught.value)
    assert f"'{text}'" in str(caught.value)


def test_a_list_skips_empty_ones_and_drops_twins() -> None:
    assert parse_all([""]) == ()
    assert [str(s) for s in parse_all(["*-*-tcp", "", "*-*-TCP", "*-*-udp"])] == ["*-*-tcp", "*-*-udp"]


def test_names_and_numbers_agree_with_the_system() -> None:
    import socket

    for number, name in NAMES.items():
        theirs = {"icmpv6": "ipv6-icmp"}.get(name, name)
        assert socket.getprotobyname(theirs) == number


@given(
    st.ip_addresses().map(str)
    | st.ip_addresses().map(lambda ip: ip.exploded.upper())
    | st.text("0123456789abcf:.%", max_size=12),
    st.sampled_from(["", "/"])
    | st.integers(0, 130).map(lambda bits: f"/{bits}")
    | st.sampled_from(["/08", "/-1", "/255.0.0.0"]),
)
def test_the_quick_way_reads_prefixes_as_the_other_does(address: str, bits: str) -> None:
    field = (address + bits).lower()
    try:
        slow = Prefix(str(ipaddress.ip_network(field)))
    except ValueError:
        slow = None

    assert _plain_prefix(field) in {None, slow}
    if slow is not None and "." not in address.partition(":")[2] and bits[1:].isdigit() and len(bits) < 5:
        assert _plain_prefix(field) == slow or slow.startswith("::")
