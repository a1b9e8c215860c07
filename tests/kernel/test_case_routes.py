"""Issue 2, item 4: what main has by a link, its table has (hops, nexthop objects, metrics, encap); or a finding."""

from __future__ import annotations

import struct

import pytest

from kernel.helpers_cases import PORT, SECOND, UP1, UP2, Case, Stream, poll
from labkit import SERVER4, SERVER6, Packet, send_udp, tcp_connect

NO_DEFAULTS = tuple(
    f"route del default via {gateway} dev up{number} metric {100 + number}"
    for number in (1, 2)
    for gateway in (f"10.64.{number}.1", f"fd00:64:{number}::1")
)
SECOND_WAY = "net2,second"  # the second gateway's device stands on net2, which sees everything


def test_one_default_over_two_links() -> None:
    with Case("kc-ecmp") as case:
        case.ip(
            *NO_DEFAULTS,
            "route add default metric 50 nexthop via 10.64.1.1 dev up1 nexthop via 10.64.2.1 dev up2 weight 3",
            "route add default metric 50 nexthop via fd00:64:1::1 dev up1 nexthop via fd00:64:2::1 dev up2",
        )
        case.start()
        case.leave_by("net1", *UP1 * 4)
        case.leave_by("net2", *UP2 * 4)
        case.settle()

        with Stream(case, *UP1, *UP2) as stream:
            case.net("link set net2 down")
            poll(lambda: "LOWER_UP" not in case.lab.ip("client", "link show up2"), "the end of up2's carrier")
            case.settle()
            case.refused(*UP2)
            case.leave_by("net1", *UP1)
        assert all(not stream.seen()[source] - {"net1"} for source in UP1)
        assert all(not stream.seen()[source] - {"net2"} for source in UP2)


@pytest.mark.parametrize("number", [4, 6])
def test_one_default_over_two_gateways_of_one_link(number: int) -> None:
    source, second, first = {4: (UP2[0], SECOND[0], "10.64.2.1"), 6: (UP2[1], SECOND[1], "fd00:64:2::1")}[number]
    with Case("kc-ecmp2") as case:
        case.second_gateway()
        policy = "net.ipv4.fib_multipath_hash_policy" if number == 4 else "net.ipv6.fib_multipath_hash_policy"
        case.lab.sysctl("client", {policy: 1})  # by ports, so that one source shows both hops
        hops = f"nexthop via {first} dev up2 weight 1 nexthop via {second} dev up2 weight 2"
        case.ip(f"route del default via {first} dev up2 metric 102", f"route add default metric 102 {hops}")
        case.start()

        poll(lambda: case.way(source) == "net2", "the first gateway's turn")
        poll(lambda: case.way(source) == SECOND_WAY, "the second gateway's turn")
        assert {case.way(source) for _ in range(20)} <= {"net2", SECOND_WAY}
        assert len([route for route in case.table_by("up2") if second in route]) == 1
        text = " ".join(case.table_by("up2"))
        assert ("weight 1" in text, "weight 2" in text) == (True, True)
        case.leave_by("net1", *UP1)

        case.ip(f"route replace default via {second} dev up2 metric 102")
        case.settle()
        case.leave_by(SECOND_WAY, source)


@pytest.mark.parametrize("compat", [1, 0])
def test_defaults_by_nexthop_objects(compat: int) -> None:
    with Case("kc-nexthop") as case:
        case.second_gateway()
        case.lab.sysctl("client", {"net.ipv4.nexthop_compat_mode": compat})
        case.ip(
            *NO_DEFAULTS,
            "nexthop add id 14 via 10.64.1.1 dev up1",
            "nexthop add id 24 via 10.64.2.1 dev up2",
            "nexthop add id 16 via fd00:64:1::1 dev up1",
            "nexthop add id 26 via fd00:64:2::1 dev up2",
            "route add 0.0.0.0/0 nhid 14 metric 101",
            "route add 0.0.0.0/0 nhid 24 metric 102",
            "route add ::/0 nhid 16 metric 101",
            "route add ::/0 nhid 26 metric 102",
        )
        case.start()
        case.leave_by("net1", *UP1)
        case.leave_by("net2", *UP2)
        case.settle()

        # The object changes, the route that names it does not.
        case.ip(
            f"nexthop replace id 24 via {SECOND[0]} dev up2",
            f"nexthop replace id 26 via {SECOND[1]} dev up2",
        )
        poll(lambda: set(case.ways(*UP2).values()) == {SECOND_WAY}, "the way by the second gateway")
        case.settle()

        case.ip("nexthop del id 24", "nexthop del id 26")
        poll(lambda: set(case.ways(*UP2).values()) <= {"ENETUNREACH", "EHOSTUNREACH"}, "no way")
        case.settle()
        case.refused(*UP2)
        case.leave_by("net1", *UP1)


@pytest.mark.parametrize("compat", [1, 0])
@pytest.mark.parametrize("kind", ["", " type resilient buckets 8"])
def test_defaults_by_groups_of_nexthop_objects(compat: int, kind: str) -> None:
    with Case("kc-group") as case:
        case.lab.sysctl("client", {"net.ipv4.nexthop_compat_mode": compat})
        case.ip(
            *NO_DEFAULTS,
            "nexthop add id 14 via 10.64.1.1 dev up1",
            "nexthop add id 24 via 10.64.2.1 dev up2",
            "nexthop add id 16 via fd00:64:1::1 dev up1",
            "nexthop add id 26 via fd00:64:2::1 dev up2",
            f"nexthop add id 40 group 14/24,3{kind}",
            f"nexthop add id 60 group 16/26{kind}",
            "route add 0.0.0.0/0 nhid 40 metric 50",
            "route add ::/0 nhid 60 metric 50",
        )
        case.start()
        case.leave_by("net1", *UP1 * 3)
        case.leave_by("net2", *UP2 * 3)
        case.settle()

        with Stream(case, *UP1, *UP2) as stream:
            case.ip(f"nexthop replace id 40 group 14{kind}", f"nexthop replace id 60 group 16{kind}")
            case.settle()
            case.refused(*UP2)  # law 1: main has no way by up2 any more
            case.leave_by("net1", *UP1)

            case.ip(f"nexthop replace id 40 group 14/24{kind}", f"nexthop replace id 60 group 16/26{kind}")
            case.settle()
        case.leave_by("net2", *UP2 * 3)
        assert stream.seen() == {**dict.fromkeys(UP1, {"net1"}), **dict.fromkeys(UP2, {"net2"})}


@pytest.mark.parametrize("how", ["route", "compat 1", "compat 0"])
def test_an_ipv4_default_by_an_ipv6_gateway(how: str) -> None:
    with Case("kc-via6") as case:
        case.second_gateway()
        case.ip("route del default via 10.64.2.1 dev up2 metric 102")
        if how == "route":
            case.ip(f"route add 0.0.0.0/0 via inet6 {SECOND[1]} dev up2 metric 102")
        else:
            case.lab.sysctl("client", {"net.ipv4.nexthop_compat_mode": how.split()[1]})
            case.ip(f"nexthop add id 7 via {SECOND[1]} dev up2", "route add 0.0.0.0/0 nhid 7 metric 102")
        case.start()

        case.leave_by(SECOND_WAY, UP2[0])
        case.leave_by("net2", UP2[1])
        case.settle()


def test_metrics_of_routes_hold_for_bound_traffic_too() -> None:
    metrics = "mtu lock 1300 advmss 1200 initcwnd 20 rto_min 300ms congctl reno quickack 1"
    with Case("kc-metrics") as case:
        case.ip(
            f"route replace default via 10.64.2.1 dev up2 metric 102 {metrics}",
            "route del default via fd00:64:2::1 dev up2 metric 102",
            f"route add default via fd00:64:2::1 dev up2 metric 102 pref high {metrics.replace('lock ', '')}",
            "route add 198.51.100.0/24 via 10.64.2.1 dev up2 tos 0x10",
            "route add 198.51.101.0/24 dev up2 scope link src 10.64.2.2 metric 7",
        )
        case.start()
        assert case.uncopied("up2") == []
        case.settle()
        for source in UP2:
            server = SERVER6 if ":" in source else SERVER4
            assert send_udp(case.lab, "client", server, PORT, source=source, payload=b"x" * 1400).ok
            sent = case.watch.wait(lambda packets, source=source: len(_parts(packets, source)) > 1)  # type: ignore[misc]
            assert max(len(packet.raw) for packet in _parts(sent, source)) <= 1300
            assert tcp_connect(case.lab, "client", server, PORT, source=source).ok
            (first,) = [p for p in case.watch.packets(src=source, proto=6, way="in") if p.flags == "S"]
            assert (first.dev, _mss(first)) == ("net2", 1200)

        case.ip("route replace default via 10.64.2.1 dev up2 metric 102 mtu 1400")
        case.settle()
        assert case.uncopied("up2") == []


def _parts(packets: tuple[Packet, ...], source: str) -> list[Packet]:
    return [p for p in packets if p.src == source and p.way == "in" and p.dev == "net2" and b"xxxx" in p.raw]


def _mss(packet: Packet) -> int:
    """The MSS option of a SYN; without IP options it stands first."""
    start = 40 if packet.family == 6 else 20
    kind, size, mss = struct.unpack_from("!BBH", packet.raw, start + 20)
    assert (kind, size) == (2, 4)
    return int(mss)


def test_realms_of_routes_are_copied() -> None:
    with Case("kc-realm") as case:
        case.ip(
            "route add 198.51.100.0/24 via 10.64.2.1 dev up2 realm 5",
            "route replace default via 10.64.2.1 dev up2 metric 102 realm 3/4",
            "route add 198.51.101.0/24 nexthop via 10.64.2.1 dev up2 realm 6 nexthop via 10.64.2.3 dev up2 realm 7/8",
        )
        case.start()
        assert case.uncopied("up2") == []
        case.leave_by("net2", UP2[0])


def test_encapsulations_of_routes_are_copied() -> None:
    segment = "2001:db8:77::1"
    with Case("kc-encap") as case:
        case.ip(
            f"route add {segment} via fd00:64:2::1 dev up2",
            "route del default via 10.64.2.1 dev up2 metric 102",
            "route del default via fd00:64:2::1 dev up2 metric 102",
            f"route add default via 10.64.2.1 dev up2 metric 102 encap seg6 mode encap segs {segment}",
            f"route add default via fd00:64:2::1 dev up2 metric 102 encap seg6 mode encap segs {segment}",
            "route add 198.51.100.0/24 via 10.64.2.1 dev up2 encap ip id 100 dst 10.64.2.1 ttl 9",
            "route add 2001:db8:79::/48 via fd00:64:2::1 dev up2 encap ip6 id 5 dst fd00:64:2::1",
        )
        case.start()
        assert case.uncopied("up2") == []
        case.settle()

        for source in UP2:
            case.watch.clear()
            case.leave_by("net2", source)
            (outer,) = case.watch.packets(dst=segment, way="in")
            assert outer.proto == (41 if ":" in source else 4)
        case.leave_by("net1", *UP1)

        case.ip("route replace default via 10.64.2.1 dev up2 metric 102")
        case.settle()
        case.watch.clear()
        case.leave_by("net2", UP2[0])
        assert case.watch.packets(dst=segment) == ()


def test_a_default_for_one_source_prefix_cannot_be_copied() -> None:
    route = "::/0 from 2001:db8:5::/48 via fd00:64:2::1 dev up2"
    with Case("kc-uncopied") as case:
        case.ip(f"route add {route}")
        case.start()
        found = case.findings()["not-copied"]
        assert "up2" in found["Text"]
        assert "IPv6" in found["Text"]
        assert "attribute" not in found["Text"]  # a word for people, not a number of the kernel's
        case.run_cure(found["Cure"])
        assert case.rules(UP2[1]) == []
        case.leave_by("net2", UP2[0])  # the other family is not concerned
        case.leave_by("net1", *UP1)
        case.settle()

        case.ip(f"route del {route}")
        case.settle()
        assert "not-copied" not in case.findings()
        case.leave_by("net2", *UP2)

        case.ip(f"route add {route}")
        case.settle()
        assert "not-copied" in case.findings()
        assert case.rules(UP2[1]) == []


def test_specifics_of_the_link_and_of_others_hold_for_bound_traffic() -> None:
    with Case("kc-specific", "uplinks-3") as case:
        case.net("addr add 198.51.100.9/32 dev lo", "addr add 2001:db8:88::9/128 dev lo")
        case.start()
        case.ip(
            "route add 198.51.100.9/32 via 10.64.3.1 dev up3",
            "route add 2001:db8:88::9/128 via fd00:64:3::1 dev up3",
        )
        case.settle()
        # Law 6: a specific route of main holds, whatever the source is bound to.
        assert case.way(UP2[0], "198.51.100.9") == "net3"
        assert case.way(UP2[1], "2001:db8:88::9") == "net3"

        # A specific of its own that is more precise is the link's.
        case.ip(
            "route add 198.51.100.0/24 via 10.64.3.1 dev up3",
            "route add 198.51.100.128/25 via 10.64.2.1 dev up2",
            "route del 198.51.100.9/32 via 10.64.3.1 dev up3",
            "route add 198.51.100.0/25 via 10.64.2.1 dev up2",
        )
        case.settle()
        assert case.way(UP2[0], "198.51.100.9") == "net2"
        assert case.uncopied("up2") == []


def test_hops_that_are_appended_and_taken_away_again() -> None:
    """IPv6 joins routes of one metric to one; IPv4 keeps them side by side, and the first counts."""
    with Case("kc-append") as case:
        case.second_gateway()
        case.lab.sysctl("client", {"net.ipv6.fib_multipath_hash_policy": 1})
        case.start()
        with Stream(case, *UP2) as stream:
            case.ip(f"route append default via {SECOND[1]} dev up2 metric 102")
            case.ip(f"route append default via {SECOND[0]} dev up2 metric 102")
            case.settle()
            case.leave_by("net2", UP2[0])
            poll(lambda: case.way(UP2[1]) == SECOND_WAY, "the second hop's turn")
            poll(lambda: case.way(UP2[1]) == "net2", "the first hop's turn")

            case.ip("route del default via fd00:64:2::1 dev up2 metric 102")
            case.ip("route del default via 10.64.2.1 dev up2 metric 102")
            case.settle()
            case.leave_by(SECOND_WAY, *UP2)
        assert stream.seen() == dict.fromkeys(UP2, {"net2", "second"})
        assert stream.refused == 0


@pytest.mark.parametrize("compat", [1, 0])
def test_encapsulations_and_onlink_of_nexthop_objects(compat: int) -> None:
    segment = "2001:db8:77::1"
    with Case("kc-nhencap") as case:
        case.lab.sysctl("client", {"net.ipv4.nexthop_compat_mode": compat})
        case.net("addr add 10.77.7.1/32 dev net2")
        case.ip(
            f"route add {segment} via fd00:64:2::1 dev up2",
            "route del default via 10.64.2.1 dev up2 metric 102",
            "route del default via fd00:64:2::1 dev up2 metric 102",
            "nexthop add id 24 via 10.77.7.1 dev up2 onlink",
            f"nexthop add id 26 via fd00:64:2::1 dev up2 encap seg6 mode encap segs {segment}",
            "route add 0.0.0.0/0 nhid 24 metric 102",
            "route add ::/0 nhid 26 metric 102",
        )
        case.start()
        case.leave_by("net2", *UP2)
        assert [p.proto for p in case.watch.packets(dst=segment, way="in")] == [41]
        case.settle()


@pytest.mark.parametrize("compat", [1, 0])
def test_a_nexthop_object_without_a_gateway(compat: int) -> None:
    with Case("kc-nhdev") as case:
        case.lab.sysctl("client", {"net.ipv4.nexthop_compat_mode": compat})
        case.ip(
            "route del default via 10.64.2.1 dev up2 metric 102",
            "nexthop add id 24 dev up2",
            "route add 0.0.0.0/0 nhid 24 metric 102",
        )
        case.start()
        case.leave_by("net2", *UP2)
        case.leave_by("net1", *UP1)
        case.settle()


def test_a_black_hole_by_a_nexthop_object_leads_nobody_astray() -> None:
    with Case("kc-nhblack") as case:
        case.ip("nexthop add id 9 blackhole", "route add 0.0.0.0/0 nhid 9 metric 500")
        case.lab.sysctl("client", {"net.ipv4.nexthop_compat_mode": 0})
        case.start()
        case.leave_by("net2", *UP2)
        case.leave_by("net1", *UP1)
        case.settle()


def test_prefix_routes_of_network_manager() -> None:
    """NetworkManager adds addresses without prefix routes, and these with a metric of its own."""
    with Case("kc-noprefix") as case:
        case.start()
        case.ip(
            "addr flush dev up2",
            f"addr add {UP2[0]}/24 dev up2 noprefixroute",
            f"addr add {UP2[1]}/64 dev up2 noprefixroute",
            "route add 10.64.2.0/24 dev up2 proto kernel scope link src 10.64.2.2 metric 100",
            "route add fd00:64:2::/64 dev up2 proto kernel metric 100",
            "route add default via 10.64.2.1 dev up2 proto dhcp src 10.64.2.2 metric 100",
            "route replace default via fd00:64:2::1 dev up2 proto ra metric 100",
        )
        case.settle()
        case.leave_by("net2", *UP2)
        assert all(case.answered(address) for address in UP2)
        assert case.uncopied("up2") == []
