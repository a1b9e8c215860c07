"""A look at only what was heard to move finds all that a look at everything finds."""

from __future__ import annotations

import select
import subprocess
from collections.abc import Iterator

import pytest

from labkit.agent import eventually
from labkit.netns import in_ns
from mpathd.kernel.machine import Machine
from mpathd.kernel.rtnetlink import Hand
from mpathd.kernel.rtnetlink.socket import Netlink
from mpathd.model.routing import Action, Rule, Step, Verb
from mpathd.model.words import Family, Prefix
from mpathd.model.world import World

NS = "mpathd-heard"
SETUP = """
link set lo up
link add eth0 type veth peer name far0
link add eth1 type veth peer name far1
link set far0 up
link set far1 up
link set eth0 addrgenmode none up
link set eth1 addrgenmode none up
addr add 10.0.1.2/24 dev eth0
addr add 10.0.2.2/24 dev eth1
addr add fd00:1::2/64 dev eth0 nodad
addr add fd00:2::2/64 dev eth1 nodad
nexthop add id 7 via 10.0.1.7 dev eth0
route add 10.7.0.0/16 nhid 7
route add default via 10.0.1.1 dev eth0 metric 100
route add default via fd00:1::1 dev eth0 metric 512
rule add pref 100 from 10.0.1.0/24 lookup 300
"""
MOVES = (
    "link set eth1 down",
    "link set far1 down",
    "link set eth0 mtu 1400",
    "link del eth1",
    "link add eth2 type veth peer name far2",
    "addr add 10.0.3.2/24 dev eth1",
    "addr del 10.0.1.2/24 dev eth0",
    "addr change fd00:1::2/64 dev eth0 preferred_lft 0 valid_lft 900",
    "route add 10.55.0.0/16 via 10.0.2.1",
    "route del default via 10.0.1.1 dev eth0 metric 100",
    "-6 route replace default via fd00:1::9 dev eth0 metric 512",
    "-6 route add fd55::/48 via fd00:1::9 dev eth0 expires 900",
    "nexthop replace id 7 via 10.0.1.8 dev eth0",
    "nexthop del id 7",
    "rule add pref 101 fwmark 0x50000 lookup 300",
    "rule del pref 100",
    "-6 rule add pref 200 iif eth1 lookup 301",
)
OURS = Rule(Family.INET, 22000, Prefix("10.0.1.2/32"), 257)


def _ip(line: str) -> None:
    subprocess.run(["ip", "-n", NS, *line.split()], check=True, timeout=10)


def _still(machine: Machine) -> bool:
    machine.heard()
    found = machine.look(109)
    links = [link for link in found.links.values() if not link.loopback]
    return all(link.carrier for link in links) and not select.select([machine.watch], [], [], 0.05)[0]


@pytest.fixture
def machine() -> Iterator[Machine]:
    """The hands in a namespace with two links, where nothing happens by itself any more."""
    subprocess.run(["ip", "netns", "add", NS], check=True, timeout=10)
    try:
        subprocess.run(["ip", "-n", NS, "-batch", "-"], input=SETUP, text=True, check=True, timeout=20)
        made = in_ns(NS, Machine)
        eventually(lambda: in_ns(NS, lambda: _still(made)))
        yield made
        made.close()
    finally:
        subprocess.run(["ip", "netns", "del", NS], check=True, timeout=10)


def _whole() -> World:
    hand = in_ns(NS, Hand)
    try:
        return in_ns(NS, lambda: hand.look(109))
    finally:
        hand.close()


def _same(found: World, other: World) -> bool:
    return (
        {index: (link.name, link.carrier, link.up, link.mtu, link.addresses) for index, link in found.links.items()}
        == {index: (link.name, link.carrier, link.up, link.mtu, link.addresses) for index, link in other.links.items()}
        and (found.main, found.rules, found.uncopied, found.have.rules, found.have.routes)
        == (other.main, other.rules, other.uncopied, other.have.rules, other.have.routes)
    )  # fmt: skip


@pytest.mark.parametrize("taken", [True, False], ids=["heard", "waiting"])
@pytest.mark.parametrize("move", MOVES)
def test_what_others_move_is_seen(machine: Machine, move: str, taken: bool) -> None:
    before = in_ns(NS, lambda: machine.look(109))
    _ip(move)
    eventually(lambda: not _same(before, _whole()))

    def seen() -> bool:
        if taken:
            machine.heard()
        return _same(machine.look(109, whole=False), _whole())

    assert in_ns(NS, lambda: eventually(seen))
    assert in_ns(NS, lambda: _same(machine.look(109, whole=False), machine.look(109)))


def test_what_was_written_is_seen(machine: Machine) -> None:
    in_ns(NS, lambda: machine.look(109))
    for verb, there in ((Verb.ADD, {OURS}), (Verb.DELETE, set())):
        step = Step(verb, OURS)
        assert machine.apply([step]) == ((step,), ())
        assert machine.look(109, whole=False).have.rules == there


def test_what_nobody_moved_is_not_asked_for() -> None:
    subprocess.run(["ip", "netns", "add", NS], check=True, timeout=10)
    try:
        hand = in_ns(NS, Hand)
        before = hand.look(109)
        hand.close()  # whoever asks now fails
        assert hand.look(109, whole=False) is before
        hand.heard({"rule"})
        with pytest.raises(OSError, match="Bad file descriptor"):
            hand.look(109, whole=False)
        with pytest.raises(OSError, match="Bad file descriptor"):  # and it is still to be asked for
            hand.look(109, whole=False)
    finally:
        subprocess.run(["ip", "netns", "del", NS], check=True, timeout=10)


def test_an_event_that_nobody_knows_may_have_moved_everything(machine: Machine) -> None:
    hand = in_ns(NS, Hand)
    hand.look(109)
    rule = Rule(Family.INET6, 22001, Prefix("fd00:1::2/128"), action=Action.UNREACHABLE)
    _ip(f"-6 rule add pref 22001 from {rule.source} unreachable protocol 109")
    _ip("link set eth0 mtu 1300")
    assert not hand.look(109, whole=False).have.rules
    hand.heard({"overrun"})
    found = hand.look(109, whole=False)
    assert found.have.rules == {rule}
    assert any(link.mtu == 1300 for link in found.links.values())
    hand.close()


def test_a_link_that_has_lost_an_address_is_looked_at(machine: Machine) -> None:
    """Of a link that goes down routes are heard first: its IPv6 addresses are gone then, because it is down."""
    hand = in_ns(NS, Hand)
    try:
        in_ns(NS, lambda: hand.look(109))
        _ip("link set eth1 down")
        hand.heard({"route"})
        found = in_ns(NS, lambda: hand.look(109, whole=False))
    finally:
        hand.close()
    link = next(link for link in found.links.values() if link.name == "eth1")
    assert [one.address for one in link.addresses] == ["10.0.2.2"]
    assert not link.up


@pytest.mark.parametrize("heard", [("route",), ("address gone",), ("link", "route")], ids=" ".join)
@pytest.mark.parametrize("question", range(5))
def test_a_link_that_goes_down_in_the_midst_of_a_look(
    machine: Machine, question: int, heard: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two questions: whatever the link has lost, it is seen to be down."""
    hand, asked, send = in_ns(NS, Hand), 0, Netlink.send

    def sent(netlink: Netlink, data: bytes) -> None:
        nonlocal asked
        if asked == question:
            _ip("link set eth0 down")
        asked += 1
        send(netlink, data)

    try:
        before = in_ns(NS, lambda: hand.look(109))
        hand.heard(heard)
        with monkeypatch.context() as patched:
            patched.setattr(Netlink, "send", sent)
            found = in_ns(NS, lambda: hand.look(109, whole=False))
    finally:
        hand.close()
    link = next(link for link in found.links.values() if link.name == "eth0")
    whole = next(link for link in before.links.values() if link.name == "eth0")
    lost = set(before.main) - set(found.main) or set(whole.addresses) - set(link.addresses)
    assert not (lost and link.up), lost
