"""Policy files: what is taken, and what a bad one gets to hear."""

from __future__ import annotations

import pytest

from mpathd.model.errors import ConfigError
from mpathd.model.session import ConnectionType, Nat, Origin, Without
from mpathd.plan.policyfile import Names, PolicyFile, parse

USERS = {"backup": 34, "alice": 1000}
GROUPS = {"video": 44}
NAMES = Names(USERS.get, GROUPS.get)

WHOLE = """
# a call must not leave by the metered link
[session.call]
description = "video calls"
allowed_bearers = ["ethernet", "wifi"]
connection_type = "internet"
flow_selectors = ["*-*-udp-*-3478:3481", "*-*-TCP-*-443"]
users = ["alice", 1001]
groups = "video"
cgroup = "/system.slice/call.service"
multipath_routed_services = ["ethernet_020000000001_cable"]
without_service = "main"
priority = 500
nat = "never"

[session."nightly-backup"]
users = "backup"
"""


def _read(text: str, path: str = "/etc/mpathd/policy.d/x.toml") -> PolicyFile:
    return parse(text, path, NAMES)


def test_everything_at_once() -> None:
    call, backup = _read(WHOLE).sessions

    assert (call.name, call.origin, call.owner) == ("call", Origin.POLICY, "/etc/mpathd/policy.d/x.toml")
    assert call.allowed_bearers == ("ethernet", "wifi")
    assert call.connection_type is ConnectionType.INTERNET
    assert [str(s) for s in call.selectors] == ["*-*-udp-*-3478:3481", "*-*-tcp-*-443"]
    assert call.users == (1000, 1001)
    assert call.groups == (44,)
    assert call.cgroup == "system.slice/call.service"
    assert call.services == ("ethernet_020000000001_cable",)
    assert (call.without_service, call.priority, call.nat) == (Without.MAIN, 500, Nat.NEVER)
    assert (backup.name, backup.users, backup.services) == ("nightly-backup", (34,), None)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("[session.a]\nusers = 'nobody9'\n", ":2:1", ["'nobody9' is no user here"]),
        ("[session.a]\nusers = 1\nallowed_interface = 'of-sixteen-bytes'\n", ":3:1", ["at most 15 letters"]),
        ("[session.a]\nusers = 1\nallowed_interface = 'eth0:1'\n", ":3:1", ["'eth0:1' is no interface"]),
        ("[session.a]\nusers = 1\nallowed_bearers = ['lan']\n", ":3:1", ["'lan' is no bearer", "ethernet, wifi"]),
        ("[session.a]\n  flow_selectors = ['*-*-ftp']\n", ":2:3", ["'ftp' is not known", "example:"]),
        ("[session.a]\nusers = [\n  'alice',\n  'nobody9',\n]\n", ":4:3", ["'nobody9' is no user here"]),
        ('[session.a]\nflow_selectors = ["*-*-tcp",\n "*-*-ftp"]\n', ":3:2", ["'ftp' is not known"]),
        ("[session.a]\nusers = 1\nmultipath_routed_services = 'up1'\n", ":3:1", ['"auto", or a list', '["eth0"']),
        ("[session.a]\nuser = 1\n", ":2:1", ["no key 'user'", "did you mean 'users'?"]),
        ("[session.a]\ndescription = 'x'\n", ":1:1", ["catches no traffic", "flow_selectors, users"]),
        ("[sessions.a]\nusers = 1\n", ":1:1", ["no section [sessions]", "[session.NAME]"]),
        ("[session.a]\nusers = 1\npriority = 1001\n", ":3:1", ["1001", "0 to 1000"]),
        ("[session.a]\nusers = 1\nwithout_service = 'drop'\n", ":3:1", ["block, main"]),
        ("[session.a]\nusers = 1\ncgroup = '../x'\n", ":3:1", ["below the root"]),
        ('[session.a]\ncgroup = "/a\\nb"\n', ":2:1", ["below the root"]),
        ("[session.'a b']\nusers = 1\n", ":1:1", ["'a b' is no name"]),
        ("[session.a]\nusers = ['4999999999']\n", ":2:1", ["'4999999999' is no user here"]),
        ("[session.a]\nusers = ['" + "9" * 5000 + "']\n", ":2:1", ["is no user here"]),
        ("session.a.users = true\n", ":1:1", ["true is no user"]),
        ("[[session.a]]\nusers = 1\n", ":1:1", ["[[session.a]] is a list of sections", "[session.a]"]),
        ("[session]\nusers = 1\n", ":2:1", ["'users' stands in no session", "[session.NAME]"]),
        ("[session.a]\nusers = 1\nsource_ip_rule = True\n", ":3:18", ["Invalid value", "true and false"]),
        ("[session.a]\npriority = " + "9" * 5000 + "\n", "", ["a number in it is too long"]),
        ("[session.a\nusers = 1\n", ":1:11", ["TOML"]),
        ("", "", ["no session in it"]),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_whole_with_its_place(text: str, place: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        _read(text)

    message = str(caught.value)
    assert message.startswith(f"/etc/mpathd/policy.d/x.toml{place}: ")
    for word in words:
        assert word in message


def test_of_a_long_list_only_what_is_wrong_with_it_is_told() -> None:
    many = [f"*-*-tcp-*-{port}" for port in range(1, 2001)]
    with pytest.raises(ConfigError) as caught:
        parse(f"[session.a]\nflow_selectors = {[*many, '*-*-*-7']}\n", "a.toml", NAMES)

    assert caught.value.text.startswith("a.toml:2:1: flow_selectors = ['*-*-tcp-*-1', ")
    assert caught.value.text.endswith("... does not fit")
    assert len(caught.value.text) < 150
    assert "'*-*-*-7'" in caught.value.hint


def test_connmans_files() -> None:
    text = "[policy_a]\nuid = alice\nAllowedBearers = wifi ethernet\nConnectionType = local\nRoamingPolicy = always\n"
    text += "[policy_b]\ngid = 44\n"

    read = _read(text, "/var/lib/connman/session_policy_local/x.policy")

    first, second = read.sessions
    assert (first.name, first.users, first.allowed_bearers) == ("policy_a", (1000,), ("wifi", "ethernet"))
    assert first.connection_type is ConnectionType.LOCAL
    assert second.groups == (44,)
    assert len(read.notes) == 1
    assert "RoamingPolicy has no meaning here" in read.notes[0]
    assert ":5:1" in read.notes[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[policy_a]\nuid = nobody9\n", "'nobody9' is no user"),
        ("[policy_a]\ngid = 4294967295\n", "'4294967295' is no group"),
        ("[policy_a]\nAllowedBearers = wifi\n", "catches no traffic"),
        ("[policy_a]\nuid = alice\nAllowedBearers = wlan\n", "'wlan' is no bearer"),
        ("[policy_a]\nuid = alice\nBearers = wifi\n", "no key 'Bearers'"),
        ("uid = alice\n", "expected ConnMan's form"),
        ("", "no policy in it"),
    ],
)
def test_bad_connman_files(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _read(text, "x.policy")

    assert words in str(caught.value)


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    """Some editors put one in front."""
    (session,) = _read("\ufeff[session.a]\nusers = 1\n").sessions
    assert session.name == "a"
