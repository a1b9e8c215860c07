"""Issue 2, item 4: no gateway, a gateway outside the prefix, two uplinks in one subnet or with one gateway."""

from __future__ import annotations

import pytest

from kernel.helpers_cases import UP1, UP2, Case, Stream

GW2 = ("10.64.2.1", "fd00:64:2::1")
NO_DEFAULT2 = tuple(f"route del default via {gateway} dev up2 metric 102" for gateway in GW2)
OUTSIDE = ("10.77.7.1", "fd00:77:7::1")
TUN = ("10.9.0.2", "fd00:9::2")
SAME = (("10.0.0.11", "fd00:0:0:1::11"), ("10.0.0.12", "fd00:0:0:1::12"))
SAME_GATEWAY = ("10.0.0.1", "fd00:0:0:1::1")


@pytest.mark.parametrize("main", ["default in main", "nothing in main"])
def test_a_point_to_point_link_needs_no_gateway(main: str) -> None:
    far = [("r1", "lan"), ("r2", "tun0")]
    with Case("kc-ptp", "point-to-point", server="server", far=far) as case:
        if main == "nothing in main":
            case.ip("route del 0.0.0.0/0 dev tun0 metric 200", "route del ::/0 dev tun0 metric 200")
        case.start()

        case.leave_by("tun0", *TUN)
        assert all(case.answered(address) for address in TUN)
        case.leave_by("lan", "10.0.1.2", "fd00:0:1::2")
        case.settle()

        case.ip("link set tun0 down")
        case.settle()
        case.refused(TUN[0])

        case.ip("link set tun0 up")
        if main == "default in main":
            case.ip("route replace 0.0.0.0/0 dev tun0 metric 200", "route replace ::/0 dev tun0 metric 200")
        if TUN[1] not in case.addresses("tun0"):
            case.ip(f"addr add {TUN[1]} peer fd00:9::1/128 dev tun0")
        case.settle()
        case.leave_by("tun0", *TUN)


def test_a_default_on_the_link_of_an_ethernet_device() -> None:
    with Case("kc-onlink") as case:
        case.ip(
            *NO_DEFAULT2,
            "route add 0.0.0.0/0 dev up2 scope link metric 102",
            "route add ::/0 dev up2 metric 102",
            # Nobody answers for a server of another link in IPv6; that much of the network is not there.
            "neigh add 2001:db8:9::9 lladdr 02:50:00:00:00:02 dev up2 nud permanent",
        )
        case.start()
        case.leave_by("net2", *UP2)
        case.leave_by("net1", *UP1)
        case.settle()

        case.ip("route del 0.0.0.0/0 dev up2", "route del ::/0 dev up2")
        case.settle()
        case.refused(*UP2)


def test_a_link_without_gateway_is_no_uplink_until_it_has_one() -> None:
    with Case("kc-nogw") as case:
        case.ip(*NO_DEFAULT2)
        case.start()
        assert set(case.tables_in_use()) == {255 + case.lab.index("client", "up1")}
        assert [rule for address in UP2 for rule in case.rules(address)] == []
        assert case.services()["up2"]["State"] == "configuration"
        case.leave_by("net1", *UP2)  # law 2's like: nothing of ours touches it

        case.ip(
            f"route add default via {GW2[0]} dev up2 metric 102", f"route add default via {GW2[1]} dev up2 metric 102"
        )
        case.settle()
        case.leave_by("net2", *UP2)
        assert case.services()["up2"]["State"] == "ready"

        with Stream(case, *UP2) as stream:
            case.ip(*NO_DEFAULT2)
            case.settle()
            case.refused(*UP2)  # law 1: by its link or not at all
            assert [len(case.rules(address)) for address in UP2] == [4, 4]
            assert case.answered(UP1[0])
        assert stream.seen() == {address: seen for address, seen in stream.seen().items() if seen <= {"net2"}}


def test_an_uplink_of_one_family_only() -> None:
    with Case("kc-onefam") as case:
        case.ip(NO_DEFAULT2[1])
        case.start()
        case.leave_by("net2", UP2[0])
        # It is an uplink, so its IPv6 traffic must not leave by another (mpathd(8), law 1).
        case.refused(UP2[1])
        case.settle()


@pytest.mark.parametrize("form", ["onlink", "host route"])
def test_a_gateway_outside_the_links_prefix(form: str) -> None:
    with Case("kc-outside") as case:
        case.net(f"addr add {OUTSIDE[0]}/32 dev net2", f"addr add {OUTSIDE[1]}/128 dev net2")
        case.ip(*NO_DEFAULT2)
        if form == "onlink":
            case.ip(*(f"route add default via {gateway} dev up2 onlink metric 102" for gateway in OUTSIDE))
        else:
            case.ip(
                *(f"route add {gateway} dev up2 metric 102" for gateway in OUTSIDE),
                *(f"route add default via {gateway} dev up2 metric 102" for gateway in OUTSIDE),
            )
        case.start()

        case.leave_by("net2", *UP2)
        assert all(case.answered(address) for address in UP2)
        assert case.uncopied("up2") == []
        case.settle()


def test_an_address_without_a_subnet_and_a_gateway_beyond() -> None:
    """As at hosters: the address is a /32 (/128), the gateway is somewhere else."""
    own = ("10.88.0.5", "fd00:88::5")
    with Case("kc-alone") as case:
        case.net(
            *(f"addr add {address} dev net2" for address in OUTSIDE),
            *(f"route add {address} dev net2" for address in own),
        )
        case.start()
        case.ip(
            "addr flush dev up2",
            *(f"addr add {address} dev up2" for address in own),
            *(f"route add {gateway} dev up2" for gateway in OUTSIDE),
            "route del default via fd00:64:2::1 dev up2 metric 102",
            *(f"route add default via {gateway} dev up2 metric 102" for gateway in OUTSIDE),
        )
        case.settle()

        case.leave_by("net2", *own)
        assert all(case.answered(address) for address in own)
        assert case.uncopied("up2") == []


def test_two_uplinks_in_one_subnet() -> None:
    far = [("switch", "p1"), ("switch", "p2")]
    with Case("kc-subnet", "same-subnet", server="server", far=far) as case:
        case.start()
        for number, device in ((0, "p1"), (1, "p2")):
            case.leave_by(device, *SAME[number])
            assert all(case.answered(address) for address in SAME[number])
            # Law 6: own on-link routes first.
            assert case.way(SAME[number][0], SAME_GATEWAY[0]) == device
            assert case.way(SAME[number][1], SAME_GATEWAY[1]) == device
        case.settle()

        with Stream(case, *SAME[1]) as stream:
            case.ip("link set up1 down")
            case.settle()
            case.leave_by("p2", *SAME[1])
            case.refused(SAME[0][0])
            case.ip("link set up1 up")
            case.settle()
        assert stream.seen() == dict.fromkeys(SAME[1], {"p2"})


def test_two_uplinks_with_one_gateway_address_on_two_segments() -> None:
    far = [("gw1", "lan"), ("gw2", "lan")]
    with Case("kc-onegw", "same-gateway", server="server", far=far) as case:
        case.start()
        for number, host in ((0, "gw1"), (1, "gw2")):
            case.leave_by(host, *SAME[number])
            assert all(case.answered(address) for address in SAME[number])
            # The gateway itself is another machine on each segment.
            assert case.way(SAME[number][0], SAME_GATEWAY[0]) == host
            assert case.way(SAME[number][1], SAME_GATEWAY[1]) == host
        case.settle()

        with Stream(case, *SAME[1]) as stream:
            case.ip("link set up1 down")
            case.settle()
            case.leave_by("gw2", *SAME[1])
            case.refused(SAME[0][0])
        assert stream.seen() == dict.fromkeys(SAME[1], {"gw2"})


def test_another_gateway_on_the_same_link_takes_over() -> None:
    with Case("kc-takeover") as case:
        case.second_gateway()
        case.start()
        with Stream(case, *UP2) as stream:
            case.ip(
                "route add default via 10.64.2.3 dev up2 metric 90",
                "route add default via fd00:64:2::3 dev up2 metric 90",
            )
            case.settle()
            case.leave_by("net2,second", *UP2)

            case.ip(
                "route del default via 10.64.2.3 dev up2 metric 90",
                "route del default via fd00:64:2::3 dev up2 metric 90",
            )
            case.settle()
            case.leave_by("net2", *UP2)
        assert stream.seen() == dict.fromkeys(UP2, {"net2", "second"})
        assert stream.refused == 0


@pytest.mark.parametrize("form", ["peer", "two addresses only"])
def test_an_ethernet_link_between_two_addresses(form: str) -> None:
    own, other = ("10.98.0.0", "fd00:98::2"), ("10.98.0.1", "fd00:98::3")
    with Case("kc-pair") as case:
        if form == "peer":
            case.net(*(f"addr add {b} peer {a} dev net2" for a, b in zip(own, other, strict=True)))
        else:
            case.net(*(f"addr add {b}/{127 if ':' in b else 31} dev net2" for b in other))
        case.start()
        case.ip("addr flush dev up2", NO_DEFAULT2[1])
        if form == "peer":
            case.ip(*(f"addr add {a} peer {b} dev up2" for a, b in zip(own, other, strict=True)))
        else:
            case.ip(*(f"addr add {a}/{127 if ':' in a else 31} dev up2" for a in own))
        case.ip(*(f"route add default via {gateway} dev up2 metric 102" for gateway in other))
        case.settle()

        case.leave_by("net2", *own)
        assert all(case.answered(address) for address in own)
        assert case.uncopied("up2") == []


def test_an_unreachable_default_of_main_does_not_stop_bound_traffic() -> None:
    """As NetworkManager, netifd and people with a kill switch put it behind the real defaults."""
    with Case("kc-killsw") as case:
        case.ip("route add unreachable 0.0.0.0/0 metric 4000", "route add unreachable ::/0 metric 4000")
        case.start()
        case.leave_by("net2", *UP2)
        case.leave_by("net1", *UP1)
        case.settle()


def test_an_unreachable_default_of_main_that_comes_first_is_reported() -> None:
    errors = ("route add unreachable 0.0.0.0/0 metric 90", "route add unreachable ::/0 metric 90")
    with Case("kc-deadend") as case:
        case.start()
        case.leave_by("net2", *UP2)
        case.ip(*errors)
        case.settle()
        case.refused(*UP1, *UP2)  # an error route of main holds for all, as specifics do
        assert sum("up2" in finding["Text"] for finding in case.status()["Findings"]) == 2

        case.ip(*(line.replace("add", "del") for line in errors))
        case.settle()
        case.leave_by("net2", *UP2)
        assert case.findings() == {}


def test_specifics_of_main_that_refuse_hold_for_bound_traffic() -> None:
    with Case("kc-unreach") as case:
        case.ip("route add unreachable 192.0.2.9/32", "route add unreachable 2001:db8:9::9/128")
        case.start()
        case.refused(*UP2)  # law 6
        case.ip("route del unreachable 192.0.2.9/32", "route del unreachable 2001:db8:9::9/128")
        case.settle()
        case.leave_by("net2", *UP2)


def test_two_uplinks_with_one_link_local_gateway() -> None:
    """As behind routers that all call themselves fe80::1."""
    with Case("kc-onelocal") as case:
        for number in (1, 2):
            case.net(f"addr add fe80::1/64 dev net{number} nodad")
            case.ip(
                f"route del default via fd00:64:{number}::1 dev up{number} metric {100 + number}",
                f"route add default via fe80::1 dev up{number} metric {100 + number}",
            )
        case.start()
        case.leave_by("net1", *UP1)
        case.leave_by("net2", *UP2)
        case.settle()
