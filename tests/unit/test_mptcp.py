"""Which endpoints and limits there should be, and the writes that lead there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpathd.model.mptcp import Act, Change, Endpoint, Event, Flag, Kept, Kind, Limits, LinkUse, Manager, Mptcp, Options
from mpathd.model.numbers import Numbers
from mpathd.model.policy import ServiceSettings
from mpathd.model.routing import Hop, KernelState, Route, Rule
from mpathd.model.view import Service
from mpathd.model.words import Address, Family, MptcpMode, Prefix, ServiceState, Technology, family_of, host
from mpathd.model.world import LinkAddress
from mpathd.plan.mptcp import Wanted, changes, desire, spare
from mpathd.plan.ownership import adoptable, farewell, holds, kept, restored
from mpathd.plan.services import service_rules

NUMBERS = Numbers()
DEFAULTS = Mptcp(limits=Limits(2, 0))  # as the kernel starts
SHARED, FOREIGN = ["endpoint-shared"], ["endpoint-foreign"]
ON, BACKUP, OFF = MptcpMode.ON, MptcpMode.BACKUP, MptcpMode.OFF


def service(number: int, mode: MptcpMode = ON, *more: str, routed: bool = True, state: str = "") -> Service:
    """An uplink with 10.0.N.2, and with what more is given; the state is that of its IPv4 address."""
    own = LinkAddress(Family.INET, Address(f"10.0.{number}.2"), 24)
    if state:
        own = replace(own, **{state: True})  # type: ignore[arg-type]
    addresses = (own, *(LinkAddress(family_of(a), Address(a), 64) for a in more))
    return Service(
        id=f"ethernet_{number}",
        name="Wired",
        technology=Technology.ETHERNET,
        state=ServiceState.READY,
        index=number,
        interface=f"up{number}",
        mac="",
        mtu=1500,
        table=NUMBERS.table(number),
        settings=ServiceSettings(multipath_routing=True, mpath_tcp_link=mode),
        routed=routed,
        because="",
        addresses=addresses,
    )


def way_out(service: Service, family: Family) -> Route:
    """The default of a service's table."""
    via = Address("10.9.9.1" if family is Family.INET else "fe80::1")
    return Route(family, service.table, family.any, (Hop(service.index, via),))


def routing(services: Iterable[Service]) -> KernelState:
    """What is ours once everything is written."""
    routes: set[Route] = set()
    rules: set[Rule] = set()
    for one in services:
        for a in one.addresses:
            routes.add(way_out(one, a.family))
            rules.update(service_rules(NUMBERS, one.table, host(a.address), a.family))
    return KernelState(frozenset(routes), frozenset(rules))


def wanted(*services: Service, found: Mptcp = DEFAULTS, options: Options = Options()) -> Wanted:  # noqa: B008
    """What is wanted once routing is in place."""
    return desire(services, found, routing(services), NUMBERS, options)


def words(want: Wanted) -> list[str]:
    """The endpoints as a person types them."""
    return [endpoint.words() for endpoint in want.endpoints]


def ours(number: int, flags: Flag = Flag.SUBFLOW, id: int = 0) -> Endpoint:  # noqa: A002
    """An endpoint of ours, at a service's address."""
    return Endpoint(id or 199 + number, Address(f"10.0.{number}.2"), number, 0, flags, f"up{number}")


def having(*endpoints: Endpoint, room: int = 0, others: Iterable[Endpoint] = ()) -> Mptcp:
    """A kernel with endpoints of ours and of others."""
    there = tuple(sorted((*endpoints, *others), key=lambda endpoint: endpoint.id))
    return replace(DEFAULTS, endpoints=there, room=room, mine=frozenset(endpoint.name for endpoint in endpoints))


def codes(want: Wanted) -> list[str]:
    """The findings' codes."""
    return [finding.code for finding in want.findings]


# What MultipathTcpLink means.


def test_on_backup_off() -> None:
    assert words(wanted(service(1), service(2, BACKUP), service(3, OFF))) == [
        "10.0.1.2 id 254 dev up1 subflow",
        "10.0.2.2 id 253 dev up2 subflow backup",
    ]


def test_only_where_the_service_is_routed() -> None:
    assert words(wanted(service(1, routed=False), service(2))) == ["10.0.2.2 id 254 dev up2 subflow"]


def test_each_usable_address_of_both_families() -> None:
    assert words(wanted(service(1, ON, "fd00:1::2", "fd00:1::3"))) == [
        "10.0.1.2 id 254 dev up1 subflow",
        "fd00:1::2 id 253 dev up1 subflow",
        "fd00:1::3 id 252 dev up1 subflow",
    ]


def test_an_address_in_two_prefixes_is_one_endpoint() -> None:
    one = service(1)
    twice = replace(one, addresses=(*one.addresses, replace(one.addresses[0], bits=25)))

    assert words(wanted(twice)) == ["10.0.1.2 id 254 dev up1 subflow"]


@pytest.mark.parametrize("state", ["temporary", "tentative", "deprecated"])
def test_addresses_that_are_not_for_it(state: str) -> None:
    assert wanted(service(1, state=state)).endpoints == ()


def test_options_for_all_links() -> None:
    assert words(wanted(service(1, BACKUP), options=Options(fullmesh=True))) == [
        "10.0.1.2 id 254 dev up1 subflow backup fullmesh"
    ]
    assert words(wanted(service(1), options=Options(signal=True, laminar=True))) == [
        "10.0.1.2 id 254 dev up1 signal subflow laminar"
    ]
    assert Options(signal=True, fullmesh=True).clash
    assert not Options(signal=True, laminar=True).clash


def test_a_flag_that_the_kernel_does_not_keep_is_not_asked_for_again() -> None:
    lacking = replace(DEFAULTS, lacks=Flag.LAMINAR)

    assert words(wanted(service(1), found=lacking, options=Options(laminar=True))) == [
        "10.0.1.2 id 254 dev up1 subflow"
    ]


# Always after the routing.


def test_no_endpoint_before_its_rule() -> None:
    one = service(1)
    whole = routing([one])
    lead = next(r for r in whole.rules if r.source and r.table == one.table and r.suppress is None)

    assert desire([one], DEFAULTS, replace(whole, rules=whole.rules - {lead}), NUMBERS).endpoints == ()
    assert len(desire([one], DEFAULTS, whole, NUMBERS).endpoints) == 1


def test_the_rule_for_own_specifics_is_not_enough() -> None:
    one = service(1)
    whole = routing([one])
    specifics = frozenset(r for r in whole.rules if r.suppress is not None)

    assert specifics
    assert desire([one], DEFAULTS, replace(whole, rules=specifics), NUMBERS).endpoints == ()


def test_no_endpoint_before_its_table_has_a_way_out() -> None:
    one = service(1, ON, "fd00:1::2")
    whole = routing([one])
    near = Route(Family.INET, one.table, Prefix("10.0.1.0/24"), (Hop(1),))
    without = (whole.routes - {way_out(one, Family.INET)}) | {near}

    assert words(desire([one], DEFAULTS, replace(whole, routes=without), NUMBERS)) == [
        "fd00:1::2 id 254 dev up1 subflow"
    ]


def test_a_split_default_is_a_way_out() -> None:
    one = service(1)
    whole = routing([one])
    half = Route(Family.INET, one.table, Prefix("0.0.0.0/1"), (Hop(1, Address("10.9.9.1")),))

    assert len(desire([one], DEFAULTS, replace(whole, routes=frozenset({half})), NUMBERS).endpoints) == 1


def test_a_rule_of_a_session_leads_nowhere() -> None:
    one = service(1)
    whole = routing([one])
    marked = Rule(Family.INET, 20003, host(Address("10.0.1.2")), one.table, mark=0x10000, mask=0x7FFF0000)

    assert desire([one], DEFAULTS, replace(whole, rules=frozenset({marked})), NUMBERS).endpoints == ()


def test_of_two_links_with_one_address_the_one_that_the_rule_leads_to() -> None:
    first, twin = service(1), replace(service(2), addresses=service(1).addresses)
    state = routing([first])
    both = replace(state, routes=state.routes | routing([twin]).routes)

    assert words(desire([first, twin], DEFAULTS, both, NUMBERS)) == ["10.0.1.2 id 254 dev up1 subflow"]


# Ids, room, and others.


def test_an_address_keeps_its_id_and_no_other_gets_it() -> None:
    found = having(ours(2, id=254), ours(9, id=252), others=[Endpoint(251, Address("10.7.0.1"))])

    assert words(wanted(service(1), service(2), service(3), found=found)) == [
        "10.0.1.2 id 253 dev up1 subflow",
        "10.0.2.2 id 254 dev up2 subflow",
        "10.0.3.2 id 250 dev up3 subflow",
    ]


def test_few_ids_are_used_again() -> None:
    numbers = replace(NUMBERS, endpoint_ids=(200, 202))
    found = having(ours(2, id=200), ours(9, id=201), others=[Endpoint(202, Address("10.7.0.1"))])
    services = (service(1), service(2), service(3))
    want = desire(services, found, routing(services), numbers)

    assert [endpoint.words() for endpoint in want.endpoints] == [
        "10.0.1.2 id 201 dev up1 subflow",
        "10.0.2.2 id 200 dev up2 subflow",
    ]
    assert set(play(found, changes(want, found)).endpoints) == {*want.endpoints, found.endpoints[2]}


def test_more_addresses_than_the_kernel_takes() -> None:
    """One of each link before anybody's second, those that carry before those that wait; the rest is said."""
    found = replace(DEFAULTS, room=4)
    services = (service(1, ON, "fd00:1::2", "fd00:1::3"), service(2, BACKUP), service(3), service(4))
    want = wanted(*services, found=found)

    assert [endpoint.address for endpoint in want.endpoints] == ["10.0.1.2", "10.0.3.2", "10.0.4.2", "10.0.2.2"]
    assert codes(want) == ["endpoints-full"]
    assert "4 MPTCP endpoints; left out: fd00:1::2 of up1, fd00:1::3 of up1" in want.findings[0].text


def test_while_the_kernel_has_refused_none_all_are_tried() -> None:
    want = wanted(*(service(n) for n in range(1, 12)))

    assert len(want.endpoints) == 11
    assert codes(want) == []


def test_endpoints_of_others_take_room() -> None:
    other = Endpoint(1, Address("10.5.5.5"), flags=Flag.SIGNAL)
    found = replace(DEFAULTS, room=2, endpoints=(other,))

    assert len(wanted(service(1), service(2), found=found).endpoints) == 1


@pytest.mark.parametrize(
    ("mode", "flags", "index", "said"),
    [
        (ON, Flag.SUBFLOW, 1, SHARED),
        (ON, Flag.SUBFLOW | Flag.FULLMESH, 0, SHARED),  # no device: the rule leads it
        (ON, Flag.SUBFLOW | Flag.BACKUP, 1, FOREIGN),
        (ON, Flag.SIGNAL, 1, FOREIGN),
        (ON, Flag.SUBFLOW, 7, FOREIGN),
        (BACKUP, Flag.SUBFLOW | Flag.BACKUP, 1, SHARED),
        (BACKUP, Flag.SUBFLOW, 1, FOREIGN),
        (OFF, Flag.SUBFLOW, 1, FOREIGN),
        (OFF, Flag.SIGNAL, 1, []),
    ],
)
def test_an_endpoint_of_others_serves_or_contradicts(mode: MptcpMode, flags: Flag, index: int, said: list[str]) -> None:
    other = Endpoint(3, Address("10.0.1.2"), index, flags=flags)
    found = replace(DEFAULTS, endpoints=(other,))
    want = wanted(service(1, mode), found=found)

    assert want.endpoints == ()
    assert codes(want) == said
    assert changes(want, found) == ()


def test_endpoints_of_others_on_a_link_that_is_not_routed_are_their_affair() -> None:
    found = replace(DEFAULTS, endpoints=(Endpoint(3, Address("10.0.1.2"), 1, flags=Flag.SIGNAL),))

    assert codes(wanted(service(1, routed=False), found=found)) == []


def test_a_port_makes_another_endpoint() -> None:
    found = replace(DEFAULTS, endpoints=(Endpoint(3, Address("10.0.1.2"), port=443, flags=Flag.SIGNAL),))

    assert len(wanted(service(1), found=found).endpoints) == 1


@pytest.mark.parametrize("room", [0, 2])
def test_the_kernels_implicit_endpoint_gives_way(room: int) -> None:
    implicit = Endpoint(1, Address("10.0.1.2"), flags=Flag.IMPLICIT)
    found = replace(DEFAULTS, room=room, endpoints=(implicit,))
    want = wanted(service(1), service(2), found=found)

    assert [str(change) for change in changes(want, found)] == [
        "ip mptcp endpoint delete id 1",
        "ip mptcp endpoint add 10.0.1.2 id 254 dev up1 subflow",
        "ip mptcp endpoint add 10.0.2.2 id 253 dev up2 subflow",
    ]
    elsewhere = changes(wanted(service(2), found=found), found)
    assert [str(change) for change in elsewhere] == ["ip mptcp endpoint add 10.0.2.2 id 254 dev up2 subflow"]


def test_without_mptcp_nothing_is_wanted_or_written() -> None:
    found = Mptcp("this kernel is built without MPTCP (CONFIG_MPTCP)")
    want = wanted(service(1), found=found)

    assert (want.endpoints, want.findings) == ((), ())
    assert changes(want, found) == ()


def test_endpoints_that_nobody_heeds_are_said() -> None:
    found = replace(DEFAULTS, manager=Manager.USERSPACE)

    assert codes(wanted(service(1), found=found)) == ["endpoints-unheard"]
    assert codes(wanted(service(1, OFF), found=found)) == []


# Limits.


@pytest.mark.parametrize(("links", "subflows"), [(0, 2), (1, 2), (2, 2), (3, 3), (8, 8)])
def test_limits_are_raised_to_the_number_of_links(links: int, subflows: int) -> None:
    assert wanted(*(service(n + 1) for n in range(links))).limits == Limits(subflows, 0)


def test_limits_count_the_family_that_has_more() -> None:
    services = [service(n, ON, f"fd00:{n}::2", f"fd00:{n}::3") for n in (1, 2)]

    assert wanted(*services).limits == Limits(4, 0)


def test_limits_are_never_lowered() -> None:
    found = replace(DEFAULTS, limits=Limits(7, 5))

    assert wanted(*(service(n) for n in (1, 2, 3)), found=found).limits == Limits(7, 5)
    assert wanted(found=found).limits == Limits(7, 5)


def test_endpoints_of_others_need_subflows_too() -> None:
    others = tuple(Endpoint(n, Address(f"10.6.0.{n}"), flags=Flag.SUBFLOW) for n in (1, 2))
    announced = Endpoint(3, Address("10.6.0.3"), flags=Flag.SIGNAL)
    found = replace(DEFAULTS, endpoints=(*others, announced))

    assert wanted(service(1), found=found).limits == Limits(3, 0)
    assert wanted(found=replace(found, limits=Limits(0, 0))).limits == Limits(0, 0)  # none of ours: not our affair


def test_limits_of_fullmesh_and_laminar() -> None:
    pair = (service(1), service(2))

    assert wanted(*pair, options=Options(fullmesh=True)).limits == Limits(6, 2)
    assert wanted(*pair, options=Options(laminar=True)).limits == Limits(2, 2)
    capped = replace(DEFAULTS, ceiling=4)
    assert wanted(*pair, found=capped, options=Options(fullmesh=True)).limits == Limits(4, 2)


def test_limits_can_be_left_alone() -> None:
    assert wanted(*(service(n) for n in range(1, 6)), options=Options(limits=False)).limits == DEFAULTS.limits


def test_limits_at_the_end_are_those_of_before_unless_others_set_them() -> None:
    before, raised = Limits(2, 0), Limits(5, 0)

    assert restored(before, raised, Limits(5, 0)) == Limits(2, 0)
    assert restored(before, raised, Limits(8, 3)) == Limits(8, 3)
    assert restored(before, raised, Limits(5, 3)) == Limits(2, 3)


# Writes.


def play(found: Mptcp, steps: Iterable[Change], room: int = 0) -> Mptcp:
    """What a kernel makes of writes; it refuses as the real one does."""
    there, limits, mine = {e.id: e for e in found.endpoints}, found.limits, set(found.mine)
    for step in steps:
        match step.what:
            case Limits():
                assert step.act is Act.SET
                limits = step.what
            case Endpoint(id=number):
                if step.act is Act.ADD:
                    assert number not in there, f"busy: {step}"
                    assert step.what.key not in {e.key for e in there.values()}, f"duplicate: {step}"
                    assert not room or len(there) < room, f"full: {step}"
                    there[number] = step.what
                    mine.add(step.what.name)
                elif step.act is Act.CHANGE:
                    old, both = there[number], Flag.BACKUP | Flag.FULLMESH
                    there[number] = replace(old, flags=(old.flags & ~both) | (step.what.flags & both))
                else:
                    del there[number]
                    mine.discard(step.what.name)
    endpoints = tuple(sorted(there.values(), key=lambda e: e.id))
    return replace(found, endpoints=endpoints, limits=limits, mine=frozenset(mine))


def test_between_on_and_backup_only_flags_change() -> None:
    found = having(ours(1), ours(2, Flag.SUBFLOW | Flag.BACKUP))
    want = wanted(service(1, BACKUP), service(2), found=found)

    assert [str(change) for change in changes(want, found)] == [
        "ip mptcp endpoint change id 201 nobackup nofullmesh",  # first, so that one is always there to carry
        "ip mptcp endpoint change id 200 backup nofullmesh",
    ]


def test_bits_of_a_newer_kernel_are_left_alone() -> None:
    found = having(ours(1, Flag.SUBFLOW | Flag(0x200)))

    assert found.endpoints[0].words() == "10.0.1.2 id 200 dev up1 subflow 0x200"
    assert changes(wanted(service(1), found=found), found) == ()


def test_another_device_needs_another_endpoint() -> None:
    moved = replace(ours(1), index=7, dev="old1")
    found = having(moved)

    assert [str(change) for change in changes(wanted(service(1), found=found), found)] == [
        "ip mptcp endpoint delete id 200",
        "ip mptcp endpoint add 10.0.1.2 id 200 dev up1 subflow",
    ]


def test_limits_first_and_removals_last() -> None:
    found = having(ours(9, id=200))
    want = wanted(*(service(n) for n in (1, 2, 3)), found=found)

    assert [change.act for change in changes(want, found)] == [Act.SET, *[Act.ADD] * 3, Act.DELETE]


def test_where_there_is_no_room_removals_come_first() -> None:
    found = having(ours(8, id=200), ours(9, id=201), room=2)
    want = wanted(service(1), service(2), found=found)

    assert [change.act for change in changes(want, found)] == [Act.DELETE, Act.DELETE, Act.ADD, Act.ADD]


def test_nothing_of_others_is_written_whatever_its_id() -> None:
    others = (Endpoint(1, Address("10.7.0.1"), flags=Flag.SUBFLOW), ours(8, id=210))
    found = having(ours(9, id=254), others=others)

    assert [str(c) for c in changes(Wanted(limits=found.limits), found)] == ["ip mptcp endpoint delete id 254"]


def test_what_looks_like_ours_after_a_start_without_memory() -> None:
    looks = ours(1)
    others = (
        replace(ours(2), id=199),
        replace(ours(3), index=0),
        replace(ours(4), port=443),
        replace(ours(5), flags=Flag.SIGNAL),
        replace(ours(6), flags=Flag.SUBFLOW | Flag.IMPLICIT),
    )
    ruled = routing(service(number) for number in range(1, 7))

    assert adoptable(having(others=[looks, *others, ours(7)]), NUMBERS, ruled) == {looks.name}


NEAR, FAR, FAR6 = Address("10.0.1.2"), Address("192.0.2.9"), Address("2001:db8::9")


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (
            Event(Kind.CREATED, 0x49EC018F, NEAR, 47920, FAR, 443, 0, 0, server=True),
            "49ec018f connection opened 10.0.1.2:47920 > 192.0.2.9:443, accepted here",
        ),
        (
            Event(Kind.SUB_ESTABLISHED, 1, NEAR, 4, FAR6, 443, 254, 0, backup=True, index=3),
            "00000001 subflow established 10.0.1.2:4 > [2001:db8::9]:443 by up1 (ids 254 > 0), backup for the far side",
        ),
        (
            Event(Kind.SUB_CLOSED, 1, NEAR, 4, FAR, 443, 254, 0, backup=False, index=9, error=104),
            "00000001 subflow closed 10.0.1.2:4 > 192.0.2.9:443 by if9 (ids 254 > 0): ECONNRESET",
        ),
        (
            Event(Kind.SUB_PRIORITY, 1, NEAR, 4, FAR, 443, 0, 7, backup=False),
            "00000001 far side changes priority 10.0.1.2:4 > 192.0.2.9:443 (ids 0 > 7): not backup",
        ),
        (
            Event(Kind.ANNOUNCED, 1, destination=FAR, dport=5, remote=5),
            "00000001 far side announces address 192.0.2.9:5 (id 5)",
        ),
        (Event(Kind.REMOVED, 1, remote=5), "00000001 far side withdraws address (id 5)"),
        (Event(Kind.CLOSED, 1), "00000001 connection closed"),
        (Event(Kind.LISTENER_CREATED, source=NEAR, sport=80), "listener opened 10.0.1.2:80"),
    ],
)
def test_events_in_words(event: Event, text: str) -> None:
    assert event.words({3: "up1"}) == text


FLAGS = st.sampled_from([Flag.SUBFLOW, Flag.SUBFLOW | Flag.BACKUP, Flag.SUBFLOW | Flag.FULLMESH, Flag.SIGNAL])
STATES = st.builds(
    lambda keys, ids, flags, indexes: tuple(
        Endpoint(i, Address(f"10.0.{k}.2"), n, 0, f) for k, i, f, n in zip(keys, ids, flags, indexes, strict=True)
    ),
    keys=st.lists(st.integers(1, 9), min_size=4, max_size=4, unique=True),
    ids=st.lists(st.one_of(st.integers(1, 3), st.integers(200, 206)), min_size=4, max_size=4, unique=True),
    flags=st.lists(FLAGS, min_size=4, max_size=4),
    indexes=st.lists(st.integers(1, 3), min_size=4, max_size=4),
)
MADE = st.integers(0, 4)  # how many of them are ours
MODES = st.lists(st.tuples(st.integers(1, 9), st.sampled_from(MptcpMode)), max_size=9, unique_by=lambda pair: pair[0])


@settings(max_examples=300, deadline=None)
@given(there=STATES, made=MADE, modes=MODES, room=st.sampled_from([0, 4, 6, 8]), fullmesh=st.booleans())
def test_the_law_of_changes(
    there: tuple[Endpoint, ...], made: int, modes: list[tuple[int, MptcpMode]], room: int, fullmesh: bool
) -> None:
    found = having(*there[:made], others=there[made:], room=room)
    theirs = sorted(there[made:], key=lambda endpoint: endpoint.id)
    services = [service(number, mode) for number, mode in modes]
    options = Options(fullmesh=fullmesh)
    want = wanted(*services, found=found, options=options)
    end = play(found, changes(want, found), room)

    assert {e for e in end.endpoints if e.name in end.mine} == set(want.endpoints)
    assert [e for e in end.endpoints if e.name not in end.mine] == theirs
    assert end.limits == want.limits
    again = wanted(*services, found=end, options=options)
    assert changes(again, end) == ()
    assert set(again.endpoints) == set(want.endpoints)


@given(there=STATES, made=MADE, modes=MODES)
def test_while_flags_change_somebody_carries(
    there: tuple[Endpoint, ...], made: int, modes: list[tuple[int, MptcpMode]]
) -> None:
    """Becoming primary comes before becoming a backup."""
    found = having(*there[:made], others=there[made:])
    want = wanted(*(service(number, mode) for number, mode in modes), found=found)
    turns = [bool(c.what.flags & Flag.BACKUP) for c in changes(want, found)
             if c.act is Act.CHANGE and isinstance(c.what, Endpoint)]  # fmt: skip

    assert all(a <= b for a, b in pairwise(turns))


# Kernels of multipath-tcp.org.


LINKS = tuple(LinkUse(number, ON, f"up{number}") for number in (1, 2, 3))


def test_links_are_for_what_their_services_say() -> None:
    """Unrouted ones stay as they are, unless mpathd has set them."""
    found = Mptcp(links=(LINKS[0], LinkUse(2, OFF, "up2"), LinkUse(3, OFF, "up3")), mine=frozenset({LINKS[2].name}))
    want = desire([service(1, BACKUP), service(2, routed=False), service(3, routed=False)], found, routing([]), NUMBERS)

    assert [str(change) for change in changes(want, found)] == [
        "ip link set dev up1 multipath backup",
        "ip link set dev up3 multipath on",
    ]
    assert changes(want, replace(found, links=want.links)) == ()


def test_links_are_set_back_at_the_end_where_mpathd_had_set_them() -> None:
    found = Mptcp(links=(LinkUse(1, BACKUP, "up1"), LinkUse(2, OFF, "up2")))
    due = [Change(Act.SET, LinkUse(1, BACKUP, "up1"))]
    memory = kept(Kept(), found, due, whole=True)

    assert memory == Kept(frozenset({LINKS[0].name}))
    assert [str(c) for c in farewell(memory, replace(found, mine=memory.mine))] == ["ip link set dev up1 multipath on"]


# Memory.


def test_what_is_ours_is_written_down_before_it_is_made() -> None:
    found = having(ours(1))
    due = [Change(Act.SET, Limits(3, 0)), Change(Act.ADD, ours(2)), Change(Act.DELETE, ours(1))]

    assert kept(Kept(), found, due, whole=True) == Kept(
        frozenset({ours(1).name, ours(2).name}), before=Limits(2, 0), raised=Limits(3, 0)
    )


def test_limits_of_before_are_those_that_others_have_set_last() -> None:
    memory = Kept(before=Limits(2, 0), raised=Limits(4, 0))
    raised = [Change(Act.SET, Limits(6, 0))]

    assert kept(memory, Mptcp(limits=Limits(4, 0)), raised, whole=True).before == Limits(2, 0)
    assert kept(memory, Mptcp(limits=Limits(5, 0)), raised, whole=True).before == Limits(5, 0)
    # While removals are under way, what is there is only asked for: nobody else has set it.
    assert kept(memory, Mptcp(limits=Limits(5, 0)), raised, whole=False).before == Limits(2, 0)


def test_while_removals_are_under_way_nothing_is_forgotten() -> None:
    memory = Kept(frozenset({ours(1).name}))

    assert kept(memory, having(), [], whole=False) == memory
    assert kept(memory, having(), [], whole=True) == Kept()


def test_an_id_that_was_in_use_is_the_last_to_be_given_again() -> None:
    found = replace(DEFAULTS, spent=(254, 252))
    want = wanted(service(1), service(2), found=found)

    assert [endpoint.id for endpoint in want.endpoints] == [253, 251]
    few = replace(NUMBERS, endpoint_ids=(252, 254))
    assert spare(found, few) == (253, 254, 252)


def test_switched_off_nothing_comes_and_what_is_there_stays_until_its_link_goes() -> None:
    off = having(ours(1, id=254), ours(2, id=253))
    off = replace(off, missing="MPTCP is switched off")

    want = wanted(service(1), service(3), found=off)
    assert [str(change) for change in changes(want, off)] == ["ip mptcp endpoint delete id 253"]


def test_what_others_undo_is_told_from_what_is_new() -> None:
    want = Wanted((ours(1),), Limits(3, 0))

    assert holds(want, Change(Act.ADD, ours(1)))
    assert holds(want, Change(Act.SET, Limits(3, 0)))
    assert holds(want, Change(Act.DELETE, ours(2)))
    assert not holds(want, Change(Act.ADD, ours(2)))
    assert not holds(want, Change(Act.DELETE, ours(1)))
    assert not holds(want, Change(Act.SET, LINKS[0]))
