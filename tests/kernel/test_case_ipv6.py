"""Issue 2, item 4: temporary, deprecated, tentative, duplicate addresses; routes of advertisements that expire."""

from __future__ import annotations

import json

import pytest

from kernel.helpers_cases import UNREACHABLE, UP1, UP2, Case, Stream, poll
from labkit import Advert
from labkit.agent import eventually

FRESH = "fd00:64:2::7"
ADVERTISED = "fd00:99:2::/64"


def _advertise(case: Case, lifetime: int = 1800, valid: int = 86400, preferred: int = 14400) -> None:
    case.lab.advertise(Advert("net", "net2", ADVERTISED, lifetime, valid, preferred))


def _formed(case: Case, *words: str) -> list[str]:
    return [address for address in case.addresses("up2", *words) if address.startswith("fd00:99:2:")]


def test_a_deprecated_address_still_leaves_by_its_link() -> None:
    with Case("kc-deprec") as case:
        case.start()
        with Stream(case, UP2[1]) as stream:
            case.ip(f"addr change {UP2[1]}/64 dev up2 preferred_lft 0")
            case.settle()
            assert case.addresses("up2", "deprecated") == [UP2[1]]

            case.leave_by("net2", *UP2)

            case.ip(f"addr change {UP2[1]}/64 dev up2 preferred_lft forever")
            case.settle()
            case.leave_by("net2", *UP2)
        assert stream.seen() == {UP2[1]: {"net2"}}
        assert len(case.rules(UP2[1])) == 4


def test_an_address_whose_life_ends() -> None:
    with Case("kc-life") as case:
        case.start()
        case.ip(
            f"addr add {FRESH}/64 dev up2 valid_lft 2 preferred_lft 1",
            "addr add 10.64.2.7/24 dev up2 valid_lft 2 preferred_lft 1",
        )
        case.settle()
        case.leave_by("net2", FRESH, "10.64.2.7")

        poll(lambda: not {FRESH, "10.64.2.7"} & set(case.addresses("up2")), "the end of both lives", 8.0)
        case.settle()

        assert case.rules(FRESH) + case.rules("10.64.2.7") == []
        case.leave_by("net2", *UP2)


@pytest.mark.parametrize("optimistic", [0, 1])
def test_a_tentative_address_has_its_way_the_moment_it_may_be_used(optimistic: int) -> None:
    with Case("kc-tentative") as case:
        case.lab.sysctl(
            "client",
            {
                "net.ipv6.conf.up2.accept_dad": 1,
                "net.ipv6.conf.up2.dad_transmits": 1,
                "net.ipv6.conf.up2.optimistic_dad": optimistic,
                "net.ipv6.conf.up2.router_solicitation_delay": 0,
                "net.ipv6.neigh.up2.retrans_time_ms": 300,
            },
        )
        case.start()
        case.ip(f"addr add {FRESH}/64 dev up2")
        assert case.addresses("up2", "tentative") == [FRESH]

        # A socket cannot be bound to it until the check is over; the first that can must leave by its link already.
        way = eventually(lambda: _bound(case, FRESH))

        assert way == "net2"
        poll(lambda: case.addresses("up2", "tentative") == [], "the end of the check")
        case.leave_by("net2", FRESH, *UP2)
        case.settle()
        assert len(case.rules(FRESH)) == 4


def _bound(case: Case, address: str) -> str:
    way = case.way(address)
    return "" if way == "EADDRNOTAVAIL" else way


def test_a_link_that_comes_up_with_tentative_addresses_only() -> None:
    with Case("kc-onlytent") as case:
        case.lab.sysctl(
            "client",
            {
                "net.ipv6.conf.up2.accept_dad": 1,
                "net.ipv6.conf.up2.keep_addr_on_down": 1,
                "net.ipv6.conf.up2.router_solicitation_delay": 0,
                "net.ipv6.neigh.up2.retrans_time_ms": 300,
            },
        )
        case.ip("addr flush dev up2", f"addr add {UP2[1]}/64 dev up2", "link set up2 down")
        case.start()
        case.ip("link set up2 up", "route replace default via fd00:64:2::1 dev up2 metric 102")

        assert eventually(lambda: _bound(case, UP2[1])) == "net2"

        poll(lambda: case.addresses("up2", "tentative") == [], "the end of the check")
        case.settle()
        case.leave_by("net2", UP2[1])


def test_a_duplicate_address_harms_nobody() -> None:
    with Case("kc-duplicate") as case:
        case.lab.sysctl(
            "client",
            {
                "net.ipv6.conf.up2.accept_dad": 1,
                "net.ipv6.conf.up2.router_solicitation_delay": 0,
                "net.ipv6.neigh.up2.retrans_time_ms": 300,
            },
        )
        case.net(f"addr add {FRESH}/64 dev net2")
        case.start()
        with Stream(case, *UP1, *UP2) as stream:
            case.ip(f"addr add {FRESH}/64 dev up2")
            poll(lambda: case.addresses("up2", "dadfailed") == [FRESH], "the failed check")
            case.settle()

            assert case.way(FRESH) == "EADDRNOTAVAIL"
            case.leave_by("net2", *UP2)

            case.net(f"addr del {FRESH}/64 dev net2")
            case.ip(f"addr del {FRESH}/64 dev up2", f"addr add {FRESH}/64 dev up2")
            assert eventually(lambda: _bound(case, FRESH)) == "net2"
            case.settle()
        assert stream.seen() == {**dict.fromkeys(UP1, {"net1"}), **dict.fromkeys(UP2, {"net2"})}

        case.ip(f"addr del {FRESH}/64 dev up2")
        case.settle()
        assert case.rules(FRESH) == []


def test_temporary_addresses_come_grow_old_and_are_followed_by_others() -> None:
    with Case("kc-temporary") as case:
        case.net("addr add fd00:99:2::1/64 dev net2")
        case.lab.sysctl(
            "client",
            {
                "net.ipv6.conf.up2.use_tempaddr": 2,
                "net.ipv6.conf.up2.temp_prefered_lft": 4,
                "net.ipv6.conf.up2.max_desync_factor": 0,
                "net.ipv6.conf.up2.regen_max_retry": 1,
                "net.ipv6.neigh.up2.retrans_time_ms": 100,
            },
        )
        case.start()
        _advertise(case)
        first = eventually(lambda: _formed(case, "temporary"))
        case.settle()

        case.leave_by("net2", *first, *_formed(case))
        assert all(case.answered(address) for address in _formed(case))

        with Stream(case, *first) as stream:
            poll(lambda: set(_formed(case, "temporary")) > set(first), "the next temporary address", 8.0)
            case.settle()
            case.leave_by("net2", *_formed(case))
            poll(lambda: _formed(case, "deprecated") == first, "the first one's old age", 8.0)
            case.settle()
            case.leave_by("net2", *_formed(case))
        assert stream.seen() == {first[0]: {"net2"}}

        case.ip(f"addr del {first[0]}/64 dev up2")
        case.settle()
        assert case.rules(first[0]) == []


def test_a_default_route_of_advertisements_expires_and_comes_back() -> None:
    with Case("kc-expires") as case:
        case.ip("route del default via fd00:64:2::1 dev up2 metric 102")
        _advertise(case)
        (formed,) = eventually(lambda: _formed(case))
        case.start()
        sources = (UP2[1], formed)
        case.leave_by("net2", *sources)

        with Stream(case, *sources) as stream:
            _advertise(case, lifetime=1)
            # The kernel keeps the dead route for a while and tells nobody; sockets must hear of it in time.
            poll(lambda: set(case.ways(*sources).values()) <= UNREACHABLE, "the end of the router's life", 4.0)
            case.settle()
            case.refused(*sources)
            assert [len(case.rules(source)) for source in sources] == [4, 4]
            case.leave_by("net2", UP2[0])

            _advertise(case)
            poll(lambda: case.way(formed) == "net2", "the router's return")
            case.settle()
            case.leave_by("net2", *sources)

            _advertise(case, lifetime=0)  # a router says goodbye
            poll(lambda: case.way(formed) in UNREACHABLE, "the router's goodbye")
            case.settle()
            case.refused(*sources)

            _advertise(case)
            poll(lambda: case.way(formed) == "net2", "the router's second return")
            case.settle()
        assert stream.seen() == dict.fromkeys(sources, {"net2"})
        case.leave_by("net1", *UP1)


def test_the_life_of_a_router_that_is_renewed_does_not_end() -> None:
    with Case("kc-renewed") as case:
        case.ip("route del default via fd00:64:2::1 dev up2 metric 102")
        _advertise(case, lifetime=2)
        (formed,) = eventually(lambda: _formed(case))
        case.start()
        with Stream(case, formed) as stream:
            for _ in range(3):
                poll(lambda: _left(case) == 0, "the last second of the router's life")
                _advertise(case, lifetime=2)
                poll(lambda: _left(case) > 0, "a longer life")
                case.leave_by("net2", formed)
            case.settle()
        assert stream.refused == 0
        assert stream.seen() == {formed: {"net2"}}


def _left(case: Case) -> int:
    """Whole seconds until the advertised default runs out; -1: there is none."""
    routes = json.loads(case.lab.ip("client", "-6 -j route show default dev up2"))
    return min((route.get("expires", 0) for route in routes), default=-1)


def test_two_routers_of_one_link_take_over_from_each_other() -> None:
    with Case("kc-routers") as case:
        case.net("link add link net2 name second type macvlan mode bridge", "link set second up")
        case.ip("route del default via fd00:64:2::1 dev up2 metric 102")
        poll(lambda: "tentative" not in case.lab.ip("net", "-6 addr show dev second"), "the second router")
        case.look(("net", "second"))
        _advertise(case)
        (formed,) = eventually(lambda: _formed(case))
        case.start()
        assert case.way(formed) == "net2"

        case.lab.advertise(Advert("net", "second", ADVERTISED, preference="high"))
        case.lab.advertise(Advert("net", "net2", ADVERTISED, lifetime=0))
        poll(lambda: "second" in case.way(formed), "the second router's turn")
        case.settle()

        case.lab.advertise(Advert("net", "net2", ADVERTISED))
        case.lab.advertise(Advert("net", "second", ADVERTISED, lifetime=0))
        poll(lambda: case.way(formed) == "net2", "the first router's turn")
        case.settle()


def test_a_route_of_advertisements_without_an_end_wakes_nobody() -> None:
    """NetworkManager writes such: it keeps the time itself."""
    with Case("kc-noend") as case:
        case.ip(
            "route del default via fd00:64:2::1 dev up2 metric 102",
            "route add default via fd00:64:2::1 dev up2 proto ra metric 100",
        )
        case.start()
        case.leave_by("net2", *UP2)
        case.settle()
        passes = case.status()["Passes"]
        for _ in range(20):
            case.leave_by("net2", UP2[1])
        case.settle()
        assert case.status()["Passes"] == passes + 1  # the one that this question made


def test_a_static_default_with_an_end() -> None:
    with Case("kc-statexp") as case:
        case.ip(
            "route del default via fd00:64:2::1 dev up2 metric 102",
            "route add default via fd00:64:2::1 dev up2 metric 102 expires 1",
        )
        case.start()
        poll(lambda: case.way(UP2[1]) in UNREACHABLE, "the route's end")
        case.settle()
        case.refused(UP2[1])
        assert len(case.rules(UP2[1])) == 4

        case.ip("route replace default via fd00:64:2::1 dev up2 metric 102")
        case.settle()
        case.leave_by("net2", *UP2)
