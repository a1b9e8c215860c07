"""ConnMan's face: its signatures, paths and signals, services and their settings; sessions are in another file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from dbus_next import Message, Variant

from bus.client import Client, Refused, described, plain, tool
from bus.harness import CABLE, SECOND, TUNNEL, FakeAgent, PrivateBus, Scene
from mpathd.bus.connman.errors import NAMES, error
from mpathd.bus.connman.face import connman_face
from mpathd.model.agent import Edit
from mpathd.model.errors import NotApplied
from mpathd.model.words import ServiceState, Technology

NAME = "net.connman"
MANAGER, SERVICE, TECHNOLOGY = f"{NAME}.Manager", f"{NAME}.Service", f"{NAME}.Technology"
FOLDER = "/net/connman/service/"
ETHERNET = "/net/connman/technology/ethernet"
AT, SECOND_AT, TUNNEL_AT = FOLDER + CABLE.id, FOLDER + SECOND.id, FOLDER + TUNNEL.id
NOBODY = 65534

# From ConnMan's own tables of methods and signals (gdbus), name to types taken and given.
THEIRS = {
    "/": {
        MANAGER: (
            {
                "GetProperties": ("", "a{sv}"),
                "SetProperty": ("sv", ""),
                "GetTechnologies": ("", "a(oa{sv})"),
                "GetServices": ("", "a(oa{sv})"),
                "GetPeers": ("", "a(oa{sv})"),
                "GetTetheringClients": ("", "as"),
                "RegisterAgent": ("o", ""),
                "UnregisterAgent": ("o", ""),
                "RegisterCounter": ("ouu", ""),
                "UnregisterCounter": ("o", ""),
                "CreateSession": ("a{sv}o", "o"),
                "DestroySession": ("o", ""),
                "RequestPrivateNetwork": ("", "oa{sv}h"),
                "ReleasePrivateNetwork": ("o", ""),
                "RegisterPeerService": ("a{sv}b", ""),
                "UnregisterPeerService": ("a{sv}", ""),
                "ConnectProvider": ("a{sv}", "o"),
                "RemoveProvider": ("o", ""),
            },
            {
                "PropertyChanged": "sv",
                "TechnologyAdded": "oa{sv}",
                "TechnologyRemoved": "o",
                "ServicesChanged": "a(oa{sv})ao",
                "PeersChanged": "a(oa{sv})ao",
                "TetheringClientsChanged": "asas",
            },
        ),
        f"{NAME}.Clock": (
            {"GetProperties": ("", "a{sv}"), "SetProperty": ("sv", "")},
            {"PropertyChanged": "sv"},
        ),
    },
    AT: {
        SERVICE: (
            {
                "GetProperties": ("", "a{sv}"),
                "SetProperty": ("sv", ""),
                "ClearProperty": ("s", ""),
                "Connect": ("", ""),
                "Disconnect": ("", ""),
                "Remove": ("", ""),
                "MoveBefore": ("o", ""),
                "MoveAfter": ("o", ""),
                "ResetCounters": ("", ""),
            },
            {"PropertyChanged": "sv"},
        )
    },
    ETHERNET: {
        TECHNOLOGY: (
            {"GetProperties": ("", "a{sv}"), "SetProperty": ("sv", ""), "Scan": ("", "")},
            {"PropertyChanged": "sv"},
        )
    },
    "/sessions/ME/app": {
        f"{NAME}.Session": (
            {"Destroy": ("", ""), "Connect": ("", ""), "Disconnect": ("", ""), "Change": ("sv", "")},
            {},
        )
    },
}

SHOWN = {
    "Type": "ethernet",
    "Security": [],
    "State": "ready",
    "Favorite": True,
    "Immutable": True,
    "MultipathRouting": False,
    "MultipathTcpLink": "on",
    "AutoConnect": True,
    "Name": "Wired",
    "Ethernet": {"Method": "auto", "Interface": "vethc1", "Address": "36:E0:BD:EE:60:14", "MTU": 1500},
    "IPv4": {"Method": "manual", "Address": "10.0.1.2", "Netmask": "255.255.255.0", "Gateway": "10.0.1.1"},
    "IPv4.Configuration": {
        "Method": "manual",
        "Address": "10.0.1.2",
        "Netmask": "255.255.255.0",
        "Gateway": "10.0.1.1",
    },
    "IPv6": {
        "Method": "auto",
        "Address": "fd00:1::2",
        "PrefixLength": 64,
        "Gateway": "fe80::1",
        "Privacy": "disabled",
    },
    "IPv6.Configuration": {"Method": "auto"},
    "Nameservers": [],
    "Nameservers.Configuration": [],
    "Timeservers": [],
    "Timeservers.Configuration": [],
    "Domains": [],
    "Domains.Configuration": [],
    "Proxy": {},
    "Proxy.Configuration": {},
    "mDNS": False,
    "mDNS.Configuration": False,
    "Provider": {},
}


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A scene with ConnMan's face."""
    with Scene(connman=True) as running:
        yield running


def play(scene: Scene, work: Callable[[Client], Awaitable[None]]) -> None:
    """Run a play of one client of ConnMan's.

    Args:
        scene: where.
        work: what it does.
    """

    async def run() -> None:
        async with Client(scene.address, NAME, NAME) as client:
            await work(client)

    asyncio.run(run())


async def shown(scene: Scene, *services: Any) -> None:
    """Have other services, from within a play."""
    await asyncio.to_thread(scene.do, scene.agent.show(*services))


def test_the_signatures_are_connmans(scene: Scene) -> None:
    async def work(client: Client) -> None:
        await client.call("/", MANAGER, "CreateSession", "a{sv}o", {}, "/app")
        me = str(client.bus.unique_name).replace(":", "_").replace(".", "_")
        for path, wanted in THEIRS.items():
            at = path.replace("ME", me)
            text = await client.call(at, "org.freedesktop.DBus.Introspectable", "Introspect")
            assert described(text) == wanted
            assert "<property" not in text, "ConnMan's objects have no properties in the standard's sense"
            assert ("org.freedesktop.DBus.ObjectManager" in text) == (path == "/")

    play(scene, work)


def test_every_property_of_a_service(scene: Scene) -> None:
    async def work(client: Client) -> None:
        assert plain(await client.call(AT, SERVICE, "GetProperties")) == SHOWN
        listed = plain(await client.call("/", MANAGER, "GetServices"))
        assert [path for path, _ in listed] == [AT, SECOND_AT, TUNNEL_AT]
        assert listed[0][1] == SHOWN
        assert listed[1][1]["IPv4"]["Method"] == "dhcp"
        assert listed[1][1]["IPv4.Configuration"] == {"Method": "dhcp"}
        assert listed[1][1]["IPv6"] == {}
        tunnel = listed[2][1]
        assert (tunnel["Type"], tunnel["State"], tunnel["IPv4.Configuration"]) == ("vpn", "idle", {"Method": "off"})
        types = {name: value.signature for name, value in (await client.call(AT, SERVICE, "GetProperties")).items()}
        assert (types["Ethernet"], types["Security"], types["Favorite"], types["State"]) == ("a{sv}", "as", "b", "s")
        raw = (await client.call(AT, SERVICE, "GetProperties"))["IPv6"].value
        assert raw["PrefixLength"].signature == "y"

    play(scene, work)


def test_the_manager_the_technologies_and_the_clock(scene: Scene) -> None:
    async def work(client: Client) -> None:
        properties = plain(await client.call("/", MANAGER, "GetProperties"))
        assert properties == {"State": "ready", "OfflineMode": False, "SessionMode": False}
        ethernet = {"Name": "Wired", "Type": "ethernet", "Powered": True, "Connected": True, "Tethering": False}
        assert plain(await client.call("/", MANAGER, "GetTechnologies")) == [[ETHERNET, ethernet]]
        assert plain(await client.call(ETHERNET, TECHNOLOGY, "GetProperties")) == ethernet
        assert await client.call("/", MANAGER, "GetPeers") == []
        assert await client.call("/", MANAGER, "GetTetheringClients") == []
        clock = await client.call("/", f"{NAME}.Clock", "GetProperties")
        types = {name: value.signature for name, value in clock.items()}
        assert types == {
            "Time": "t",
            "TimeUpdates": "s",
            "Timezone": "s",
            "TimezoneUpdates": "s",
            "Timeservers": "as",
            "TimeserverSynced": "b",
        }
        assert clock["Time"].value > 1_600_000_000
        objects = plain(await client.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"))
        assert objects == {
            ETHERNET: {TECHNOLOGY: {}},
            **{path: {SERVICE: {}} for path in (AT, SECOND_AT, TUNNEL_AT)},
        }

    play(scene, work)


NOT_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "powered": (ETHERNET, TECHNOLOGY, "SetProperty", "sv", "Powered", Variant("b", value=False)),
    "tethering": (ETHERNET, TECHNOLOGY, "SetProperty", "sv", "Tethering", Variant("b", value=True)),
    "tethering's name": (ETHERNET, TECHNOLOGY, "SetProperty", "sv", "TetheringIdentifier", Variant("s", "x")),
    "scan": (ETHERNET, TECHNOLOGY, "Scan"),
    "offline": ("/", MANAGER, "SetProperty", "sv", "OfflineMode", Variant("b", value=True)),
    "private network": ("/", MANAGER, "RequestPrivateNetwork"),
    "vpn": ("/", MANAGER, "ConnectProvider", "a{sv}", {}),
    "peer service": ("/", MANAGER, "RegisterPeerService", "a{sv}b", {}, True),
    "clock": ("/", f"{NAME}.Clock", "SetProperty", "sv", "Time", Variant("t", 1)),
    "remove": (AT, SERVICE, "Remove"),
    "counters": (AT, SERVICE, "ResetCounters"),
    **{
        name: (AT, SERVICE, "SetProperty", "sv", f"{name}.Configuration", Variant(types, value))
        for name, types, value in (
            ("IPv4", "a{sv}", {"Method": Variant("s", "dhcp")}),
            ("IPv6", "a{sv}", {"Method": Variant("s", "off")}),
            ("Nameservers", "as", ["192.0.2.1"]),
            ("Timeservers", "as", ["192.0.2.1"]),
            ("Domains", "as", ["example.org"]),
            ("Proxy", "a{sv}", {"Method": Variant("s", "direct")}),
            ("mDNS", "b", True),
        )
    },
}


@pytest.mark.parametrize("call", NOT_SUPPORTED.values(), ids=NOT_SUPPORTED)
def test_what_mpathd_does_not_do(scene: Scene, call: tuple[Any, ...]) -> None:
    async def work(client: Client) -> None:
        with pytest.raises(Refused, match=r"^net\.connman\.Error\.NotSupported: Not supported: .+\n  .+") as caught:
            await client.call(*call)
        assert caught.value.name == "net.connman.Error.NotSupported"

    play(scene, work)
    assert (scene.agent.edits, scene.agent.asked) == ([], [])


def test_what_clients_set_without_effect(scene: Scene) -> None:
    async def work(client: Client) -> None:
        await client.call("/", MANAGER, "SetProperty", "sv", "SessionMode", Variant("b", value=True))
        await client.call("/", MANAGER, "SetProperty", "sv", "OfflineMode", Variant("b", value=False))
        await client.call("/", MANAGER, "RegisterAgent", "o", "/agent")
        await client.call("/", MANAGER, "UnregisterAgent", "o", "/agent")
        await client.call(AT, SERVICE, "ClearProperty", "s", "Error")

    play(scene, work)


BAD: dict[str, tuple[tuple[Any, ...], str, str]] = {
    "a property that there is not": (
        (AT, SERVICE, "SetProperty", "sv", "Favourite", Variant("b", value=True)),
        "InvalidProperty",
        "no property called 'Favourite'\n  those that can be set: MultipathRouting, ",
    ),
    "one that cannot be set": (
        (AT, SERVICE, "SetProperty", "sv", "State", Variant("s", "online")),
        "InvalidProperty",
        "property State cannot be set",
    ),
    "one that cannot be cleared": ((AT, SERVICE, "ClearProperty", "s", "State"), "InvalidProperty", "'State'"),
    "another type": (
        (AT, SERVICE, "SetProperty", "sv", "AutoConnect", Variant("s", "yes")),
        "InvalidArguments",
        "property AutoConnect has type b, given was type s: 'yes'",
    ),
    "another value": (
        (AT, SERVICE, "SetProperty", "sv", "MultipathTcpLink", Variant("s", "maybe")),
        "InvalidArguments",
        "MultipathTcpLink cannot be 'maybe'\n  it can be: on, backup, off",
    ),
    "other arguments": ((AT, SERVICE, "MoveBefore", "s", "x"), "InvalidArguments", "takes o, given was s"),
    "before nobody": ((AT, SERVICE, "MoveBefore", "o", FOLDER + "x"), "InvalidService", f"\n  others: {SECOND_AT}, "),
    "before itself": ((AT, SERVICE, "MoveBefore", "o", AT), "InvalidService", "cannot stand before itself"),
    "behind itself": ((AT, SERVICE, "MoveAfter", "o", AT), "InvalidService", "cannot stand after itself"),
    "no session": (
        ("/", MANAGER, "DestroySession", "o", "/sessions/x"),
        "InvalidArguments",
        "no session at '/sessions/x'\n  sessions: none",
    ),
}


@pytest.mark.parametrize(("call", "name", "text"), BAD.values(), ids=BAD)
def test_bad_input(scene: Scene, call: tuple[Any, ...], name: str, text: str) -> None:
    async def work(client: Client) -> None:
        with pytest.raises(Refused) as caught:
            await client.call(*call)
        assert caught.value.name == f"net.connman.Error.{name}"
        assert text in caught.value.text

    play(scene, work)
    assert (scene.agent.edits, scene.agent.asked) == ([], [])


def test_errors_have_connmans_names_and_no_others() -> None:
    assert error("NotFound") == "net.connman.Error.NotFound"
    assert error("LimitsExceeded") == error("NotApplied") == "net.connman.Error.Failed"
    assert {"InvalidArguments", "InvalidProperty", "NotSupported", "AlreadyExists", "PermissionDenied"} <= NAMES


def test_what_the_kernel_refuses_is_failed(scene: Scene) -> None:
    scene.agent.failure = NotApplied("saved, but the kernel refused 1 of 2 steps")

    async def work(client: Client) -> None:
        with pytest.raises(Refused, match=r"^net\.connman\.Error\.Failed: saved, but the kernel refused 1 of 2"):
            await client.call(AT, SERVICE, "SetProperty", "sv", "AutoConnect", Variant("b", value=False))

    play(scene, work)


def test_settings_are_saved_and_connecting_is_not(scene: Scene) -> None:
    async def work(client: Client) -> None:
        await client.call(AT, SERVICE, "SetProperty", "sv", "MultipathRouting", Variant("b", value=True))
        await client.call(AT, SERVICE, "SetProperty", "sv", "MultipathTcpLink", Variant("s", "backup"))
        await client.call(AT, SERVICE, "SetProperty", "sv", "AutoConnect", Variant("b", value=True))
        with pytest.raises(Refused, match=r"^net\.connman\.Error\.AlreadyConnected: Already connected"):
            await client.call(AT, SERVICE, "Connect")
        await client.call(AT, SERVICE, "Disconnect")
        assert not plain(await client.call(AT, SERVICE, "GetProperties"))["AutoConnect"]
        with pytest.raises(Refused, match=r"^net\.connman\.Error\.NotConnected: Not connected"):
            await client.call(AT, SERVICE, "Disconnect")
        await client.call(AT, SERVICE, "Connect")

    play(scene, work)
    saved: list[dict[str, bool | str]] = [
        {"multipath_routing": True},
        {"mpath_tcp_link": "backup"},
        {"autoconnect": True},
    ]
    assert scene.agent.edits == [
        *(Edit(values, CABLE.id) for values in saved),
        Edit({"autoconnect": False}, CABLE.id, lasting=False),
        Edit({"autoconnect": True}, CABLE.id, lasting=False),
    ]


@pytest.mark.parametrize(
    ("state", "name"), [(ServiceState.IDLE, "NoCarrier"), (ServiceState.CONFIGURATION, "InProgress")]
)
def test_connecting_what_is_not_there_yet(scene: Scene, state: ServiceState, name: str) -> None:
    off = replace(CABLE.settings, autoconnect=False)
    scene.do(scene.agent.show(replace(CABLE, state=state, settings=off)))

    async def work(client: Client) -> None:
        with pytest.raises(Refused, match=rf"^net\.connman\.Error\.{name}: [\s\S]+\n  sessions use it as soon as"):
            await client.call(AT, SERVICE, "Connect")
        assert plain(await client.call(AT, SERVICE, "GetProperties"))["AutoConnect"]

    play(scene, work)


def test_a_move(scene: Scene) -> None:
    async def work(client: Client) -> None:
        await client.call(TUNNEL_AT, SERVICE, "MoveBefore", "o", SECOND_AT)
        await client.call(AT, SERVICE, "MoveAfter", "o", SECOND_AT)
        news = await client.heard(lambda heard: members(heard, "ServicesChanged")[1:] and heard)
        first, second = members(news, "ServicesChanged")
        assert first.body == [[[AT, {}], [TUNNEL_AT, {}], [SECOND_AT, {}]], []]
        assert second.body == [[[TUNNEL_AT, {}], [SECOND_AT, {}], [AT, {}]], []]
        assert not members(news, "PropertyChanged")

    play(scene, work)
    assert scene.agent.asked == [("move before", TUNNEL.id, SECOND.id), ("move after", CABLE.id, SECOND.id)]


def members(signals: list[Message], *names: str) -> list[Message]:
    """The signals of some names."""
    return [one for one in signals if one.member in names]


def test_what_is_told_of_changes(scene: Scene) -> None:
    wifi = replace(SECOND, id="wifi_x", technology=Technology.WIFI, name="WiFi", state=ServiceState.ONLINE, mac="")

    async def work(client: Client) -> None:
        idle = replace(CABLE, state=ServiceState.IDLE, gateways=())
        await shown(scene, wifi, idle, TUNNEL)
        news = await client.heard(lambda heard: members(heard, "TechnologyAdded") and heard)
        (came,) = members(news, "TechnologyAdded")
        assert plain(came.body) == [
            "/net/connman/technology/wifi",
            {"Name": "WiFi", "Type": "wifi", "Powered": True, "Connected": True, "Tethering": False},
        ]
        (changed,) = members(news, "ServicesChanged")
        listed, removed = plain(changed.body)
        assert [path for path, _ in listed] == [FOLDER + "wifi_x", AT, TUNNEL_AT]
        assert (listed[0][1]["State"], listed[1][1], listed[2][1], removed) == ("online", {}, {}, [SECOND_AT])
        wanted = {
            ("/", MANAGER, "State", "online"),
            (ETHERNET, TECHNOLOGY, "Connected", False),
            (AT, SERVICE, "State", "idle"),
        }
        news = await client.heard(lambda heard: wanted <= facts(heard) and heard)
        assert {fact[:3] for fact in facts(news)} - {fact[:3] for fact in wanted} == {
            (AT, SERVICE, name) for name in ("IPv4", "IPv4.Configuration", "IPv6")
        }, "the gateway is gone, and nothing else has changed"
        assert {one.path for one in members(news, "InterfacesRemoved", "InterfacesAdded")} == {"/"}

        client.signals.clear()
        await shown(scene, wifi)
        news = await client.heard(lambda heard: members(heard, "TechnologyRemoved") and heard)
        assert members(news, "TechnologyRemoved")[0].body == [ETHERNET]
        assert members(news, "ServicesChanged")[0].body == [[[FOLDER + "wifi_x", {}]], [AT, TUNNEL_AT]]
        assert facts(news) == set()

    play(scene, work)


def facts(signals: list[Message]) -> set[tuple[str, str, str, Any]]:
    """What PropertyChanged has told: path, interface, property, value."""
    return {
        (one.path, one.interface, one.body[0], str(value) if isinstance(value := plain(one.body[1]), dict) else value)
        for one in members(signals, "PropertyChanged")
    }


def test_nothing_is_told_without_a_change(scene: Scene) -> None:
    async def work(client: Client) -> None:
        await shown(scene, CABLE, SECOND, TUNNEL)
        await shown(scene, CABLE, SECOND, replace(TUNNEL, state=ServiceState.READY))
        await client.heard(len)
        assert facts(client.signals) == {(TUNNEL_AT, SERVICE, "State", "ready")}
        assert len(client.signals) == 1

    play(scene, work)


@pytest.mark.kernel
def test_anyone_reads_and_root_changes(scene: Scene) -> None:
    call = ("busctl", "--address=ADDRESS", "call", NAME)
    for path, interface, method in (("/", MANAGER, "GetServices"), (AT, SERVICE, "GetProperties")):
        assert tool(scene, *call, path, interface, method, uid=NOBODY).startswith("a")
    for words in (
        (AT, SERVICE, "SetProperty", "sv", "AutoConnect", "b", "false"),
        (AT, SERVICE, "Disconnect"),
        (AT, SERVICE, "Connect"),
        (AT, SERVICE, "MoveBefore", "o", SECOND_AT),
    ):
        said = tool(scene, *call, *words, uid=NOBODY)
        assert "may change settings; the caller is user" in said
    assert (scene.agent.edits, scene.agent.asked) == ([], [])
    assert tool(scene, *call, AT, SERVICE, "Disconnect") == ""


@pytest.mark.kernel
def test_only_root_may_be_connman(scene: Scene) -> None:
    said = tool(
        scene,
        *("dbus-send", "--bus=ADDRESS", "--print-reply", "--dest=org.freedesktop.DBus", "/"),
        *("org.freedesktop.DBus.RequestName", "string:net.connman", "uint32:2"),
        uid=NOBODY,
    )
    assert said.startswith("Error org.freedesktop.DBus.Error.AccessDenied")


def test_while_connman_runs_mpathd_waits_for_the_name() -> None:
    async def play() -> None:
        bus = PrivateBus()
        bus.start()
        try:
            async with Client(bus.address) as real:
                await real.bus.request_name(NAME)
                face = connman_face(FakeAgent(), bus.address)
                async with asyncio.TaskGroup() as group:
                    group.create_task(face.serve())
                    await face.tried()
                    assert f"net.connman is owned by process {os.getpid()}" in face.trouble
                    await real.bus.release_name(NAME)
                    async with asyncio.timeout(10):
                        while face.trouble:  # noqa: ASYNC110  # it becomes empty in another task
                            await asyncio.sleep(0.005)
                    async with Client(bus.address, NAME, NAME) as client:
                        assert len(await client.call("/", MANAGER, "GetServices")) == 3
                    await face.stop()
        finally:
            bus.remove()

    asyncio.run(play())


def test_without_the_key_nobody_is_connman() -> None:
    with Scene() as scene:
        said = tool(scene, "busctl", "--address=ADDRESS", "call", NAME, "/", MANAGER, "GetServices")
        assert "net.connman was not provided" in said
