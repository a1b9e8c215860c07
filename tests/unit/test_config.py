"""mpathd.conf: what is taken, and what a bad line gets to hear."""

from __future__ import annotations

import pytest

from mpathd.model.errors import ConfigError
from mpathd.model.words import MptcpMode
from mpathd.plan.config import KEYS, parse

WHOLE = """
[uplinks]
include = ["eth*", "wwan0"]
exclude = ["02:00:00:00:00:01"]
[defaults]
multipath_routing = true
mpath_tcp_link = "backup"
[numbers]
protocol = 120
mark_mask = 0x00ff0000
table_base = 1000
priority_base = 10000
endpoint_ids = [100, 120]
[sources]
order = ["networkd", "main"]
static = { eth1 = "10.1.0.1", "ethernet_020000000001_cable" = ["10.2.0.1", "fe80::1"], tun0 = "on-link" }
[dbus]
group = "wheel"
[log]
level = "debug"
format = "json"
[stop]
keep = true
"""


def test_everything_at_once() -> None:
    config = parse(WHOLE, "mpathd.conf")

    policy = config.policy
    assert policy.include == ("eth*", "wwan0")
    assert policy.defaults.multipath_routing
    assert policy.defaults.mpath_tcp_link is MptcpMode.BACKUP
    assert (policy.numbers.protocol, policy.numbers.table_base) == (120, 1000)
    assert policy.numbers.mark_mask == 0xFF0000
    assert policy.source_order == ("networkd", "main")
    assert policy.static["eth1"] == ("10.1.0.1",)
    assert policy.static["ethernet_020000000001_cable"] == ("10.2.0.1", "fe80::1")
    assert policy.static["tun0"] == (None,)
    assert (config.group, config.level, config.format, config.keep) == ("wheel", "debug", "json", True)


def test_nothing_is_a_configuration_too() -> None:
    assert parse("", "x").policy.defaults.multipath_routing is False


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[uplink]\ninclude = []\n", 1, ["no section [uplink]", "did you mean '[uplinks]'?", "sections: "]),
        ("[uplinks]\n\ninclud = []\n", 3, ["no key 'includ'", "did you mean 'include'?", "keys: include"]),
        ('[dbus]\naddress = "foo"\n', 2, ["address = 'foo' does not fit", "unix:path=/run/dbus/system_bus_socket"]),
        ('[dbus]\naddress = "tcp:host=a,port=1"\n', 2, ["does not fit", "unix:path="]),
        ("[defaults]\nmultipath_routing = 'yes'\n", 2, ["'yes'", "true or false"]),
        ('[defaults]\nmpath_tcp_link = "maybe"\n', 2, ["'maybe'", "on, backup, off"]),
        ("[numbers]\nprotocol = 300\n", 2, ["300", "5 to 255"]),
        ("[numbers]\nprotocol = true\n", 2, ["true", "5 to 255"]),
        ("[numbers]\nmark_mask = 0x00f1_0000\n", 2, ["without a gap"]),
        ("[numbers]\npriority_base = 32000\n", 2, ["1 to 27766"]),
        ("[numbers]\nendpoint_ids = [254, 200]\n", 2, ["[254, 200] does not fit", "first and last id"]),
        ("[numbers]\nendpoint_ids = [true, 254]\n", 2, ["[true, 254] does not fit", "first and last id"]),
        ("[numbers]\nendpoint_ids = [200]\n", 2, ["[200] does not fit", "first and last id"]),
        ('[sources]\norder = ["main", "main"]\n', 2, ["each once"]),
        ('[sources]\nstatic = { eth0 = "10.1.0.300" }\n', 2, ["10.1.0.300", "no address"]),
        ('[sources]\nstatic = { eth0 = ["0.0.0.0"] }\n', 2, ["'0.0.0.0' is no address of a gateway", "fe80::1"]),
        ('[sources]\nstatic = { eth0 = "ff02::1" }\n', 2, ["'ff02::1' is no address of a gateway"]),
        ('[sources]\nstatic = { eth0 = "fe80::1%eth0" }\n', 2, ["'fe80::1%eth0' is no address of a gateway"]),
        ('[log]\nlevel = "loud"\n', 2, ["debug, info, warning, error"]),
        ("[stop]\nkeep = 1\n", 2, ["true or false"]),
        ("[stop\nkeep = 1\n", 1, ["TOML"]),
        ("stop = 1\n", 1, ["no section [stop]\n  write [stop] on a line of its own, and its keys below that"]),
        ("keep = true\n", 1, ["no section [keep]\n  'keep' is a key: write it below [stop]"]),
    ],
)  # fmt: skip
def test_a_bad_line_is_named(text: str, line: int, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "/etc/mpathd/mpathd.conf")

    message = str(caught.value)
    assert message.startswith(f"/etc/mpathd/mpathd.conf:{line}:")
    for word in words:
        assert word in message


def test_a_list_of_sections_is_none() -> None:
    with pytest.raises(ConfigError, match=r"no section \[uplinks\]\n  write \[uplinks\] on a line of its own"):
        parse("[[uplinks]]\ninclude = []\n", "x")


def test_marks_lie_under_their_mask() -> None:
    with pytest.raises(ConfigError, match="mark_base 0x1000000 has bits outside mark_mask 0xff0000"):
        parse("[numbers]\nmark_mask = 0x00ff0000\nmark_base = 0x1000000\n", "x")


def test_every_key_has_its_words() -> None:
    assert all(key.help for key in KEYS)
    assert len({(key.section, key.name) for key in KEYS}) == len(KEYS)


def test_what_the_kernel_takes_not_together_is_refused_where_it_stands() -> None:
    with pytest.raises(ConfigError, match="x:3:1: signal and fullmesh exclude each other") as refused:
        parse("[mptcp]\nsignal = true\nfullmesh = true\n", "x")
    assert refused.value.hint == "set signal or fullmesh in [mptcp] to false, or leave it out"
