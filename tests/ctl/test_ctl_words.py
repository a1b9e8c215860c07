"""What people read, to the letter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mpathd.ctl import words
from mpathd.ctl.client import Service

CABLE = Service(
    "/net/mpathd/service/ethernet_36e0bdee6014_cable",
    {
        "MultipathRouting": True,
        "MultipathTcpLink": "on",
        "AutoConnect": True,
        "State": "ready",
        "Type": "ethernet",
        "Name": "Wired",
        "Interface": "vethc1",
        "Table": 278,
        "Routed": True,
        "Because": "gateway 10.0.1.1 (main)",
        "Letters": "*AMR",
        "Ethernet": {"Method": "auto", "Interface": "vethc1", "Address": "36:E0:BD:EE:60:14", "MTU": 1500},
        "IPv4": [{"Method": "dhcp", "Address": "10.0.1.2", "PrefixLength": 24, "Gateway": "10.0.1.1"}],
        "IPv6": [
            {"Method": "auto", "Address": "fd00:1::2", "PrefixLength": 64, "Gateway": "fe80::1"},
            {"Method": "manual", "Address": "fd00:1::3", "PrefixLength": 64, "Gateway": "fe80::1"},
        ],
        "Gateways": [
            {"Address": "10.0.1.1", "Source": "main", "Metric": 100},
            {"Address": "fe80::1", "Source": "main", "Metric": 1024},
        ],
    },
)


def other(service: Service, path: str, **values: Any) -> Service:
    return replace(service, path=f"/net/mpathd/service/{path}", values={**service.values, **values})


PHONE = other(
    CABLE,
    "cellular_wwan0_context",
    MultipathRouting=False,
    MultipathTcpLink="backup",
    State="online",
    Name="A very long name of a network",
    Interface="wwan0",
    Table=280,
    Routed=False,
    Because="MultipathRouting is off",
    Letters="*A O",
    IPv4=[{"Method": "manual", "Address": "10.9.0.2", "PrefixLength": 32, "Gateway": ""}],
    IPv6=[],
    Gateways=[{"Address": "", "Source": "main", "Metric": 0}],
)
TUNNEL = other(PHONE, "vpn_tun0", State="idle", Name="VPN", Interface="tun0", Letters="*   ", IPv4=[], Gateways=[])


def test_one_line_a_service_as_the_post_has_it() -> None:
    assert words.listed([CABLE, PHONE, TUNNEL]) == (
        "*AMR Wired                ethernet_36e0bdee6014_cable\n"
        "*A O A very long name of a network cellular_wwan0_context\n"
        "*    VPN                  vpn_tun0"
    )


def test_no_services_are_no_lines() -> None:
    assert not words.listed([])


def test_all_about_a_service_as_connmanctl_has_it() -> None:
    assert (
        words.whole(CABLE)
        == """\
/net/mpathd/service/ethernet_36e0bdee6014_cable
  MultipathRouting = True
  MultipathTcpLink = on
  AutoConnect = True
  State = ready
  Type = ethernet
  Name = Wired
  Interface = vethc1
  Table = 278
  Routed = True
  Because = gateway 10.0.1.1 (main)
  Letters = *AMR
  Ethernet = [ Method=auto, Interface=vethc1, Address=36:E0:BD:EE:60:14, MTU=1500 ]
  IPv4 = [ Method=dhcp, Address=10.0.1.2, PrefixLength=24, Gateway=10.0.1.1 ]
  IPv6 = [ Method=auto, Address=fd00:1::2, PrefixLength=64, Gateway=fe80::1 ], [ Method=manual, Address=fd00:1::3, \
PrefixLength=64, Gateway=fe80::1 ]
  Gateways = [ Address=10.0.1.1, Source=main, Metric=100 ], [ Address=fe80::1, Source=main, Metric=1024 ]"""
    )


@pytest.mark.parametrize(
    ("thing", "text"),
    [(False, "False"), (0, "0"), (1.25, "1.25"), ("", ""), ([], "[  ]"), ({}, "[  ]"), (["a", 1], "[ a, 1 ]")],
)
def test_values_as_connmanctl_has_them(thing: object, text: str) -> None:
    assert words.value(thing) == text


def test_the_wide_table() -> None:
    assert (
        words.table([CABLE, TUNNEL, PHONE])
        == """\
SERVICE                      INTERFACE  STATE   TABLE  ADDRESSES                              \
GATEWAYS                      MPTCP   ROUTED  BECAUSE
ethernet_36e0bdee6014_cable  vethc1     ready   278    10.0.1.2/24,fd00:1::2/64,fd00:1::3/64  \
10.0.1.1(main),fe80::1(main)  on      yes     gateway 10.0.1.1 (main)
vpn_tun0                     tun0       idle    280    -                                      \
-                             backup  no      MultipathRouting is off
cellular_wwan0_context       wwan0      online  280    10.9.0.2/32                            \
on-link(main)                 backup  no      MultipathRouting is off"""
    )


def test_settings_as_config_takes_them() -> None:
    assert words.settings("default", {"MultipathRouting": False, "MultipathTcpLink": "off", "AutoConnect": True}) == (
        "default\n  mpath_routing = no\n  mpath_tcp_link = off\n  autoconnect = yes"
    )


def test_a_setting_that_an_older_daemon_lacks_is_left_out() -> None:
    assert words.settings("x", {"AutoConnect": False, "State": "ready"}) == "x\n  autoconnect = no"


WELL = {
    "Passes": 42,
    "Settled": True,
    "Age": 3.2,
    "Routes": 6,
    "Rules": 8,
    "Refused": [],
    "Version": "0.1.0",
    "Pid": 77,
    "Config": "/etc/mpathd/mpathd.conf",
    "Extra": {},
    "Findings": [],
}


def test_status_when_all_is_well() -> None:
    assert (
        words.status(WELL, [CABLE])
        == """\
mpathd: settled (pass 42, 3 s ago), 14 kernel objects
  version 0.1.0, pid 77, configuration /etc/mpathd/mpathd.conf
service: ethernet_36e0bdee6014_cable
  link: vethc1, ready, 10.0.1.2/24, fd00:1::2/64, fd00:1::3/64
  gateway: 10.0.1.1 (main), fe80::1 (main)
  routing: table 278; gateway 10.0.1.1 (main)
  mptcp: on"""
    )


def test_status_in_trouble_says_so_first_and_the_cure_last() -> None:
    found = {
        **WELL,
        "Settled": False,
        "Age": 7300.0,
        "Config": "",
        "Extra": {"MPTCP": "not supported by this kernel"},
        "Refused": ["ip -4 route add default via 10.0.1.1 dev vethc1 table 278: Network is unreachable"],
        "Findings": [
            {
                "Code": "rp-filter-strict",
                "Severity": "high",
                "Text": "vethc2 drops replies (rp_filter=1)",
                "Cure": "sysctl -w net.ipv4.conf.vethc2.rp_filter=2",
            },
            {"Code": "odd", "Severity": "low", "Text": "nothing helps", "Cure": ""},
        ],
    }
    assert (
        words.status(found, [TUNNEL])
        == """\
mpathd: not settled (pass 42, 2 h ago), 14 kernel objects
  version 0.1.0, pid 77, configuration built in
  MPTCP: not supported by this kernel
service: vpn_tun0
  link: tun0, idle
  gateway: none
  routing: main only; MultipathRouting is off
  mptcp: backup
# Health:
#   refused: ip -4 route add default via 10.0.1.1 dev vethc1 table 278: Network is unreachable
#   rp-filter-strict: vethc2 drops replies (rp_filter=1); cure: sysctl -w net.ipv4.conf.vethc2.rp_filter=2
#   odd: nothing helps"""
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (86400, "24 h"), (2e5, "2 d")],
)
def test_spans_of_time(seconds: float, text: str) -> None:
    assert words.age(seconds) == text


def test_names_that_strangers_chose_cannot_write_to_the_terminal() -> None:
    """An access point may be called anything, also a line of ours, or an order to the terminal."""
    evil = other(PHONE, "wifi_x_managed", Name="\x1b[2J\n*AMO Wired", Because="\x9b1m\u202ehi\udcff")

    assert words.listed([evil]) == r"*A O \x1b[2J\n*AMO Wired  wifi_x_managed"
    assert words.table([evil]).endswith(r"\x9b1m\u202ehi\udcff")
    assert r"  Name = \x1b[2J\n*AMO Wired" in words.whole(evil)
    assert words.clean("Café Zürich") == "Café Zürich"
