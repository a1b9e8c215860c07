"""Which service a word means."""

from __future__ import annotations

import pytest

from mpathd.ctl.client import Service
from mpathd.ctl.errors import FAILED, Answered, status
from mpathd.ctl.pick import pick

SERVICES = tuple(
    Service(f"/net/mpathd/service/{identifier}", {"Interface": interface})
    for identifier, interface in (
        ("ethernet_36e0bdee6014_cable", "eth1"),
        ("ethernet_265676f2a6d2_cable", "eth10"),
        ("wifi_3c_managed", "wlan0"),
        ("wifi_3c_managed_2", "wlp2s0"),
        ("vpn_tun0", "wifi_3c_managed"),
    )
)


@pytest.mark.parametrize(
    ("word", "interface"),
    [
        ("ethernet_36e0bdee6014_cable", "eth1"),
        ("ethernet_3", "eth1"),
        ("eth1", "eth1"),  # also a beginning of eth10
        ("eth10", "eth10"),
        ("wla", "wlan0"),
        ("wifi_3c_managed", "wlan0"),  # an identifier, a beginning of another, and somebody's interface
        ("wifi_3c_managed_", "wlp2s0"),
        ("v", "wifi_3c_managed"),
    ],
)
def test_it_is_the_exact_one_else_the_only_one_that_begins_so(word: str, interface: str) -> None:
    assert pick(word, SERVICES).interface == interface


def test_an_identifier_and_an_interface_that_begin_alike_are_one_if_they_are_one() -> None:
    assert pick("e", SERVICES[:1]) is SERVICES[0]


def test_several_are_an_error_that_names_them() -> None:
    with pytest.raises(Answered) as caught:
        pick("eth", SERVICES)
    assert str(caught.value) == (
        "'eth' fits 2 services\n"
        "  write more of one of: ethernet_36e0bdee6014_cable (eth1), ethernet_265676f2a6d2_cable (eth10)"
    )
    assert status(caught.value) == FAILED


def test_none_is_an_error_that_names_all() -> None:
    with pytest.raises(Answered) as caught:
        pick("eth7", SERVICES[:2])
    assert str(caught.value) == (
        "no service called 'eth7'\n"
        "  services here: ethernet_36e0bdee6014_cable (eth1), ethernet_265676f2a6d2_cable (eth10)"
    )


def test_where_there_are_none_it_says_so() -> None:
    with pytest.raises(Answered, match="services here: none"):
        pick("eth7", ())


def test_many_candidates_are_not_all_named() -> None:
    many = [Service(f"/s/vpn_tun{i}", {"Interface": f"tun{i}"}) for i in range(1000)]
    with pytest.raises(Answered, match=r"vpn_tun7 \(tun7\) and 992 more$"):
        pick("tun", many)
