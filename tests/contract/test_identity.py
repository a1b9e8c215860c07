"""What stays is given as the same object by the next look, and what was written as the very object that was written."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit.agent import eventually
from labkit.netns import in_ns
from mpathd.kernel.machine import Machine
from mpathd.kernel.mptcp import PathManager
from mpathd.kernel.netlink import F_CREATE, F_DUMP, HEADER, message
from mpathd.kernel.rtnetlink import Hand, decode, encode
from mpathd.kernel.rtnetlink.wire import GETRULE, NEWRULE
from mpathd.kernel.sysctl import Sysctls
from mpathd.model.mptcp import Act, Change, Endpoint, Flag, Limits, Manager
from mpathd.model.routing import Action, Hop, Route, Rule, Step, Traffic, Verb
from mpathd.model.words import Address, Family, Prefix
from mpathd.model.world import World

NS = "mpathd-identity"
SETUP = """
link add eth0 type veth peer name far0
link add eth1 type veth peer name far1
link set far0 up
link set far1 up
link set eth0 up
link set eth1 up
addr add 10.0.1.2/24 dev eth0
addr add 10.0.2.2/24 dev eth1
addr add fd00:1::2/64 dev eth0 nodad
addr add fd00:2::2/64 dev eth1 nodad
route add default via 10.0.1.1 dev eth0 metric 100
route add default via fd00:1::1 dev eth0 metric 512
rule add pref 100 from 10.0.1.0/24 lookup 300
"""
MASK = 0x7FFF0000
MTU = bytes.fromhex("0800020014050000")  # RTA_METRICS: mtu 1300
RULES = tuple(
    rule
    for family, source in ((Family.INET, Prefix("10.0.1.2/32")), (Family.INET6, Prefix("fd00:1::2/128")))
    for rule in (
        Rule(family, 22000, source, 257, 0),
        Rule(family, 22001, source, 254, 1),
        Rule(family, 22002, source, 257),
        Rule(family, 22003, source, action=Action.UNREACHABLE),
        Rule(family, 20003, source, 0x80000101, None, 0x10000, MASK),
        Rule(family, 20001, None, 0x10000, 0, 0x10000, MASK),
        Rule(family, 21001, mark=0x10000, mask=MASK, action=Action.UNREACHABLE),
        Rule(family, 21999, action=Action.NOP),
        Rule(family, 19000, action=Action.GOTO, mask=MASK, traffic=Traffic(), target=21999),
        Rule(family, 19010, source, 254, mask=MASK, traffic=Traffic(None, 1000, 6, (1, 9), (80, 80))),
    )
)


def _routes(world: World) -> tuple[Route, ...]:
    index = {link.name: link.index for link in world.links.values()}
    one, two = Hop(index["eth0"], dev="eth0"), Hop(index["eth1"], dev="eth1")
    far, near = Hop(one.index, Address("10.0.1.1"), dev="eth0"), Address("10.0.1.2")
    four, six = Family.INET, Family.INET6
    return (
        Route(four, 300, Prefix("10.0.1.0/24"), (one,), source=near, link_scope=True),
        Route(four, 300, four.any, (far,), metric=5, source=near),
        Route(four, 70000, four.any, (Hop(one.index, Address("10.7.0.1"), onlink=True, dev="eth0"),)),
        Route(four, 300, Prefix("10.8.0.0/16"), (Hop(one.index, Address("fd00:1::9"), dev="eth0"),)),
        Route(four, 300, Prefix("10.9.0.0/16"), (Hop(one.index, far.via, realm=7, dev="eth0"),), metrics=MTU),
        Route(four, 301, four.any, (Hop(one.index, far.via, weight=3, dev="eth0"), two)),
        Route(four, 300, Prefix("10.3.0.0/16"), (), throw=True),
        Route(six, 300, Prefix("fd00:1::/64"), (one,), metric=256),
        Route(six, 300, six.any, (Hop(one.index, Address("fe80::1"), dev="eth0"),), metric=1024, metrics=MTU),
        Route(six, 300, Prefix("fd03::/48"), (Hop(one.index, Address("fd00:1::9"), dev="eth0"),), 7, preference=1),
        Route(six, 300, Prefix("fd04::/48"), (), metric=1024, throw=True),
    )


def _steps(routes: tuple[Route, ...]) -> list[Step]:
    return [*(Step(Verb.ADD, route) for route in routes), *(Step(Verb.ADD, rule) for rule in RULES)]


def _ip(line: str) -> None:
    subprocess.run(["ip", "-n", NS, *line.split()], check=True, timeout=10)


def _no_checks_for_duplicates() -> None:
    """They would end while somebody looks."""
    for scope in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{scope}/accept_dad").write_text("0")


def _calm(world: World) -> bool:
    links = [link for link in world.links.values() if not link.loopback]
    return all(link.carrier and any(a.family is Family.INET6 for a in link.addresses) for link in links)


@pytest.fixture
def hand() -> Iterator[Hand]:
    """A hand in a namespace with two links, where nothing happens by itself any more."""
    subprocess.run(["ip", "netns", "add", NS], check=True, timeout=10)
    try:
        in_ns(NS, _no_checks_for_duplicates)
        subprocess.run(["ip", "-n", NS, "-batch", "-"], input=SETUP, text=True, check=True, timeout=20)
        made = in_ns(NS, Hand)
        eventually(lambda: _calm(made.look(109)) and made.look(109) is made.look(109))
        yield made
        made.close()
    finally:
        subprocess.run(["ip", "netns", "del", NS], check=True, timeout=10)


def test_an_unchanged_kernel_is_the_same_world(hand: Hand) -> None:
    steps = _steps(_routes(hand.look(109)))
    assert not hand.apply(steps).refused
    before = hand.look(109)

    assert hand.look(109) is before
    hand.apply([Step(Verb.DELETE, RULES[0])])
    after = hand.look(109)
    assert after.have.rules == before.have.rules - {RULES[0]}
    assert after.links is before.links
    assert after.main is before.main
    assert after.rules is before.rules
    assert after.have.routes is before.have.routes
    _ip("addr add 10.0.1.3/24 dev eth0")
    last = hand.look(109)
    assert last.have is after.have
    assert [a.address for link in last.links.values() for a in link.addresses].count(Address("10.0.1.3")) == 1
    same = {link.name for index, link in last.links.items() if link is before.links[index]}
    assert same == {link.name for link in last.links.values()} - {"eth0"}


def test_what_was_written_is_read_as_the_same_object(hand: Hand) -> None:
    routes = _routes(hand.look(109))
    written = {id(what) for what in (*routes, *RULES)}
    assert not hand.apply(_steps(routes)).refused
    have = hand.look(109).have

    assert have.routes == frozenset(routes)
    assert have.rules == frozenset(RULES)
    assert {id(what) for what in (*have.routes, *have.rules)} == written


def test_what_was_written_means_what_the_kernel_says_of_it(hand: Hand) -> None:
    """A hand that has written nothing decodes it all, and both say the same."""
    steps = _steps(_routes(hand.look(109)))
    assert not hand.apply(steps).refused
    other = in_ns(NS, Hand)
    ours, theirs = hand.look(109), other.look(109)
    other.close()

    assert ours == theirs
    assert _printed(ours) == _printed(theirs)


def _printed(world: World) -> list[str]:
    return sorted(str(what) for what in (*world.main, *world.foreign, *world.have.routes, *world.have.rules))


def test_a_message_of_ours_read_back_is_what_was_meant(hand: Hand) -> None:
    """By our own decoder alone: what is expected to be told is what it would be taken for."""
    world = hand.look(109)
    names = {index: link.name for index, link in world.links.items()}
    for route in _routes(world):
        body = encode.echo(route, encode.step(Step(Verb.ADD, route), 0))
        indexes = tuple(hop.index for hop in route.hops)
        assert decode.route(body, 0, len(body), names) == decode.Found(route, None, indexes, "", route.destination)
    for rule in RULES:
        body = encode.echo(rule, encode.step(Step(Verb.ADD, rule), 0))
        assert decode.rule(body, 0, len(body)) == rule


def test_rules_are_told_in_the_words_in_which_they_were_written(hand: Hand) -> None:
    """Nearly all: those with ports say more since Linux 6.15 than they are asked. Otherwise looks cost more only."""
    assert not hand.apply([Step(Verb.ADD, rule) for rule in RULES]).refused
    told = {raw for family in Family for raw in hand._netlink.dump(GETRULE, bytes((family,)) + bytes(11))}

    for rule in RULES:
        if rule.traffic is None or rule.traffic.sport is None:
            assert encode.step(Step(Verb.ADD, rule), 0)[HEADER.size :] in told, str(rule)


def test_a_renamed_link_is_printed_by_its_new_name(hand: Hand) -> None:
    routes = _routes(hand.look(109))
    assert not hand.apply([Step(Verb.ADD, route) for route in routes]).refused
    _ip("link set eth1 name wan1")
    world = hand.look(109)

    assert world.have.routes == frozenset(routes)
    assert {hop.dev for route in world.have.routes for hop in route.hops} == {"eth0", "wan1"}
    assert {hop.dev for route in world.main for hop in route.hops} == {"eth0", "wan1", "far0", "far1"}


def test_a_route_of_others_that_equals_ours_stays_theirs(hand: Hand) -> None:
    mine = _routes(hand.look(109))[0]
    assert not hand.apply([Step(Verb.ADD, mine)]).refused
    _ip(f"route del {mine.destination} table 300")
    _ip(f"route add {mine.destination} dev eth0 table 300 scope link src {mine.source} proto 99")
    world = hand.look(109)

    assert world.have.routes == frozenset()
    assert [(route, route.protocol) for route in world.foreign] == [(mine, 99)]


def test_another_protocol_is_asked_for(hand: Hand) -> None:
    assert not hand.apply([Step(Verb.ADD, rule) for rule in RULES]).refused
    assert hand.look(109).have.rules == frozenset(RULES)
    world = hand.look(110)

    assert world.have.rules == frozenset()
    assert set(RULES) < set(world.rules)
    assert hand.look(109).have.rules == frozenset(RULES)


def test_equal_rules_of_ours_go_one_by_one(hand: Hand) -> None:
    """The kernel takes the same rule twice from whom does not ask it not to."""
    rule = RULES[0]
    first = hand._netlink.number(2)
    body = encode.rule(rule)
    twice = [message(NEWRULE, F_CREATE, number, body) for number in (first, first + 1)]  # without F_EXCL
    assert hand._netlink.request(twice) == [(0, ""), (0, "")]
    assert hand.look(109).have.rules == {rule}
    for there in ({rule}, set()):
        assert not hand.apply([Step(Verb.DELETE, rule)]).refused
        assert hand.look(109).have.rules == there


def test_a_question_that_was_given_up_disturbs_none_of_the_next(hand: Hand) -> None:
    many = [Rule(Family.INET, 20003, None, 300 + number) for number in range(1000)]
    assert not hand.apply([Step(Verb.ADD, rule) for rule in many]).refused
    before = hand.look(109)
    netlink = hand._netlink
    netlink.send(message(GETRULE, F_DUMP, netlink.number(), bytes((Family.INET,)) + bytes(11)))

    assert hand.look(109) == before
    assert hand.look(109).have.rules == frozenset(many)


def test_all_answers_of_many_writes_are_heard(hand: Hand) -> None:
    rules = [Rule(Family.INET, 20003, None, 300 + number) for number in range(350)]
    assert not hand.apply([Step(Verb.ADD, rule) for rule in rules[::3]]).refused
    report = hand.apply([Step(Verb.ADD, rule) for rule in rules])

    assert [step.what for step, _ in report.refused] == rules[::3]
    assert {refusal.errno for _, refusal in report.refused} == {errno.EEXIST}
    assert hand.look(109).have.rules == frozenset(rules)


def _set(name: str, value: object) -> None:
    subprocess.run(["ip", "netns", "exec", NS, "sysctl", "-qw", f"{name}={value}"], check=True, timeout=10)


def test_the_whole_machine_is_the_same_world_until_something_changes(hand: Hand) -> None:
    machine = in_ns(NS, Machine)
    before = machine.look(109)
    assert machine.look(109) is before
    assert not machine.apply([Step(Verb.ADD, RULES[0])])[1]
    after = machine.look(109)
    assert after.have.rules == {RULES[0]}
    assert (after.links, after.main) == (before.links, before.main)
    assert after.links is before.links
    assert after.have.packets is before.have.packets
    assert after.have.sockets is before.have.sockets
    _set("net.ipv4.conf.all.rp_filter", 2)
    _set("net.ipv4.conf.all.arp_ignore", 1)
    _set("net.ipv4.ip_forward", 1)
    last = machine.look(109)
    machine.close()

    assert (before.rp_filter_all, before.arp_ignore_all, before.forwarding) == (0, 0, False)
    assert (last.rp_filter_all, last.arp_ignore_all, last.forwarding) == (2, 1, True)
    assert last.have is after.have


def test_sysctls_are_those_of_the_namespace_in_which_they_were_opened(hand: Hand) -> None:
    _set("net.ipv4.conf.all.arp_ignore", 7)
    sysctls = in_ns(
        NS, lambda: Sysctls("net.ipv4.conf.all.arp_ignore", "net.ipv4.no.such", "net.ipv4.ping_group_range")
    )

    assert sysctls.numbers() == (7, 0, 0)  # not there, and no number
    _set("net.ipv4.conf.all.arp_ignore", 3)
    assert sysctls.numbers() == (3, 0, 0)
    sysctls.close()


def test_mptcp_is_the_same_until_something_changes(hand: Hand) -> None:
    manager = in_ns(NS, PathManager)
    names = {index: link.name for index, link in hand.look(109).links.items()}
    before = manager.look(names)
    assert manager.look(dict(names)) is before
    one = Endpoint(1, Address("10.0.1.2"), next(iter(names)), flags=Flag.SUBFLOW)
    assert not manager.apply([Change(Act.ADD, one)])[1]
    after = manager.look(names)
    assert after.endpoints == (one,)
    assert manager.look(names) is after
    subprocess.run(["ip", "-n", NS, "mptcp", "limits", "set", "subflows", "5"], check=True, timeout=10)
    assert manager.look(names).limits == Limits(5, 0)
    subprocess.run(["ip", "-n", NS, "mptcp", "endpoint", "add", "10.0.2.2", "id", "2"], check=True, timeout=10)
    assert [endpoint.id for endpoint in manager.look(names).endpoints] == [1, 2]
    assert manager.look({**names, one.index: "renamed"}).endpoints[0].dev == "renamed"
    _set("net.mptcp.path_manager", "userspace")
    assert manager.look(names).manager is Manager.USERSPACE
    _set("net.mptcp.enabled", 0)
    assert "switched off" in manager.look(names).missing
    manager.close()


def test_what_has_an_end_is_the_same_while_it_counts_down(hand: Hand) -> None:
    _ip("-6 route add fd09::/48 via fd00:1::9 dev eth0 expires 500")
    _ip("-6 route add fd08::/48 dev eth1 expires 900 mtu 1300")
    _ip("-6 route add unreachable fd07::/48 expires 900")
    _ip("addr add 10.0.1.9/24 dev eth0 valid_lft 1000 preferred_lft 900")
    first = hand.look(109)
    assert first.next_expiry is not None
    last = eventually(lambda: world if (world := hand.look(109)).next_expiry != first.next_expiry else None)
    assert last is not None
    assert last.next_expiry is not None

    assert 400 < last.next_expiry < first.next_expiry <= 500
    assert last.main is first.main
    assert last.links is first.links
    assert last.have is first.have


def test_a_route_that_is_made_permanent_has_no_end(hand: Hand) -> None:
    _ip("-6 route add fd09::/48 dev eth0 expires 500")
    assert hand.look(109).next_expiry is not None
    _ip("-6 route change fd09::/48 dev eth0")

    assert hand.look(109).next_expiry is None
    assert Prefix("fd09::/48") in {route.destination for route in hand.look(109).main}


def test_a_route_ends_when_its_time_is_over(hand: Hand) -> None:
    """Its last tick is told as no end at all."""
    _ip("-6 route add fd09::/48 dev eth0 expires 1")
    seen = []

    def gone() -> bool:
        world = hand.look(109)
        there = Prefix("fd09::/48") in {route.destination for route in world.main}
        seen.append((there, world.next_expiry is not None))
        return not there

    eventually(gone)
    assert len(seen) > 10
    assert {*seen[:-1]} == {(True, True)}  # looked at all the time, it had an end
    assert seen[-1] == (False, False)
