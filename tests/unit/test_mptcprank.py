"""Which addresses have an endpoint where the kernel takes fewer than there are addresses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpathd.model.mptcp import Act, Change, Endpoint, Flag, Limits, Mptcp
from mpathd.model.numbers import Numbers
from mpathd.model.policy import ServiceSettings
from mpathd.model.routing import Hop, KernelState, Route
from mpathd.model.view import Service
from mpathd.model.words import Address, Family, MptcpMode, ServiceState, Technology, family_of, host
from mpathd.model.world import LinkAddress
from mpathd.plan.mptcp import changes, desire
from mpathd.plan.services import service_rules

NUMBERS, ROOM = Numbers(), 8
FOUR, SIX, BOTH = "4", "6", "46"
ON, BACKUP = MptcpMode.ON, MptcpMode.BACKUP


def service(number: int, families: str = BOTH, mode: MptcpMode = ON) -> Service:
    """An uplink with 10.0.N.2, fd00:N::2, or both."""
    texts = [{FOUR: f"10.0.{number}.2", SIX: f"fd00:{number}::2"}[family] for family in families]
    return Service(
        f"ethernet_{number}", "Wired", Technology.ETHERNET, ServiceState.READY, number, f"up{number}", "", 1500,
        NUMBERS.table(number), ServiceSettings(multipath_routing=True, mpath_tcp_link=mode), routed=True, because="",
        addresses=tuple(LinkAddress(family_of(Address(text)), Address(text), 24) for text in texts),
    )  # fmt: skip


def routing(services: Iterable[Service]) -> KernelState:
    """What is ours once everything is written."""
    state = KernelState()
    for one in services:
        for a in one.addresses:
            via = Address("10.9.9.1" if a.family is Family.INET else "fe80::1")
            way = Route(a.family, one.table, a.family.any, (Hop(one.index, via),))
            rules = service_rules(NUMBERS, one.table, host(a.address), a.family)
            state = KernelState(state.routes | {way}, state.rules | {*rules})
    return state


def due(found: Mptcp, services: Sequence[Service]) -> tuple[Change, ...]:
    """The writes of a pass."""
    return changes(desire(services, found, routing(services), NUMBERS), found)


def settled(found: Mptcp, services: Sequence[Service]) -> Mptcp:
    """What is there after it."""
    want = desire(services, found, routing(services), NUMBERS)
    others = tuple(e for e in found.endpoints if e.name not in found.mine)
    mine = frozenset(e.name for e in want.endpoints)
    return replace(found, endpoints=(*others, *want.endpoints), limits=want.limits, mine=mine)


def empty(*others: Endpoint) -> Mptcp:
    """A kernel that takes eight endpoints."""
    return Mptcp(endpoints=others, limits=Limits(ROOM, 0), room=ROOM)


def homes(found: Mptcp) -> dict[str, str]:
    """The families that each link has endpoints of."""
    out: dict[str, str] = {}
    for e in found.endpoints:
        out[e.dev] = "".join(sorted(out.get(e.dev, "") + (FOUR if e.family is Family.INET else SIX)))
    return out


@pytest.mark.parametrize(
    ("links", "wanted"),
    [
        (4, [BOTH, BOTH, BOTH, BOTH]),
        (5, [BOTH, BOTH, BOTH, SIX, FOUR]),
        (8, [FOUR, SIX, FOUR, SIX, FOUR, SIX, FOUR, SIX]),
        (9, [FOUR, SIX, FOUR, SIX, FOUR, SIX, FOUR, SIX]),
    ],
)
def test_each_link_has_one_before_any_has_two_and_families_take_turns(links: int, wanted: list[str]) -> None:
    found = settled(empty(), [service(n) for n in range(1, links + 1)])

    assert homes(found) == {f"up{n}": families for n, families in enumerate(wanted, 1)}


def test_links_of_one_family_are_made_up_for_by_those_with_both() -> None:
    services = [service(n, FOUR if n > 4 else BOTH) for n in range(1, 9)]

    assert homes(settled(empty(), services)) == {f"up{n}": FOUR if n > 4 else SIX for n in range(1, 9)}


def test_a_family_of_one_link_alone_joins_nothing() -> None:
    services = [service(n, BOTH if n == 1 else FOUR) for n in range(1, 9)]

    assert homes(settled(empty(), services)) == {f"up{n}": FOUR for n in range(1, 9)}


def test_a_backup_has_one_before_a_link_that_carries_has_two() -> None:
    services = [service(n, BOTH, BACKUP if n < 3 else ON) for n in range(1, 7)]
    found = settled(empty(), services)

    assert homes(found) == {"up1": FOUR, "up2": SIX, "up3": BOTH, "up4": BOTH, "up5": FOUR, "up6": SIX}


def test_where_ipv4_came_first_ipv6_gets_its_share_and_then_nothing_moves() -> None:
    early = settled(empty(), [service(n, FOUR) for n in range(1, 9)])
    services = [service(n) for n in range(1, 9)]
    late = settled(early, services)

    assert homes(late) == {f"up{n}": FOUR if n < 6 else SIX for n in range(1, 9)}
    assert due(late, services) == ()


def test_an_endpoint_of_others_is_its_links_one() -> None:
    theirs = [Endpoint(n, Address(f"10.0.{n}.2"), n, 0, Flag.SUBFLOW, f"up{n}") for n in range(1, 8)]
    found = settled(empty(*theirs), [service(n) for n in range(1, 9)])

    assert homes(found) == {**{f"up{n}": FOUR for n in range(1, 8)}, "up8": SIX}


LINKS = st.lists(st.tuples(st.sampled_from((FOUR, SIX, BOTH)), st.sampled_from((ON, BACKUP))), min_size=1, max_size=12)


@settings(max_examples=400, deadline=None)
@given(links=LINKS, room=st.integers(1, 12))
def test_the_rank_is_kept(links: list[tuple[str, MptcpMode]], room: int) -> None:
    services = [service(n, families, mode) for n, (families, mode) in enumerate(links, 1)]
    found = settled(replace(empty(), room=room), services)
    have = homes(found)

    assert len(found.endpoints) == min(room, sum(len(families) for families, _ in links))
    assert len(have) == len(links) or all(len(families) == 1 for families in have.values())
    assert due(found, services) == ()


@settings(max_examples=400, deadline=None)
@given(links=LINKS, data=st.data())
def test_a_link_that_is_lost_disturbs_no_other(links: list[tuple[str, MptcpMode]], data: st.DataObject) -> None:
    services = [service(n, families, mode) for n, (families, mode) in enumerate(links, 1)]
    found = settled(empty(), services)
    gone = data.draw(st.sampled_from(services))
    steps = due(found, [one for one in services if one is not gone])

    assert {c.what.dev for c in steps if c.act is Act.DELETE and isinstance(c.what, Endpoint)} <= {gone.interface}
