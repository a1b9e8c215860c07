"""Every bad input has a named error, and a text that says what, what was given, and what to do."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dbus_next import Variant
from structlog.testing import capture_logs

from bus.client import MANAGER, PROPERTIES, SERVICES, Client, Refused
from bus.harness import CABLE, SECOND, TUNNEL, Scene
from mpathd.bus import standard
from mpathd.model.errors import ConfigError, NotApplied
from mpathd.model.view import Service

AT = SERVICES + CABLE.id
OURS = "net.mpathd.Error."
THEIRS = "org.freedesktop.DBus.Error."
SERVICE = "net.mpathd.Service"
FACE = "net.mpathd.Manager"
ALL_SETTINGS = "MultipathRouting, MultipathTcpLink, AutoConnect"
ALL_SERVICES = ", ".join(sorted((CABLE.id, SECOND.id, TUNNEL.id)))

BAD: dict[str, tuple[tuple[Any, ...], str, str]] = {
    "unknown method": (
        (MANAGER, FACE, "GetService"),
        THEIRS + "UnknownMethod",
        (
            "no method called 'GetService' in net.mpathd.Manager\n  methods: GetServices, CreateSession, "
            "CreateNamedSession, DestroySession, GetSessions, GetStatus, SetDefaults, MoveBefore and 2 more"
        ),
    ),
    "unknown method without interface": (
        (AT, None, "Destroy"),
        THEIRS + "UnknownMethod",
        f"no method called 'Destroy' in {AT}\n  methods: Ping, GetMachineId, Introspect, Get, GetAll, Set, Configure",
    ),
    "unknown interface": (
        (AT, "net.mpathd.Servant", "Configure"),
        THEIRS + "UnknownInterface",
        (
            f"{AT} has no interface 'net.mpathd.Servant'\n"
            "  interfaces here: org.freedesktop.DBus.Peer, org.freedesktop.DBus.Introspectable, "
            "org.freedesktop.DBus.Properties, net.mpathd.Service"
        ),
    ),
    "object manager elsewhere": (
        (AT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"),
        THEIRS + "UnknownInterface",
        (
            f"{AT} has no interface 'org.freedesktop.DBus.ObjectManager'\n"
            "  interfaces here: org.freedesktop.DBus.Peer, org.freedesktop.DBus.Introspectable, "
            "org.freedesktop.DBus.Properties, net.mpathd.Service"
        ),
    ),
    "folder without properties": (
        ("/net", PROPERTIES, "GetAll", "s", ""),
        THEIRS + "UnknownInterface",
        (
            "/net has no interface 'org.freedesktop.DBus.Properties'\n"
            "  interfaces here: org.freedesktop.DBus.Peer, org.freedesktop.DBus.Introspectable"
        ),
    ),
    "unknown object": (
        (SERVICES + "eth7", PROPERTIES, "Get", "ss", SERVICE, "State"),
        THEIRS + "UnknownObject",
        f"no object at /net/mpathd/service/eth7\n  objects below /net/mpathd/service: {ALL_SERVICES}",
    ),
    "unknown object, far away": (
        ("/org/example/x", "org.freedesktop.DBus.Introspectable", "Introspect"),
        THEIRS + "UnknownObject",
        "no object at /org/example/x\n  objects below /: net",
    ),
    "wrong arguments": (
        (MANAGER, FACE, "GetStatus", "s", "all"),
        OURS + "InvalidArguments",
        "method GetStatus takes nothing, given was s\n  arguments: none",
    ),
    "missing arguments": (
        (AT, PROPERTIES, "Set", "ss", SERVICE, "AutoConnect"),
        OURS + "InvalidArguments",
        "method Set takes ssv, given was ss\n  arguments: interface_name (s), property_name (s), value (v)",
    ),
    "unknown property": (
        (AT, PROPERTIES, "Get", "ss", SERVICE, "Multipath"),
        OURS + "InvalidProperty",
        (
            f"no property called 'Multipath' in net.mpathd.Service\n  properties: {ALL_SETTINGS}, "
            "State, Type, Name, Interface, Table and 7 more"
        ),
    ),
    "unknown property to set": (
        (AT, PROPERTIES, "Set", "ssv", SERVICE, "x" * 100, Variant("b", value=True)),
        OURS + "InvalidProperty",
        (
            f"no property called '{'x' * 59}... in net.mpathd.Service\n  properties: {ALL_SETTINGS}, "
            "State, Type, Name, Interface, Table and 7 more"
        ),
    ),
    "property of an unknown interface": (
        (AT, PROPERTIES, "Get", "ss", "net.mpathd.Servant", "State"),
        THEIRS + "UnknownInterface",
        (
            f"{AT} has no interface 'net.mpathd.Servant'\n"
            "  interfaces here: org.freedesktop.DBus.Peer, org.freedesktop.DBus.Introspectable, "
            "org.freedesktop.DBus.Properties, net.mpathd.Service"
        ),
    ),
    "read-only property": (
        (AT, PROPERTIES, "Set", "ssv", SERVICE, "State", Variant("s", "online")),
        OURS + "InvalidProperty",
        "property State cannot be set\n  it tells what is, and changes by itself",
    ),
    "defaults have a method": (
        (MANAGER, PROPERTIES, "Set", "ssv", FACE, "Defaults", Variant("a{sv}", {})),
        OURS + "InvalidProperty",
        "property Defaults cannot be set\n  call SetDefaults; it also forgets what single services have stored",
    ),
    "string instead of boolean": (
        (AT, PROPERTIES, "Set", "ssv", SERVICE, "MultipathRouting", Variant("s", "yes")),
        OURS + "InvalidArguments",
        "property MultipathRouting has type b, given was type s: 'yes'\n  send a variant of type b",
    ),
    "boolean instead of string": (
        (AT, PROPERTIES, "Set", "ssv", SERVICE, "MultipathTcpLink", Variant("b", value=True)),
        OURS + "InvalidArguments",
        "property MultipathTcpLink has type s, given was type b: True\n  send a variant of type s",
    ),
    "none of the choices": (
        (AT, PROPERTIES, "Set", "ssv", SERVICE, "MultipathTcpLink", Variant("s", "maybe")),
        OURS + "InvalidArguments",
        "MultipathTcpLink cannot be 'maybe'\n  it can be: on, backup, off",
    ),
    "configure nothing": (
        (AT, SERVICE, "Configure", "a{sv}", {}),
        OURS + "InvalidArguments",
        f"no settings given\n  settings: {ALL_SETTINGS}",
    ),
    "configure an unknown setting": (
        (AT, SERVICE, "Configure", "a{sv}", {"State": Variant("s", "online")}),
        OURS + "InvalidProperty",
        f"no setting called 'State'\n  settings: {ALL_SETTINGS}",
    ),
    "configure with a wrong type": (
        (MANAGER, FACE, "SetDefaults", "a{sv}", {"AutoConnect": Variant("u", 1)}),
        OURS + "InvalidArguments",
        "AutoConnect is a boolean (b), given was type u: 1\n  send a variant of type b",
    ),
    "configure all or nothing": (
        (
            *(AT, SERVICE, "Configure", "a{sv}"),
            {"AutoConnect": Variant("b", value=False), "MultipathTcpLink": Variant("s", "")},
        ),
        OURS + "InvalidArguments",
        "MultipathTcpLink cannot be ''\n  it can be: on, backup, off",
    ),
}


@pytest.fixture(scope="module")
def quiet() -> Any:
    """One scene for all inputs that change nothing."""
    with Scene() as running:
        yield running


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
def test_bad_input(quiet: Scene, case: tuple[tuple[Any, ...], str, str]) -> None:
    call, name, text = case

    async def play() -> Refused:
        async with Client(quiet.address) as client:
            with pytest.raises(Refused) as caught:
                await client.call(*call)
            return caught.value

    refused = asyncio.run(play())
    assert (refused.name, refused.text) == (name, text)
    assert quiet.agent.edits == []


@pytest.mark.parametrize(
    ("failure", "name", "text"),
    [
        (
            NotApplied("saved, but the kernel refused 1 of 3 steps", "ip -4 rule add ..."),
            OURS + "NotApplied",
            "saved, but the kernel refused 1 of 3 steps\n  ip -4 rule add ...",
        ),
        (ConfigError("mpathd.conf:3: no"), OURS + "InvalidArguments", "mpathd.conf:3: no"),
        (
            RuntimeError("secret"),
            OURS + "Failed",
            "mpathd failed while answering Set\n  its log has the details",
        ),
    ],
)
def test_what_the_agent_says(scene: Scene, failure: Exception, name: str, text: str) -> None:
    async def play() -> Refused:
        async with Client(scene.address) as client:
            with pytest.raises(Refused) as caught:
                await client.set(AT, SERVICE, "AutoConnect", "b", value=False)
            return caught.value

    scene.agent.failure = failure
    with capture_logs() as logs:
        refused = asyncio.run(play())

    assert (refused.name, refused.text) == (name, text)
    assert [entry["event"] for entry in logs] == ["bus.call_failed"] * (name == OURS + "Failed")


def test_a_value_of_the_wrong_type_is_our_fault(scene: Scene) -> None:
    async def play() -> Refused:
        async with Client(scene.address) as client:
            with pytest.raises(Refused) as caught:
                await client.get(AT, SERVICE, "Table")
            with pytest.raises(Refused):
                await client.call(MANAGER, FACE, "GetServices")
            assert await client.get(AT, SERVICE, "State") == "ready"
            return caught.value

    scene.do(scene.agent.show(replace(CABLE, table=-1)))
    with capture_logs() as logs:
        refused = asyncio.run(play())
    assert refused.name == OURS + "Failed"
    assert "Traceback" not in refused.text
    assert {entry["event"] for entry in logs} >= {"bus.call_failed"}


def test_a_service_that_has_just_gone(scene: Scene) -> None:
    async def play() -> Refused:
        async with Client(scene.address) as client:
            with pytest.raises(Refused) as caught:
                await client.set(SERVICES + TUNNEL.id, SERVICE, "AutoConnect", "b", value=False)
            return caught.value

    scene.do(scene.agent.show(CABLE))
    assert asyncio.run(play()).name == THEIRS + "UnknownObject"


def test_no_machine_id(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standard, "MACHINE_IDS", (str(tmp_path / "none"),))

    async def play() -> Refused:
        async with Client(scene.address) as client:
            with pytest.raises(Refused) as caught:
                await client.call(MANAGER, "org.freedesktop.DBus.Peer", "GetMachineId")
            return caught.value

    refused = asyncio.run(play())
    assert refused.name == OURS + "NotSupported"
    assert refused.text.endswith("make one with: systemd-machine-id-setup")


def test_a_thousand_services_do_not_hide_the_message() -> None:
    many = [TUNNEL] + [_copy(number) for number in range(999)]

    async def play(address: str) -> Refused:
        async with Client(address) as client:
            with pytest.raises(Refused) as caught:
                await client.call(SERVICES + "eth7", PROPERTIES, "GetAll", "s", "")
            return caught.value

    with Scene(*many) as scene:
        text = asyncio.run(play(scene.address)).text

    assert text.endswith(" and 992 more")
    assert len(text) < 400


def _copy(number: int) -> Service:
    return replace(CABLE, id=f"ethernet_{number:012x}_cable")
