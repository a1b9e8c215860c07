"""Issue 2, item 4: several addresses on a link; addresses that come, go and are renumbered."""

from __future__ import annotations

import pytest

from kernel.helpers_cases import UP1, UP2, Case, Stream

MORE = ("10.64.2.7", "10.99.2.7", "fd00:64:2::7", "fd00:99:2::7")  # two in the link's subnets, two in others
MORE_LINES = tuple(f"addr add {address}/{64 if ':' in address else 24} dev up2" for address in MORE)


def test_several_addresses_of_a_link_leave_by_it() -> None:
    with Case("kc-several") as case:
        case.net("addr add 10.99.2.1/24 dev net2", "addr add fd00:99:2::1/64 dev net2")
        case.ip(*MORE_LINES)

        case.start()

        case.leave_by("net2", *UP2, *MORE)
        case.leave_by("net1", *UP1)
        assert [len(case.rules(address)) for address in MORE] == [4] * len(MORE)
        assert all(case.answered(address) for address in MORE)
        case.settle()


def test_an_address_that_comes_and_goes() -> None:
    with Case("kc-comego") as case:
        case.start()
        with Stream(case, *UP1, *UP2) as stream:
            case.ip(*MORE_LINES)
            case.settle()

            case.leave_by("net2", *MORE)

            case.ip(*(line.replace("addr add", "addr del") for line in MORE_LINES))
            case.settle()
        assert [rule for address in MORE for rule in case.rules(address)] == []
        assert set(case.ways(*MORE).values()) == {"EADDRNOTAVAIL"}
        case.leave_by("net2", *UP2)
        assert stream.seen() == {**dict.fromkeys(UP1, {"net1"}), **dict.fromkeys(UP2, {"net2"})}


def test_all_addresses_of_a_link_go_and_come_back() -> None:
    with Case("kc-all") as case:
        case.start()
        case.ip("addr flush dev up2")
        case.settle()
        assert [rule for address in UP2 for rule in case.rules(address)] == []
        assert case.table_by("up2") == []
        case.leave_by("net1", *UP1)

        case.ip(f"addr add {UP2[0]}/24 dev up2", f"addr add {UP2[1]}/64 dev up2")
        case.ip("route add default via 10.64.2.1 dev up2 metric 102")
        case.ip("route replace default via fd00:64:2::1 dev up2 metric 102")
        case.settle()

        case.leave_by("net2", *UP2)


@pytest.mark.parametrize("order", ["new first", "old first"])
def test_a_renumbered_link(order: str) -> None:
    fresh = ("10.64.9.2", "fd00:64:9::2")
    add = (f"addr add {fresh[0]}/24 dev up2", f"addr add {fresh[1]}/64 dev up2")
    remove = tuple(f"addr del {address} dev up2" for address in (f"{UP2[0]}/24", f"{UP2[1]}/64"))
    routes = (
        "route replace default via 10.64.9.1 dev up2 metric 102",
        "route del default via fd00:64:2::1 dev up2 metric 102",
        "route add default via fd00:64:9::1 dev up2 metric 102",
    )
    with Case("kc-renumber") as case:
        case.net("addr add 10.64.9.1/24 dev net2", "addr add fd00:64:9::1/64 dev net2")
        case.start()
        with Stream(case, *UP1) as stream:
            case.ip(*(add + routes + remove if order == "new first" else remove + add + routes))
            case.settle()

        case.leave_by("net2", *fresh)
        assert [rule for address in UP2 for rule in case.rules(address)] == []
        assert not any("10.64.2." in route or "fd00:64:2:" in route for route in case.table_by("up2"))
        case.leave_by("net1", *UP1)
        assert stream.seen() == dict.fromkeys(UP1, {"net1"})


@pytest.mark.parametrize("promote", [0, 1])
def test_a_primary_address_goes_with_or_without_its_secondaries(promote: int) -> None:
    second = "10.64.2.7"
    with Case("kc-promote") as case:
        case.lab.sysctl("client", {f"net.ipv4.conf.{name}.promote_secondaries": promote for name in ("all", "up2")})
        case.ip(f"addr add {second}/24 dev up2")
        case.start()
        case.leave_by("net2", *UP2, second)

        case.ip(f"addr del {UP2[0]}/24 dev up2")
        case.settle()

        assert case.rules(UP2[0]) == []
        case.leave_by("net2", UP2[1])
        if promote:
            case.leave_by("net2", second)
        else:
            assert case.rules(second) == []
            assert case.way(second) == "EADDRNOTAVAIL"
        assert not any(f"src {UP2[0]}" in route for route in case.table_by("up2"))


def test_forty_addresses_on_one_link() -> None:
    more = [f"10.64.2.{number}" for number in range(100, 140)] + [f"fd00:64:2::{number}" for number in range(100, 140)]
    lines = [f"addr add {address}/{64 if ':' in address else 24} dev up2" for address in more]
    with Case("kc-forty") as case:
        case.start()
        case.ip(*lines)
        case.settle()

        case.leave_by("net2", *UP2, *more)
        assert len(case.rules()) == 4 * (len(more) + len(UP1) + len(UP2))

        case.ip(*(line.replace("addr add", "addr del") for line in lines))
        case.settle()

        assert len(case.rules()) == 4 * (len(UP1) + len(UP2))
        case.leave_by("net2", *UP2)


def test_an_address_that_moves_to_another_link() -> None:
    moving = ("10.99.0.7", "fd00:99::7")
    with Case("kc-moves") as case:
        case.ip(*(f"addr add {address} dev up2" for address in moving))
        case.start()
        case.leave_by("net2", *moving)

        case.ip(*(f"addr del {address} dev up2" for address in moving))
        case.ip(*(f"addr add {address} dev up1" for address in moving))
        case.settle()

        case.leave_by("net1", *moving)
        assert [len(case.rules(address)) for address in moving] == [4, 4]
        case.leave_by("net2", *UP2)


def test_an_address_on_two_links_is_a_finding_and_outlives_one_of_them() -> None:
    with Case("kc-twice") as case:
        case.ip("addr add 10.99.0.7/32 dev up1", "addr add 10.99.0.7/32 dev up2")
        case.start()
        way = case.way("10.99.0.7")
        assert way in {"net1", "net2"}
        assert "10.99.0.7" in case.findings()["address-twice"]["Text"]

        first, other = ("up1", "net2") if way == "net1" else ("up2", "net1")
        case.ip(f"addr del 10.99.0.7/32 dev {first}")
        case.settle()

        case.leave_by(other, "10.99.0.7")
        assert "address-twice" not in case.findings()
