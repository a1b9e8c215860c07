"""What a packet finds that is in the midst of the rules when they change: its old session or the new one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpathd.model.numbers import Numbers
from mpathd.model.packet import Ruleset, Table
from mpathd.model.routing import KernelState
from mpathd.model.selector import FlowSelector
from mpathd.model.words import Prefix
from mpathd.plan import nft
from mpathd.plan.bridge import GRACE, Bridge, bridge, halfway
from mpathd.plan.nft import differing, remade
from mpathd.plan.packets import ruleset
from mpathd.plan.sessions import Choice
from unit.helpers_shapes import PACKETS, SESSIONS, Drawn, Packet, looked_up, sessions

NOTHING: Mapping[str, str] = {}
UDP, PORTS = FlowSelector(protocol=17), FlowSelector(protocol=17, dport=(1, 4))
HIGH, HIGHER = FlowSelector(protocol=17, dport=(8, 9)), FlowSelector(protocol=17, dport=(7, 9))
NET_ICMP, NET_UDP = (FlowSelector(destination=Prefix("10.0.0.0/24"), protocol=number) for number in (1, 17))
DATAGRAM = (1, "10.0.0.1", "10.0.0.2", 17, 1, 2)


def made(drawn: list[Drawn], first: int = 1) -> Ruleset:
    """A table with sessions.

    Args:
        drawn: their settings.
        first: number of the first one.
    """
    numbered = (replace(session, number=session.number - 1 + first) for session in sessions(drawn))
    return ruleset([Choice(session, {}, (), {}) for session in numbered], (), Numbers())


def finds(rules: Ruleset, held: Mapping[str, list[Mapping[str, str]]], packet: Packet) -> set[str]:
    """All that a packet may find.

    Args:
        rules: those that it follows.
        held: what each map may hold while it is looked up; what it held first may be there until the end.
        packet: the packet.
    """
    found: set[str] = set()
    for rule in rules.chains["output"].rules:
        expression, is_lookup, name = rule.rpartition(" vmap @")
        if rule.startswith("goto s_"):
            return found | {rule}
        if is_lookup and name.startswith("m_"):
            verdicts = {looked_up(expression, elements, packet) for elements in held[name]}
            found |= verdicts - {""}
            if "" not in verdicts:
                return found
    return found | {""}


def midst(before: Ruleset, after: Ruleset) -> Iterator[tuple[Ruleset, Mapping[str, list[Mapping[str, str]]]]]:
    """What a packet may meet while one transaction is committed: rules, and what their maps may hold."""
    old, new = _maps(before), _maps(after)
    # The old rules: some lookups still are of the old generation, and from one on they are of the new one. Looking at
    # one rule after the other, all in all each map may hold either, but none the old after one that holds the new.
    names = [rule.rpartition("@")[2] for rule in before.chains["output"].rules if " vmap @m_" in rule]
    late = {name: _late(before, after, name) for name in {**old, **new}}
    for turn in range(len(names) + 1):
        early = dict.fromkeys(names[:turn], True)
        yield before, {n: [old[n].elements] if n in early else late[n] for n in names}
    yield after, late


def _late(before: Ruleset, after: Ruleset, name: str) -> list[Mapping[str, str]]:
    """What a map may hold once the generation is the new one, whose rules know it, or no more."""
    old, new = _maps(before).get(name), _maps(after).get(name)
    has, gets = (NOTHING if table is None else table.elements for table in (old, new))
    either = new or old
    if either is None or not either.interval or old is new:
        return [gets]
    anew = name in remade(before, differing(after, before))
    if anew:  # it is another map: empty until the end
        return [NOTHING, gets]
    # What goes is not found any more (until 6.16), or still is; what comes is not found yet.
    return [has, {key: value for key, value in has.items() if gets.get(key) == value}, gets]


def _maps(rules: Ruleset) -> dict[str, Table]:
    return {name: table for name, table in rules.tables.items() if name.startswith("m_")}


def whole(rules: Ruleset, packet: Packet) -> str:
    """What a packet finds when nothing changes."""
    return next(iter(finds(rules, {name: [table.elements] for name, table in _maps(rules).items()}, packet)))


@pytest.mark.parametrize("costly", [nft.COSTLY, 0])
@settings(max_examples=150, deadline=None)
@given(
    old=SESSIONS,
    fresh=SESSIONS,
    first=st.sampled_from([1, 2, 9]),
    packets=st.lists(PACKETS, min_size=1, max_size=4),
    same=st.booleans(),
)
@example(
    old=[([UDP], [], 1)], fresh=[([PORTS], [], 1)], first=1, packets=[(1, "10.0.0.1", "10.0.0.2", 17, 1, 2)], same=False
)
@example(
    old=[([UDP], [], 1)], fresh=[([UDP], [], 1)], first=9, packets=[(1, "10.0.0.1", "10.0.0.2", 17, 1, 2)], same=False
)
@example(  # a map of ranges that is made anew: what stays in it is looked for too
    old=[([PORTS, HIGH], [], 1)], fresh=[([PORTS, HIGHER], [], 1)], first=1, packets=[DATAGRAM], same=False
)
@example(  # a session ends whose ranges are another one's by a lookup behind them
    old=[([FlowSelector(), NET_ICMP], [], 1), ([NET_UDP], [], 1)],
    fresh=[([], [], 1)],
    first=1,
    packets=[DATAGRAM],
    same=True,
)
def test_no_packet_is_lost_between_two_rulesets(
    old: list[Drawn], fresh: list[Drawn], first: int, packets: list[Packet], same: bool, costly: int
) -> None:
    have, want = made(old), made([*old, *fresh][: len(fresh)] if same else fresh, first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nft, "COSTLY", costly)
        ways = [(have, *bridge(want, have), want)]
        if (step := halfway(want, have)) is not None:  # what the loop does: it waits there, and goes on from there
            assert halfway(want, step, waiting=True) == step
            ways.append((have, step, *bridge(want, step), want))
        for packet in packets:
            if not whole(have, packet) or not whole(want, packet):
                continue  # it has nobody before, or after, who could miss it
            for before, after in (pair for way in ways for pair in pairwise(way)):
                for rules, held in midst(before, after):
                    # For who is there before it a chain that comes is empty; and so is one that went.
                    found = finds(rules, held, packet)
                    assert {verdict.removeprefix("goto ") for verdict in found} <= rules.chains.keys()


def test_what_goes_waits_a_moment() -> None:
    have, want, third = (KernelState(packets=made([([flow], [], 1)])) for flow in (UDP, PORTS, FlowSelector()))
    way = Bridge()

    step = way.towards(want, have, 5.0)
    assert step not in (want, have)
    assert way.towards(want, step, 5.0 + GRACE / 2) == step
    other = way.towards(third, step, 5.0 + GRACE / 2)
    assert other not in (third, step)
    assert way.towards(third, other, 5.0 + GRACE) is third  # however much comes meanwhile
    assert way.towards(third, third, 5.0 + GRACE) is third
    assert way.towards(want, third, 9.0) not in (want, third)


def test_what_only_comes_or_goes_does_not_wait() -> None:
    drawn: list[Drawn] = [([UDP], [], 1), ([PORTS], [], 1)]
    none, one, two = (KernelState(packets=made(drawn[:count])) for count in range(3))
    for have, want in pairwise((none, one, two, one, none)):
        assert Bridge().towards(want, have, 5.0) is want
