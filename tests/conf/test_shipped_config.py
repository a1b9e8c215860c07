"""The shipped mpathd.conf against the table of keys and the defaults of the model."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from mpathd.model.config import Config
from mpathd.plan.config import BY_PLACE, KEYS, parse

CONF = Path(__file__).resolve().parents[2] / "conf"
KEY = re.compile(r"#(?=\w+ = )")


def shipped() -> str:
    return (CONF / "mpathd.conf").read_text()


def uncommented() -> str:
    return "\n".join(KEY.sub("", line) for line in shipped().splitlines())


def test_as_shipped_it_says_nothing() -> None:
    assert parse(shipped(), "mpathd.conf") == Config(path="mpathd.conf")


def test_every_key_of_the_table_stands_in_its_section_and_no_other() -> None:
    data = tomllib.loads(uncommented())

    assert [(section, key) for section, keys in data.items() for key in keys] == [(k.section, k.name) for k in KEYS]


def test_uncommented_every_key_has_its_default() -> None:
    assert parse(uncommented(), "mpathd.conf") == Config(path="mpathd.conf")


def test_each_key_reaches_the_configuration() -> None:
    """Another value makes another configuration: so the equality above says something about each key."""
    other = {
        ("uplinks", "include"): '["eth*"]',
        ("uplinks", "exclude"): '["mgmt0"]',
        ("uplinks", "allow_borrowed"): "true",
        ("defaults", "multipath_routing"): "true",
        ("defaults", "mpath_tcp_link"): '"backup"',
        ("numbers", "protocol"): "142",
        ("numbers", "mark_base"): "0x20000",
        ("numbers", "mark_mask"): "0x00ff0000",
        ("numbers", "table_base"): "1000",
        ("numbers", "priority_base"): "21000",
        ("numbers", "endpoint_ids"): "[100, 120]",
        ("sources", "order"): '["main"]',
        ("sources", "static"): '{ eth1 = "10.1.0.1" }',
        ("dbus", "connman"): "true",
        ("dbus", "group"): '"uplinks"',
        ("dbus", "address"): '"unix:path=/run/lab/bus"',
        ("sessions", "max_per_user"): "4",
        ("sessions", "max_selectors"): "50",
        ("sessions", "early_rules"): "0",
        ("sessions", "socket_engine"): "false",
        ("sessions", "stats_interval"): "5",
        ("mptcp", "fullmesh"): "true",
        ("mptcp", "signal"): "true",
        ("mptcp", "laminar"): "true",
        ("mptcp", "limits"): "false",
        ("log", "level"): '"debug"',
        ("log", "format"): '"json"',
        ("stop", "keep"): "true",
    }

    assert set(other) == set(BY_PLACE)
    for (section, key), value in other.items():
        assert parse(f"[{section}]\n{key} = {value}\n", "x") != Config(path="x"), f"[{section}] {key}"


def test_each_key_has_a_reason_to_change_it() -> None:
    for block in shipped().split("\n\n"):
        if any(KEY.match(line) for line in block.splitlines()):
            assert "Change it when " in block, block
