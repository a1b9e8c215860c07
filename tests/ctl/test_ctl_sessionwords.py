"""What people read of sessions, to the letter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ctl.test_ctl_words import CABLE, WELL
from mpathd.ctl import sessionwords, words
from mpathd.ctl.client import Session
from mpathd.plan.policyfile import Names, parse

# As a daemon may send it: in an order of its own, with properties that the post does not have.
VIDEO = Session(
    "/net/mpathd/session/named/video",
    {
        "Mark": 0x10000,
        "Active": True,
        "Owner": "root",
        "Reason": "ethernet comes first",
        "Origin": "named",
        "State": "connected",
        "Bearer": "ethernet",
        "Interface": "vethc2",
        "Name": "Wired",
        "AllowedBearers": ["ethernet", "wifi"],
        "ConnectionType": "any",
        "FlowSelectors": ["*-*-*", "*-*-udp-7777-8888"],
        "MultipathRoutedServices": ["ethernet_36e0bdee6014_cable", "ethernet_fe96f100e49b_cable"],
        "IPv4": {"Netmask": "255.255.255.0", "Method": "manual", "Address": "10.0.2.2"},
        "IPv6": {},
        "Priority": 100,
    },
)
IDLE = Session(
    "/net/mpathd/session/policy/back_2eup",
    {
        "Mark": 0x20000,
        "State": "disconnected",
        "Active": False,
        "Bearer": "",
        "Interface": "",
        "Origin": "policy",
        "Owner": "/etc/mpathd/policy.d/a file.toml",
        "Reason": "the session is not connected",
        "MultipathRoutedServices": [],
    },
)
CLIENT = Session(
    "/net/mpathd/session/_1_7/foo/bar", {"State": "online", "Active": True, "Bearer": "wifi", "Interface": "wlan0"}
)


def test_all_about_a_session_as_the_post_has_it() -> None:
    assert (
        sessionwords.whole(VIDEO)
        == """\
/net/mpathd/session/named/video
 AllowedBearers = [ ethernet wifi ]
 Bearer = ethernet
 ConnectionType = any
 State = connected
 FlowSelectors = [ *-*-* *-*-udp-7777-8888 ]
 MultipathRoutedServices = [ ethernet_36e0bdee6014_cable ethernet_fe96f100e49b_cable ]
 IPv4 = { Netmask=255.255.255.0 Method=manual Address=10.0.2.2 }
 IPv6 = { }
 Interface = vethc2
 Name = Wired
 Mark = 65536
 Active = True
 Owner = root
 Reason = ethernet comes first
 Origin = named
 Priority = 100"""
    )


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        ([], "[ ]"),
        (["a"], "[ a ]"),
        ({}, "{ }"),
        ([{"A": "b"}, {"A": ""}], "{ A=b } { A= }"),
        (True, "True"),
        ("\x1b[2J", r"\x1b[2J"),
        (["a\nb"], r"[ a\nb ]"),
    ],
)
def test_values_as_test_session_has_them(thing: Any, text: str) -> None:
    assert sessionwords.value(thing) == text


def test_one_line_a_session() -> None:
    assert sessionwords.listed([VIDEO, IDLE, CLIENT]) == (
        "*C video                ethernet/vethc2      named\n"
        "   back.up              -                    policy\n"
        "*O _1_7/foo/bar         wifi/wlan0           "
    )
    assert not sessionwords.listed([])


def test_the_wide_table() -> None:
    assert (
        sessionwords.table([VIDEO, IDLE])
        == """\
SESSION  STATE         BEARER    INTERFACE  MARK     SERVICES                                                 PRIORITY\
  ORIGIN  OWNER                                REASON
video    connected     ethernet  vethc2     0x10000  ethernet_36e0bdee6014_cable,ethernet_fe96f100e49b_cable  100     \
  named   root                                 ethernet comes first
back.up  disconnected  -         -          0x20000  -                                                        -       \
  policy  /etc/mpathd/policy.d/a\\x20file.toml  the session is not connected"""
    )


def test_sessions_in_status_stand_between_services_and_trouble() -> None:
    finding = {"Code": "odd", "Severity": "low", "Text": "nothing helps", "Cure": ""}
    lines = [line for session in (VIDEO, IDLE) for line in sessionwords.block(session)]

    text = words.status({**WELL, "Findings": [finding]}, [CABLE], lines)

    assert text.split("  mptcp: on\n")[1] == (
        """\
session: video
  link: vethc2, ethernet, connected
  mark: 0x10000, table 65536
  services: ethernet_36e0bdee6014_cable ethernet_fe96f100e49b_cable
  reason: ethernet comes first
session: back.up
  link: disconnected
  mark: 0x20000, table 131072
  services: none
  reason: the session is not connected
# Health:
#   odd: nothing helps"""
    )


def test_a_name_of_its_own_wins_over_the_path() -> None:
    assert replace(VIDEO, values={"Identifier": "a-b"}).id == "a-b"
    assert Session("/net/mpathd/session/named/a_2db_2ec_d", {}).id == "a-b.c_d"


NAMES = Names({"backup": 34}.get, {"video": 44}.get)
FILE = """\
[session.backup]
allowed_bearers = ["ethernet", "wifi"]
users = ["backup", 1000]
flow_selectors = ["*-*-TCP-*-443", "10.0.0.0/8-*"]
description = "nightly \\u001b[2J"

[session.call]
groups = ["video"]
without_service = "main"
multipath_routed_services = []
"""


def test_what_a_policy_file_asks_for() -> None:
    found = parse(FILE, "x.toml", NAMES)

    assert (
        sessionwords.policy(found, ["x.toml:3:1: a note"], {"users": lambda number: f"u({number})"})
        == """\
x.toml: good, 2 sessions
  note: x.toml:3:1: a note
session: backup
  allowed_bearers = [ ethernet wifi ]
  connection_type = any
  flow_selectors = [ *-*-tcp-*-443 10.0.0.0/8-*-* ]
  users = [ u(34) u(1000) ]
  multipath_routed_services = auto
  without_service = block
  priority = 100
  nat = auto
  description = nightly \\x1b[2J
session: call
  allowed_bearers = [ * ]
  connection_type = any
  groups = [ 44 ]
  multipath_routed_services = [ ]
  without_service = main
  priority = 100
  nat = auto"""
    )


def test_what_a_policy_file_asks_for_as_a_program_reads_it() -> None:
    found = sessionwords.asked(parse(FILE, "x.toml", NAMES).sessions[0])

    assert found == {
        "Session": "backup",
        "AllowedBearers": ["ethernet", "wifi"],
        "ConnectionType": "any",
        "AllowedInterface": "",
        "FlowSelectors": ["*-*-tcp-*-443", "10.0.0.0/8-*-*"],
        "Users": [34, 1000],
        "Groups": [],
        "Cgroup": "",
        "MultipathRoutedServices": ["*"],
        "WithoutService": "block",
        "Priority": 100,
        "Nat": "auto",
        "Description": "nightly \x1b[2J",
    }
