"""Selectors in maps by shape give what the rule gives; what is changed in nft is what is written whole."""

from __future__ import annotations

import ipaddress
import os
import random
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from itertools import combinations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from labkit import netns
from mpathd.kernel.nftables.library import Library
from mpathd.model.numbers import Numbers
from mpathd.model.packet import Chain, Ruleset, Table
from mpathd.model.selector import WITH_PORTS, FlowSelector
from mpathd.model.session import Origin, Session, SessionSettings
from mpathd.model.words import Prefix
from mpathd.plan import nft, shapes
from mpathd.plan.diff import load
from mpathd.plan.nft import whole
from mpathd.plan.packets import ruleset
from mpathd.plan.sessions import Choice
from mpathd.plan.shapes import lookups
from unit.helpers_shapes import FLOWS, PACKETS, SESSIONS, Packet, element, looked_up
from unit.helpers_shapes import sessions as made_sessions


def _found(sessions: Sequence[Session], packet: Packet) -> str:
    looks, everything = lookups(sessions)
    for look in looks:
        if verdict := looked_up(look.expression, look.table.elements, packet):
            return verdict
    return f"goto s_{everything[0]}" if everything else ""


# The rule itself, written without maps.


def _fields(flow: FlowSelector, user: int | None) -> int:
    return sum(
        value is not None for value in (user, flow.source, flow.destination, flow.protocol, flow.sport, flow.dport)
    )


def _size(flow: FlowSelector) -> int:
    size = 1
    for prefix in (flow.source, flow.destination):
        if prefix:
            size *= ipaddress.ip_network(prefix).num_addresses
    for ports in (flow.sport, flow.dport):
        if ports:
            size *= ports[1] - ports[0] + 1
    return size


def _matches(flow: FlowSelector, packet: Packet) -> bool:
    _, source, destination, protocol, sport, dport = packet
    for prefix, address in ((flow.source, source), (flow.destination, destination)):
        if prefix and ipaddress.ip_address(address) not in ipaddress.ip_network(prefix):
            return False
    if flow.protocol is not None and flow.protocol != protocol:
        return False
    return all(not p or p[0] <= n <= p[1] for p, n in ((flow.sport, sport), (flow.dport, dport)))


def _best(sessions: Sequence[Session], packet: Packet) -> set[str]:
    """The sessions that the rule lets have a packet: where shapes differ with as many fields, either may come first."""
    found: list[tuple[int, tuple[bool, ...], int, int, int]] = []
    for session in sessions:
        chosen = session.settings
        cases = [(flow, None) for flow in chosen.selectors] + [(FlowSelector(), user) for user in chosen.users]
        for flow, user in cases:
            if (user is None or user == packet[0]) and _matches(flow, packet):
                values = (user, flow.source, flow.destination, flow.protocol, flow.sport, flow.dport)
                shape = tuple(value is not None for value in values)
                found.append((-_fields(flow, user), shape, _size(flow), -chosen.priority, session.number))
    if not found:
        return {""}
    most = min(fields for fields, *_ in found)
    shapes = {shape for fields, shape, *_ in found if fields == most}
    return {f"goto s_{min(item[2:] for item in found if item[:2] == (most, shape))[-1]}" for shape in shapes}


@settings(max_examples=400, deadline=None)
@given(SESSIONS, st.lists(PACKETS, min_size=1, max_size=20))
def test_maps_give_what_the_rule_gives(
    drawn: list[tuple[list[FlowSelector], list[int], int]], packets: list[Packet]
) -> None:
    sessions = made_sessions(drawn)
    for packet in packets:
        assert _found(sessions, packet) in _best(sessions, packet), packet


@settings(max_examples=300, deadline=None)
@given(SESSIONS)
def test_no_layer_has_keys_that_overlap(drawn: list[tuple[list[FlowSelector], list[int], int]]) -> None:
    """Nft refuses interval maps with keys that overlap in part, and tells twins by their order only."""
    looks, _ = lookups(made_sessions(drawn))
    for look in looks:
        for one, other in combinations([element(text) for text in look.table.elements], 2):
            assert not all(a[0] <= b[1] and b[0] <= a[1] for a, b in zip(one, other, strict=True)), look


@settings(max_examples=200, deadline=None)
@given(SESSIONS, st.randoms(use_true_random=False))
def test_the_order_in_which_sessions_come_says_nothing(
    drawn: list[tuple[list[FlowSelector], list[int], int]], chance: random.Random
) -> None:
    sessions = list(made_sessions(drawn))
    before = lookups(sessions)
    chance.shuffle(sessions)
    assert lookups(sessions) == before


def test_a_user_without_privileges_gets_its_own_packets_only() -> None:
    flows = (FlowSelector(), FlowSelector(protocol=6), FlowSelector(None, Prefix("10.0.0.0/24"), 6, None, (1, 2)))
    settings = SessionSettings("s", Origin.DBUS, "x", selectors=flows, users=(1, 2), groups=(3,), only_user=1)
    looks, everything = lookups([Session(settings, 1)])

    assert everything == ()
    assert {look.name: dict(look.table.elements) for look in looks} == {
        "m_u_d4_p_dp_1": {"1 . 10.0.0.0/24 . tcp . 1-2": "goto s_1"},
        "m_u_p": {"1 . tcp": "goto s_1"},
        "m_u_g": {"1 . 3": "goto s_1"},
        "m_u": {"1": "goto s_1"},
    }


@settings(max_examples=400, deadline=None)
@given(SESSIONS, st.lists(st.tuples(st.integers(0, 4), FLOWS), max_size=4))
def test_what_was_there_before_says_nothing(
    drawn: list[tuple[list[FlowSelector], list[int], int]], changed: list[tuple[int, FlowSelector]]
) -> None:
    """What a call remembers makes the next one quick, and leads to the same maps."""
    before, after = (made_sessions(d) for d in (drawn, [*_toggled(drawn, changed)]))
    lookups(before)
    quick = lookups(after)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "_known", {})
        patch.setattr(shapes, "_made", {})
        assert lookups(after) == quick


def _toggled(
    drawn: list[tuple[list[FlowSelector], list[int], int]], changed: list[tuple[int, FlowSelector]]
) -> Iterator[tuple[list[FlowSelector], list[int], int]]:
    """The same sessions, in which some selectors have come, or gone if they were there."""
    for place, (flows, users, priority) in enumerate(drawn):
        fresh = [flow for at, flow in changed if at == place]
        yield [*(flow for flow in flows if flow not in fresh), *(f for f in fresh if f not in flows)], users, priority


def _random_flow(chance: random.Random) -> FlowSelector:
    def prefix() -> Prefix | None:
        if chance.random() < 0.4:
            return None
        network = ipaddress.ip_network((chance.getrandbits(32), chance.choice([32, 32, 24, 16])), strict=False)
        return Prefix(str(network))

    def ports() -> tuple[int, int] | None:
        low = chance.randint(1, 65000)
        return chance.choice([None, (low, low), (low, low + chance.randint(1, 500))])

    protocol = chance.choice([None, 1, *sorted(WITH_PORTS)])
    with_ports = protocol in WITH_PORTS
    return FlowSelector(prefix(), prefix(), protocol, ports() if with_ports else None, ports() if with_ports else None)


def test_ten_thousand_selectors(capsys: pytest.CaptureFixture[str]) -> None:
    """The time is shown, not judged; so are maps, whose number a packet's cost follows."""
    chance = random.Random(3)
    flows = tuple(dict.fromkeys(_random_flow(chance) for _ in range(10_000)))
    session = Session(SessionSettings("many", Origin.POLICY, "x", selectors=flows), 1)
    start = time.perf_counter()
    looks, _ = lookups([session])
    took = time.perf_counter() - start
    with capsys.disabled():
        print(f"\n{len(flows)} random selectors: {len(looks)} maps in {took:.2f} s (bar: 2 s)")
    assert looks


# Changes are as good as everything anew.


def _ruleset(drawn: list[tuple[list[FlowSelector], list[int], int]], extra: int) -> Ruleset:
    choices = [Choice(session, {}, (), {}) for session in made_sessions(drawn)]
    made = ruleset(choices, (), Numbers())
    if not extra or made.empty:
        return made
    more = {f"x_{n}": Chain((f"meta mark {n} counter drop",)) for n in range(extra)}
    sets = {f"y_{n}": Table("set", "type inet_service", {str(extra + n): ""}) for n in range(extra)}
    return Ruleset({**made.tables, **sets}, {**made.chains, **more}, made.counters)


@pytest.fixture(scope="module")
def space() -> Iterator[str]:
    """A network namespace of its own."""
    if os.geteuid():
        pytest.fail("nft's tables need root, as the kernel tests do")
    name = f"ks{os.getpid()}nft"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


# Nft sorts the elements of a listing by their exact fields only; where those are alike, the older element comes first.
ELEMENTS = re.compile(r"elements = \{ (.*?) \}")
WIDE = FlowSelector(None, Prefix("fd00::/16"), 6, (2, 2), (1, 1))
NARROW = FlowSelector(None, Prefix("fd00::1/128"), 6, (1, 1), (2, 3))


@pytest.mark.parametrize("costly", [nft.COSTLY, 0])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=SESSIONS, fresh=SESSIONS, extras=st.tuples(st.integers(0, 3), st.integers(0, 3)))
@example(old=[([WIDE], [], 1)], fresh=[([WIDE, NARROW], [], 1)], extras=(0, 0))
@example(old=[([WIDE, NARROW], [], 1)], fresh=[([NARROW], [], 1)], extras=(0, 0))
def test_changes_lead_to_what_is_written_whole(
    space: str,
    old: list[tuple[list[FlowSelector], list[int], int]],
    fresh: list[tuple[list[FlowSelector], list[int], int]],
    extras: tuple[int, int],
    costly: int,
) -> None:
    """Also where interval maps that lose elements are made anew."""
    have, want = _ruleset(old, extras[0]), _ruleset(fresh, extras[1])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nft, "COSTLY", costly)
        texts = load(want, have).texts
    anew = netns.in_ns(space, lambda: _listing(whole(want)))
    changed = netns.in_ns(space, lambda: _listing(whole(have), *texts))
    assert changed == anew


FULL = tuple(
    FlowSelector(Prefix(source), Prefix("10.0.0.2/32"), 6, (1, 1), (2, 2))
    for source in ("10.0.0.1/32", "10.0.1.1/32", "10.1.0.0/24", "10.2.0.0/24")
)


@pytest.mark.parametrize(("old", "fresh"), [(FULL[:1], FULL[:2]), (FULL, FULL[1:3]), (FULL[2:], FULL[:2])])
def test_nft_changes_maps_of_six_fields(
    space: str, old: tuple[FlowSelector, ...], fresh: tuple[FlowSelector, ...]
) -> None:
    """A user without privileges, and all of a five-tuple: what nft reads back of such a map has a field less."""

    def made(flows: tuple[FlowSelector, ...]) -> Ruleset:
        wanted = SessionSettings("s", Origin.DBUS, "x", selectors=flows, only_user=1)
        return ruleset([Choice(Session(wanted, 1), {}, (), {})], (), Numbers())

    have, want = made(old), made(fresh)
    anew = netns.in_ns(space, lambda: _listing(whole(want)))
    assert netns.in_ns(space, lambda: _listing(whole(have), *load(want, have).texts)) == anew


def _listing(*texts: str) -> list[str]:
    """What nft lists when it has run some transactions."""
    library = Library()
    try:
        for text in texts:
            assert library.run(text)[1] == "", text
        output, _ = library.run("list table inet mpathd")
    finally:
        library.close()
    return _blocks(output)


def _blocks(text: str) -> list[str]:
    """Chains, sets and maps, and elements inside, without their order, which says nothing: no two elements overlap."""
    inside = text.strip().removeprefix("table inet mpathd {").removesuffix("}")
    return sorted(ELEMENTS.sub(_sorted, " ".join(block.split())) for block in inside.split("\n\n"))


def _sorted(found: re.Match[str]) -> str:
    return f"elements = {{ {', '.join(sorted(found[1].split(', ')))} }}"
