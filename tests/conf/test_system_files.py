"""The unit, the networkd drop-in and the protocol's name."""

from __future__ import annotations

import re
from pathlib import Path

from mpathd.app import parser
from mpathd.model.numbers import Numbers

CONF = Path(__file__).resolve().parents[2] / "conf"


def unit() -> dict[str, list[str]]:
    """The unit's settings: "Section.Key" to values, in order."""
    out: dict[str, list[str]] = {}
    section = ""
    for line in (CONF / "mpathd.service").read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, value = line.split("=", 1)
            out.setdefault(f"{section}.{key}", []).append(value)
    return out


def test_a_restart_leaves_no_gap() -> None:
    found = unit()

    assert found["Service.ExecStart"] == ["/usr/local/sbin/mpathd --keep"]
    assert "--keep" in parser().format_help()
    assert found["Service.Restart"] == ["always"]
    assert found["Service.RuntimeDirectoryPreserve"] == ["yes"]


def test_it_starts_before_anybody_configures_a_network() -> None:
    found = unit()

    assert {"network-pre.target", "network.target"} <= set(found["Unit.Before"][0].split())
    assert found["Unit.Wants"] == ["network-pre.target"]
    assert found["Unit.DefaultDependencies"] == ["no"], "basic.target is behind the network where cloud-init is"
    assert "shutdown.target" in found["Unit.Before"][0].split()
    assert found["Unit.Conflicts"] == ["shutdown.target"]
    after = set(found["Unit.After"][0].split())
    assert "systemd-sysctl.service" in after
    assert not after & {"network.target", "basic.target", "sysinit.target", "dbus.service", "dbus.socket"}


def test_it_may_do_its_work() -> None:
    found = unit()

    assert found["Service.Type"] == ["notify"]
    assert {"CAP_NET_ADMIN", "CAP_BPF", "CAP_SYS_ADMIN"} <= set(found["Service.CapabilityBoundingSet"][0].split())
    assert {"AF_UNIX", "AF_NETLINK"} <= set(found["Service.RestrictAddressFamilies"][0].split())
    for key in ("ProtectControlGroups", "ProtectKernelTunables"):
        assert f"Service.{key}" not in found, "cgroups and sysctls are part of the work"
    assert found["Service.StateDirectory"] == ["mpathd"]
    assert found["Service.RuntimeDirectory"] == ["mpathd"]


def test_a_reload_is_a_hangup() -> None:
    assert unit()["Service.ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def test_networkd_is_told_to_leave_rules_and_routes_alone() -> None:
    lines = (CONF / "10-mpathd-networkd.conf").read_text().splitlines()

    assert [line for line in lines if line and not line.startswith("#")] == [
        "[Network]",
        "ManageForeignRoutingPolicyRules=no",
        "ManageForeignRoutes=no",
    ]


def test_the_protocol_has_a_name() -> None:
    text = (CONF / "rt_protos.d-mpathd.conf").read_text()

    assert re.findall(r"^(?!#)(.+)$", text, re.MULTILINE) == [f"{Numbers().protocol}\tmpathd"]
