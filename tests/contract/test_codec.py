"""Our lean rtnetlink codec against pyroute2's, on a namespace full of odd objects."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from pyroute2 import IPRoute
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from labkit.netns import in_ns
from mpathd.kernel.rtnetlink import Hand, decode, encode
from mpathd.kernel.rtnetlink.socket import Netlink
from mpathd.model.routing import Action, Hop, Route, Rule, Step, Traffic, Verb
from mpathd.model.words import Address, Family, Prefix
from mpathd.model.world import World

NS, NS2 = "contract-codec", "contract-words"
SETUP = """
link set lo up
link add eth0 type veth peer name far0
link add eth1 type veth peer name far1
link add br0 type bridge
link add mv0 link eth1 type macvlan mode bridge
link set far0 up
link set far1 up master br0
link set eth0 up mtu 1400
link set eth1 up
link set br0 up
addr add 10.0.1.2/24 dev eth0
addr add 10.0.1.3/24 dev eth0
addr add 10.7.0.1 peer 10.7.0.2/32 dev eth1
addr add 10.0.2.2/24 dev eth1 valid_lft 1000 preferred_lft 0
addr add fd00:1::2/64 dev eth0 nodad
addr add fd00:2::2/64 dev eth1 nodad valid_lft 900 preferred_lft 0
route add default via 10.0.1.1 dev eth0 metric 100
route add default nexthop via 10.0.1.1 dev eth0 weight 3 nexthop via 10.0.2.1 dev eth1 weight 2
route add 10.9.0.0/16 via 10.0.1.9 dev eth0 src 10.0.1.3 mtu lock 1300 advmss 1200 realm 3/5
route add 10.10.0.0/16 tos 8 via 10.77.0.1 dev eth1 onlink
route add 10.11.0.0/16 via inet6 fd00:1::9 dev eth0
route add unreachable 10.12.0.0/16
route add 10.13.0.0/16 encap ip id 7 dst 10.0.1.9 via 10.0.1.9 dev eth0
route add default via fe80::9 dev eth0 metric 512 pref high
route add fd09::/48 via fd00:1::9 dev eth0 mtu 1280
route add fd0a::/48 nexthop via fd00:1::8 dev eth0 nexthop via fd00:2::8 dev eth1
route add fd0b::/48 via fd00:1::9 dev eth0 expires 500
rule add pref 100 from 10.0.1.0/24 lookup 300
rule add pref 101 fwmark 0x10/0xff lookup main suppress_prefixlength 1
rule add pref 102 iif lo uidrange 1000-1001 ipproto udp dport 53 lookup 301
rule add pref 103 to 10.3.0.0/16 prohibit
rule add not pref 104 from 10.4.0.0/16 unreachable proto 109
"""
SETUP6 = "rule add pref 105 from fd00::/8 lookup 70000 suppress_prefixlength 0 proto 109"


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[World, dict[str, list[Any]]]]:
    """What we read and what pyroute2 reads, of one namespace."""
    subprocess.run(["ip", "netns", "add", NS], check=True, timeout=10)
    try:
        subprocess.run(["ip", "-n", NS, "-batch", "-"], input=SETUP, text=True, check=True, timeout=20)
        subprocess.run(["ip", "-6", "-n", NS, *SETUP6.split()], check=True, timeout=10)
        hand = in_ns(NS, Hand)
        world = hand.look(109)
        hand.close()

        def oracle() -> dict[str, list[Any]]:
            with IPRoute() as ip:
                return {
                    "links": list(ip.get_links()),
                    "addresses": list(ip.get_addr()),
                    "routes": [*ip.get_routes(family=2, table=254), *ip.get_routes(family=10, table=254)],
                    "rules": [*ip.get_rules(family=2), *ip.get_rules(family=10)],
                }

        yield world, in_ns(NS, oracle)
    finally:
        subprocess.run(["ip", "netns", "del", NS], check=True, timeout=10)


def test_links(both: tuple[World, dict[str, list[Any]]]) -> None:
    world, theirs = both

    for link in theirs["links"]:
        ours = world.links[link["index"]]
        info = link.get_attr("IFLA_LINKINFO")
        kind = info.get_attr("IFLA_INFO_KIND") if info else None
        mac = link.get_attr("IFLA_ADDRESS")
        assert ours.name == link.get_attr("IFLA_IFNAME")
        assert ours.mac.hex(":") == ("" if mac == "00:00:00:00:00:00" else mac)
        assert ours.mtu == link.get_attr("IFLA_MTU")
        assert ours.kind == (kind or "")
        assert ours.master == (link.get_attr("IFLA_MASTER") or 0)
        assert ours.hardware == link["ifi_type"]
        assert ours.up == bool(link["flags"] & 1)
        conf = link.get_attr("IFLA_AF_SPEC").get_attr("AF_INET")
        assert (ours.rp_filter, ours.arp_ignore) == (conf["rp_filter"], conf["arp_ignore"])
    assert len(world.links) == len(theirs["links"])


def test_a_vlan_as_pyroute2_writes_it() -> None:
    """This kernel may have no VLAN devices; the message is pyroute2's."""
    message = ifinfmsg()
    message["index"], message["flags"] = 9, 0x10043
    data = {"attrs": [["IFLA_VLAN_ID", 7]]}
    info = {"attrs": [["IFLA_INFO_KIND", "vlan"], ["IFLA_INFO_DATA", data]]}
    message["attrs"] = [["IFLA_IFNAME", "eth0.7"], ["IFLA_LINKINFO", info]]
    message.encode()

    link = decode.link(bytes(message.data), 16, len(message.data))

    assert (link.index, link.name, link.kind, link.vlan, link.carrier) == (9, "eth0.7", "vlan", 7, True)


def test_addresses(both: tuple[World, dict[str, list[Any]]]) -> None:
    world, theirs = both
    ours = {(i, a.address, a.bits): a for i, link in world.links.items() for a in link.addresses}

    for item in theirs["addresses"]:
        own = item.get_attr("IFA_LOCAL") or item.get_attr("IFA_ADDRESS")
        found = ours.pop((item["index"], own, item["prefixlen"]))
        flags = item.get_attr("IFA_FLAGS")
        assert found.universal == (item["scope"] in {0, 200})
        assert found.deprecated == bool(flags & 0x20)
        assert found.permanent == bool(flags & 0x80)
        assert (found.secondary or found.temporary) == bool(flags & 0x01)
        far = item.get_attr("IFA_ADDRESS")
        assert found.peer == (far if far != own else None)
    assert not ours


def _plain(route: Any) -> tuple[object, ...]:
    dst = route.get_attr("RTA_DST")
    family = Family(route["family"])
    hops = route.get_attr("RTA_MULTIPATH")
    if hops:
        ways = tuple((h["oif"], h.get_attr("RTA_GATEWAY"), h["hops"] + 1) for h in hops)
    else:
        via = route.get_attr("RTA_VIA")
        ways = ((route.get_attr("RTA_OIF"), route.get_attr("RTA_GATEWAY") or (via["addr"] if via else None), 1),)
    return (
        family,
        f"{dst}/{route['dst_len']}" if dst else family.any,
        ways,
        route.get_attr("RTA_PRIORITY") or 0,
        route.get_attr("RTA_PREFSRC"),
        route["tos"],
        route["scope"] == 253,
        int(route.get_attr("RTA_PREF") or 0),
    )


def test_routes_of_main(both: tuple[World, dict[str, list[Any]]]) -> None:
    world, theirs = both
    ours = {
        (
            r.family,
            r.destination,
            tuple((h.index, h.via, h.weight) for h in r.hops),
            r.metric,
            r.source,
            r.tos,
            r.link_scope,
            r.preference,
        )
        for r in world.main
    }

    assert ours == {_plain(route) for route in theirs["routes"] if route["type"] == 1}
    assert len(world.main) == len(ours)
    by_destination = {route.destination: route for route in world.main}
    assert by_destination[Prefix("10.10.0.0/16")].hops[0].onlink
    assert by_destination[Prefix("10.13.0.0/16")].hops[0].encap
    assert by_destination[Prefix("10.9.0.0/16")].metrics
    assert by_destination[Prefix("10.9.0.0/16")].hops[0].realm == 3 << 16 | 5
    assert world.next_expiry is not None
    assert 400 < world.next_expiry <= 500


def test_rules(both: tuple[World, dict[str, list[Any]]]) -> None:
    world, theirs = both
    ours = sorted((r.family, r.priority, r.table, r.source or "") for r in (*world.rules, *world.have.rules))
    expected = []
    for rule in theirs["rules"]:
        source = rule.get_attr("FRA_SRC")
        text = f"{source}/{rule['src_len']}" if source else ""
        table = rule.get_attr("FRA_TABLE") or rule["table"]
        expected.append((Family(rule["family"]), rule.get_attr("FRA_PRIORITY") or 0, table, text))

    assert ours == sorted(expected)
    assert {rule.priority for rule in world.have.rules} == {104, 105}
    plain = {rule.priority for rule in world.rules if not rule.other}
    assert {102, 103} & plain == set()
    assert {100, 101} <= plain
    assert all(rule.other for rule in world.have.rules if rule.priority == 104)  # "not" makes another rule


HOP = Hop(2, Address("10.0.1.1"), onlink=True)
STEPS = [
    Step(Verb.ADD, Route(Family.INET, 300, Family.INET.any, (HOP,), metric=5, source=Address("10.0.1.2"))),
    Step(Verb.REPLACE, Route(Family.INET6, 70000, Prefix("fd00::/64"), (Hop(3),), metric=256)),
    Step(Verb.DELETE, Route(Family.INET, 257, Prefix("10.1.0.0/16"), (), throw=True)),
    Step(Verb.ADD, Route(Family.INET, 257, Family.INET.any, (Hop(2, weight=3), Hop(3, Address("10.0.2.1"))))),
]


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_routes_as_written_are_what_pyroute2_reads(step: Step) -> None:
    message = rtmsg(encode.step(step, 7))
    message.decode()
    route = step.what
    assert isinstance(route, Route)

    assert message["family"] == route.family
    assert message["type"] == (9 if route.throw else 1)
    assert message.get_attr("RTA_TABLE") == route.table
    assert message.get_attr("RTA_DST") == (None if route.is_default else route.destination.split("/")[0])
    assert (message.get_attr("RTA_PRIORITY") or 0) == route.metric
    assert message["proto"] == 109
    assert message["header"]["sequence_number"] == 7
    if len(route.hops) > 1:
        assert [h["oif"] for h in message.get_attr("RTA_MULTIPATH")] == [h.index for h in route.hops]
        assert [h["hops"] + 1 for h in message.get_attr("RTA_MULTIPATH")] == [h.weight for h in route.hops]
    elif route.hops:
        assert message.get_attr("RTA_OIF") == route.hops[0].index
        assert message.get_attr("RTA_GATEWAY") == route.hops[0].via


def test_rules_as_written_are_what_pyroute2_reads() -> None:
    rule = Rule(Family.INET6, 22001, Prefix("fd00::2/128"), 254, suppress=3, mark=0x10000, mask=0x7FFF0000)
    message = fibmsg(encode.step(Step(Verb.ADD, rule), 1))
    message.decode()

    assert (message["family"], message["src_len"], message["action"]) == (10, 128, Action.LOOKUP.value)
    assert message.get_attr("FRA_SRC") == "fd00::2"
    assert message.get_attr("FRA_PRIORITY") == 22001
    assert message.get_attr("FRA_TABLE") == 254
    assert message.get_attr("FRA_SUPPRESS_PREFIXLEN") == 3
    assert (message.get_attr("FRA_FWMARK"), message.get_attr("FRA_FWMASK")) == (0x10000, 0x7FFF0000)
    assert message.get_attr("FRA_PROTOCOL") == 109


def test_rules_for_own_packets_as_written_are_what_pyroute2_reads() -> None:
    traffic = Traffic(Prefix("192.0.2.0/24"), 1000, 17, (1, 32767), (53, 53))
    rule = Rule(
        Family.INET, 19420, Prefix("0.0.0.0/32"), action=Action.GOTO, mask=0x7FFF0000, traffic=traffic, target=21999
    )
    message = fibmsg(encode.step(Step(Verb.ADD, rule), 1))
    message.decode()

    assert (message["dst_len"], message["src_len"], message["action"]) == (24, 32, Action.GOTO.value)
    assert (message.get_attr("FRA_SRC"), message.get_attr("FRA_DST")) == ("0.0.0.0", "192.0.2.0")
    assert (message.get_attr("FRA_GOTO"), message.get_attr("FRA_IIFNAME")) == (21999, "lo")
    assert str(message.get_attr("FRA_UID_RANGE")).count("1000") == 2
    assert message.get_attr("FRA_IP_PROTO") == 17
    assert "32767" in str(message.get_attr("FRA_SPORT_RANGE"))
    assert "53" in str(message.get_attr("FRA_DPORT_RANGE"))


OWN = (
    Rule(Family.INET, 21999, action=Action.NOP),
    Rule(Family.INET6, 19001, Prefix("8000::/1"), action=Action.GOTO, mask=0x7FFF0000, traffic=Traffic(), target=21999),
    Rule(Family.INET, 19000, action=Action.GOTO, traffic=Traffic(Prefix("224.0.0.0/4")), target=21999),
    *(
        Rule(family, 19620, source, 65536, suppress, mask=0x7FFF0000, traffic=Traffic(None, user, 6, sport, dport))
        for family, source in ((Family.INET, Prefix("0.0.0.0/32")), (Family.INET6, None))
        for suppress in (0, None)
        for user, sport, dport in ((0, (7, 7), None), (None, None, (7, 9)), (1000, (1, 65534), (80, 80)))
    ),
)


def test_rules_for_own_packets_come_back_as_written_and_as_iproute2_writes_them() -> None:
    for ns in (NS2, f"{NS2}-ip"):
        subprocess.run(["ip", "netns", "add", ns], check=True, timeout=10)
    try:
        hand = in_ns(NS2, Hand)
        assert not hand.apply([Step(Verb.ADD, rule) for rule in OWN]).refused
        assert hand.look(109).have.rules == frozenset(OWN)
        hand.close()
        for rule in OWN:
            subprocess.run(["ip", "-n", f"{NS2}-ip", *str(rule).split()[1:]], check=True, timeout=10)
        hand = in_ns(f"{NS2}-ip", Hand)
        assert hand.look(109).have.rules == frozenset(OWN)
        assert not hand.apply([Step(Verb.DELETE, rule) for rule in OWN]).refused
        assert not hand.look(109).have.rules
        hand.close()
    finally:
        for ns in (NS2, f"{NS2}-ip"):
            subprocess.run(["ip", "netns", "del", ns], check=True, timeout=10)


def test_the_kernels_own_words_come_with_a_refusal() -> None:
    subprocess.run(["ip", "netns", "add", NS2], check=True, timeout=10)
    try:
        netlink = in_ns(NS2, Netlink)
        subprocess.run(["ip", "-n", NS2, "link", "set", "lo", "up"], check=True, timeout=10)
        bad = Route(Family.INET, 300, Family.INET.any, (Hop(1, Address("10.0.1.1")),))
        answers = netlink.request([encode.step(Step(Verb.ADD, bad), netlink.number())])
        netlink.close()
    finally:
        subprocess.run(["ip", "netns", "del", NS2], check=True, timeout=10)

    assert answers == [(101, "Network is unreachable (Nexthop has invalid gateway)")]
