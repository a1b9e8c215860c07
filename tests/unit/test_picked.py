"""Services named by hand: which cannot be members, and what is said about them."""

from __future__ import annotations

import pytest

from mpathd.model.errors import InvalidArguments
from mpathd.model.policy import ServiceSettings
from mpathd.model.view import Service
from mpathd.model.words import ServiceState, Technology
from mpathd.plan.picked import check, picked, unfit


def service(name: str, settings: ServiceSettings) -> Service:
    return Service(name, "Wired", Technology.ETHERNET, ServiceState.IDLE, 7, name, "", 1500, 262, settings, False, "")


ON = ServiceSettings(multipath_routing=True)
HERE = (
    service("on", ON),
    service("off", ServiceSettings()),
    service("manual", ServiceSettings(multipath_routing=True, autoconnect=False)),
    service("also", ON),
)


def test_a_service_that_is_routed_once_it_has_a_gateway_can_be_named() -> None:
    assert not unfit(["on", "also", "", "*"], HERE)


def test_what_is_wrong_is_said_of_each_and_what_can_be_given() -> None:
    with pytest.raises(InvalidArguments) as error:
        check(["on", "off", "manual", "none"], HERE)

    assert error.value.text == (
        "MultipathRoutedServices cannot have off: its MultipathRouting is off; manual: its AutoConnect is off; "
        "none: there is no such service"
    )
    assert error.value.hint.startswith("services that can be given: on, also; ")


def test_where_there_is_none_it_says_so() -> None:
    with pytest.raises(InvalidArguments) as error:
        check(("x",), ())

    assert error.value.hint.startswith("services that can be given: none; ")


@pytest.mark.parametrize("given", [None, [], [""], ["*"], ["*", "none"], "none", [7]])
def test_no_list_of_names_and_a_star_are_not_looked_at(given: object) -> None:
    check(given, HERE)


def test_a_name_is_an_identifier_an_interface_or_the_beginning_of_one_service() -> None:
    here = {"ethernet_36_cable": "eth0", "ethernet_4b_cable": "eth01", "vpn_tun0": "tun0"}

    found = {name: picked([name], here) for name in ("ethernet_4b_cable", "eth0", "vpn", "tu", "eth", "x", "")}

    one = {"ethernet_4b_cable": "ethernet_4b_cable", "eth0": "ethernet_36_cable", "vpn": "vpn_tun0", "tu": "vpn_tun0"}
    assert found == {name: frozenset({one[name]} if name in one else ()) for name in found}


def test_the_beginning_of_several_is_no_name() -> None:
    assert unfit(["o", "al"], HERE) == {"o": "it fits 2 services"}
