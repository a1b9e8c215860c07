"""Every row of the table, read through dbus-next and through tools that do not share a line with it."""

from __future__ import annotations

import asyncio
import os
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from dbus_next import Variant

from bus.client import MANAGER, PROPERTIES, SERVICES, Client, plain, tool
from bus.harness import CABLE, FINDING, REFUSAL, SECOND, TUNNEL, Scene
from mpathd.bus import native, standard
from mpathd.bus.mptcp import MPTCP
from mpathd.bus.native import service_path
from mpathd.bus.table import Interface, Object, Tree
from mpathd.model.settings import SETTINGS

CABLE_PATH = SERVICES + CABLE.id
SERVICE = "net.mpathd.Service"

CABLE_SHOWN = {
    "MultipathRouting": False,
    "MultipathTcpLink": "on",
    "AutoConnect": True,
    "State": "ready",
    "Type": "ethernet",
    "Name": "Wired",
    "Interface": "vethc1",
    "Table": 278,
    "Routed": False,
    "Because": "MultipathRouting is off",
    "Letters": "*A R",
    "Ethernet": {"Method": "auto", "Interface": "vethc1", "Address": "36:E0:BD:EE:60:14", "MTU": 1500},
    "IPv4": [{"Method": "manual", "Address": "10.0.1.2", "PrefixLength": 24, "Gateway": "10.0.1.1"}],
    "IPv6": [{"Method": "auto", "Address": "fd00:1::2", "PrefixLength": 64, "Gateway": "fe80::1"}],
    "Gateways": [
        {"Address": "10.0.1.1", "Source": "main", "Metric": 100},
        {"Address": "10.0.1.254", "Source": "networkd", "Metric": 1024},
        {"Address": "fe80::1", "Source": "main", "Metric": 1024},
    ],
}


def test_every_property_of_a_service(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as client:
            one_by_one = {name: plain(await client.get(CABLE_PATH, SERVICE, name)) for name in CABLE_SHOWN}
            at_once = plain(await client.call(CABLE_PATH, PROPERTIES, "GetAll", "s", SERVICE))
            unnamed = plain(await client.call(CABLE_PATH, PROPERTIES, "GetAll", "s", ""))

        assert one_by_one == CABLE_SHOWN
        assert at_once == CABLE_SHOWN
        assert unnamed == CABLE_SHOWN

    asyncio.run(play())


def test_the_types_are_those_of_the_contract() -> None:
    types = {row.name: row.signature for row in native.SERVICE.properties}

    assert types == {
        "MultipathRouting": "b",
        "MultipathTcpLink": "s",
        "AutoConnect": "b",
        "State": "s",
        "Type": "s",
        "Name": "s",
        "Interface": "s",
        "Table": "u",
        "Routed": "b",
        "Because": "s",
        "Letters": "s",
        "Ethernet": "a{sv}",
        "IPv4": "aa{sv}",
        "IPv6": "aa{sv}",
        "Gateways": "aa{sv}",
    }
    assert {row.name for row in native.SERVICE.properties if row.set} == {row.property for row in SETTINGS}


def test_addresses_by_dhcp_and_links_without_router(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as client:
            second = plain(await client.get(SERVICES + SECOND.id, SERVICE, "IPv4"))
            tunnel = plain(await client.get(SERVICES + TUNNEL.id, SERVICE, "Gateways"))

        assert second == [{"Method": "dhcp", "Address": "10.0.2.2", "PrefixLength": 24, "Gateway": "10.0.2.1"}]
        assert tunnel == [{"Address": "", "Source": "main", "Metric": 0}]

    asyncio.run(play())


def test_services_come_in_their_order(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as client:
            listed = await client.call(MANAGER, "net.mpathd.Manager", "GetServices")
            managed = await client.call(MANAGER, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")

        paths = [SERVICES + service.id for service in (CABLE, SECOND, TUNNEL)]
        assert paths == [path for path, _ in listed]
        assert plain(listed[0][1]) == CABLE_SHOWN
        assert paths == list(managed)
        assert plain(managed[paths[0]]) == {SERVICE: CABLE_SHOWN}

    asyncio.run(play())


def test_status_looks_first_and_tells_all(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as client:
            told = plain(await client.call(MANAGER, "net.mpathd.Manager", "GetStatus"))

        assert told == {
            "Passes": 1,
            "Settled": False,
            "Age": 1.5,
            "Routes": 6,
            "Rules": 8,
            "Refused": [str(REFUSAL)],
            "Version": "0.1.0",
            "Pid": os.getpid(),
            "Config": "/etc/mpathd/mpathd.conf",
            "Extra": {"MPTCP": "not supported by this kernel"},
            "Findings": [
                {
                    "Code": FINDING.code,
                    "Severity": "high",
                    "Text": FINDING.text,
                    "Cure": FINDING.cure,
                }
            ],
        }

    scene.do(scene.agent.show(CABLE, findings=(FINDING,), refused=(REFUSAL,)))
    asyncio.run(play())
    assert scene.agent.refreshed == 1


def test_manager_properties(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as client:
            shown = plain(await client.call(MANAGER, PROPERTIES, "GetAll", "s", "net.mpathd.Manager"))

        assert shown == {
            "Version": "0.1.0",
            "State": "ready",
            "Defaults": {"MultipathRouting": False, "MultipathTcpLink": "on", "AutoConnect": True},
        }

    asyncio.run(play())


def test_settings_by_property_by_configure_and_by_default(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as client:
            await client.set(CABLE_PATH, SERVICE, "MultipathRouting", "b", value=True)
            await client.set(CABLE_PATH, SERVICE, "MultipathTcpLink", "s", "backup")
            await client.set(CABLE_PATH, SERVICE, "AutoConnect", "b", value=False)
            assert await client.get(CABLE_PATH, SERVICE, "Letters") == "* MR"
            assert await client.get(CABLE_PATH, SERVICE, "MultipathTcpLink") == "backup"

            both = {"MultipathTcpLink": _variant("s", "off"), "AutoConnect": _variant("b", value=True)}
            await client.call(CABLE_PATH, SERVICE, "Configure", "a{sv}", both)
            assert await client.get(CABLE_PATH, SERVICE, "Letters") == "*AMR"
            assert await client.get(CABLE_PATH, SERVICE, "MultipathTcpLink") == "off"

            all_of_them = {"MultipathRouting": _variant("b", value=True)}
            await client.call(MANAGER, "net.mpathd.Manager", "SetDefaults", "a{sv}", all_of_them)
            assert await client.get(SERVICES + TUNNEL.id, SERVICE, "MultipathRouting") is True
            defaults = plain(await client.get(MANAGER, "net.mpathd.Manager", "Defaults"))
            assert defaults["MultipathRouting"] is True

            await client.call(MANAGER, "net.mpathd.Manager", "Reload")

    asyncio.run(play())
    assert scene.agent.reloaded == 1
    assert [(dict(edit.values), edit.service) for edit in scene.agent.edits] == [
        ({"multipath_routing": True}, CABLE.id),
        ({"mpath_tcp_link": "backup"}, CABLE.id),
        ({"autoconnect": False}, CABLE.id),
        ({"mpath_tcp_link": "off", "autoconnect": True}, CABLE.id),
        ({"multipath_routing": True}, None),
    ]


def test_peer(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as client:
            for path in ("/", "/net", MANAGER, "/net/mpathd/service", CABLE_PATH, "/nowhere"):
                assert await client.call(path, "org.freedesktop.DBus.Peer", "Ping") == []
            # The interface may be left out; the first that has the method answers.
            services = await client.call(MANAGER, None, "GetServices")
            assert len(services) == 3

    asyncio.run(play())


def test_machine_id(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    monkeypatch.setattr(standard, "MACHINE_IDS", (str(tmp_path / "none"), str(tmp_path / "machine-id")))

    async def play() -> Any:
        async with Client(scene.address) as client:
            return await client.call(MANAGER, "org.freedesktop.DBus.Peer", "GetMachineId")

    assert asyncio.run(play()) == "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("path", "children"),
    [
        ("/", ["net"]),
        ("/net", ["mpathd"]),
        (MANAGER, ["service", "session"]),
        ("/net/mpathd/session", []),
        ("/net/mpathd/service", sorted([CABLE.id, SECOND.id, TUNNEL.id])),
        (CABLE_PATH, []),
    ],
)
def test_introspection_as_dbus_send_sees_it(scene: Scene, path: str, children: list[str]) -> None:
    shown = tool(
        scene,
        *("dbus-send", "--bus=ADDRESS", "--print-reply=literal", "--dest=net.mpathd", path),
        "org.freedesktop.DBus.Introspectable.Introspect",
    )
    root = ET.fromstring(shown[shown.index("<node") :])  # noqa: S314  # our own bus

    assert children == [node.get("name") for node in root.findall("node")]
    wanted = {
        MANAGER: (standard.PROPERTIES, standard.OBJECT_MANAGER, native.MANAGER, MPTCP),
        CABLE_PATH: (standard.PROPERTIES, native.SERVICE),
    }.get(path, ())
    described = {node.get("name"): _described(node) for node in root.findall("interface")}
    table = (standard.PEER, standard.INTROSPECTABLE, *wanted)
    assert described == {interface.name: _rows(interface) for interface in table}


def _described(interface: ET.Element) -> set[tuple[str, ...]]:
    found = set()
    for row in interface:
        types = [f"{arg.get('direction', 'out')} {arg.get('type')}" for arg in row.findall("arg")]
        extra = [row.get("type", ""), row.get("access", "")] if row.tag == "property" else types
        found.add((row.tag, row.get("name", ""), *extra))
    return found


def _rows(interface: Interface) -> set[tuple[str, ...]]:
    found: set[tuple[str, ...]] = set()
    for method in interface.methods:
        takes = [f"in {arg.signature}" for arg in method.takes]
        found.add(("method", method.name, *takes, *(f"out {arg.signature}" for arg in method.gives)))
    for row in interface.properties:
        found.add(("property", row.name, row.signature, "readwrite" if row.set else "read"))
    for signal in interface.signals:
        found.add(("signal", signal.name, *(f"out {arg.signature}" for arg in signal.args)))
    return found


def test_gdbus_reads_the_whole_tree(scene: Scene) -> None:
    shown = tool(
        scene,
        *("gdbus", "introspect", "--address", "ADDRESS", "--dest", "net.mpathd"),
        *("--object-path", "/", "--recurse"),
    )

    assert re.findall(r"node (\S+)", shown) == [
        "/",
        "/net",
        MANAGER,
        "/net/mpathd/service",
        *sorted(SERVICES + service.id for service in (CABLE, SECOND, TUNNEL)),
        "/net/mpathd/session",
    ]
    assert "readwrite b MultipathRouting = false;" in shown
    assert "readonly s Letters = '*A R';" in shown
    assert "'MTU': <uint16 1500>" in shown


def test_busctl_reads_and_writes(scene: Scene) -> None:
    at = ("busctl", "--address=ADDRESS")
    here = ("net.mpathd", CABLE_PATH, SERVICE)

    assert tool(scene, *at, "set-property", *here, "MultipathTcpLink", "s", "backup") == ""
    assert tool(scene, *at, "get-property", *here, "MultipathTcpLink") == 's "backup"\n'
    assert "cannot be 'maybe'" in tool(scene, *at, "set-property", *here, "MultipathTcpLink", "s", "maybe")


def test_a_path_for_every_identifier() -> None:
    assert service_path("ethernet_36e0bdee6014_cable") == "/net/mpathd/service/ethernet_36e0bdee6014_cable"
    assert service_path("vpn_tun0.7-é") == "/net/mpathd/service/vpn_tun0_2e7_2d_e9"


def test_children_of_every_node() -> None:
    tree = Tree({path: Object(path, None, ()) for path in ("/a/b/d", "/a/b", "/a/c")}, ("/a/e",))

    assert tree.children == {
        "/": ("a",),
        "/a": ("b", "c", "e"),
        "/a/b": ("d",),
        "/a/b/d": (),
        "/a/c": (),
        "/a/e": (),
    }


def _variant(types: str, value: Any) -> Any:
    return Variant(types, value)
