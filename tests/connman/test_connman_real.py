"""Beside the real connmand: the same calls, signals, properties, types and errors, asked of both in the same way."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dbus_next import Variant

from bench.peers.base import READY, end
from bench.peers.connman import Connman
from bus.client import Client, Refused, described
from connman.programs import World
from kernel.helpers_sessions import fresh_name
from labkit import Lab
from labkit.agent import eventually

pytestmark = pytest.mark.kernel

NAME = "net.connman"
MANAGER, SERVICE, TECHNOLOGY = f"{NAME}.Manager", f"{NAME}.Service", f"{NAME}.Technology"
ETHERNET = "/net/connman/technology/ethernet"
UPLINKS = 2

# Ours alone, from the multipath patches of 2016.
MORE = {(SERVICE, "MultipathRouting", "b"), (SERVICE, "MultipathTcpLink", "s")}
# Theirs alone, by version: of Wi-Fi, or of nothing that there is.
LESS = {(TECHNOLOGY, "TetheringFreq", "i"), (f"{NAME}.Clock", "TimeserverSynced", "b")}


@pytest.fixture(scope="module")
def theirs() -> Iterator[str]:
    """The bus of a connmand with two uplinks."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="connmand-")))
        peer = Connman()
        lab = stack.enter_context(Lab(peer.topology(UPLINKS), fresh_name(), quiet=True))
        process = peer.start(lab, folder, stack)
        stack.callback(end, process)
        uplinks = range(1, UPLINKS + 1)
        eventually(lambda: all(peer.right(lab, n, "carrier back") for n in uplinks), READY, "connmand is ready")
        yield f"unix:path={folder / 'bus'}"


async def service(client: Client, number: int = 0) -> str:
    """The path of a service."""
    return str((await client.call("/", MANAGER, "GetServices"))[number][0])


async def interfaces(address: str) -> dict[str, Any]:
    """Every interface with its methods and signals."""
    async with Client(address, NAME, NAME) as client:
        out: dict[str, Any] = {}
        for path in ("/", ETHERNET, await service(client)):
            text = await client.call(path, "org.freedesktop.DBus.Introspectable", "Introspect")
            out |= described(text)
            out[path if path in {"/", ETHERNET} else "service"] = "org.freedesktop.DBus.Properties" in text
        return out


async def properties(address: str) -> set[tuple[str, str, str]]:
    """Every property with its type."""
    async with Client(address, NAME, NAME) as client:
        own = {face: await client.call("/", face, "GetProperties") for face in (MANAGER, f"{NAME}.Clock")}
        own[SERVICE] = await client.call(await service(client), SERVICE, "GetProperties")
        own[TECHNOLOGY] = await client.call(ETHERNET, TECHNOLOGY, "GetProperties")
        listed = await client.call("/", MANAGER, "GetServices")
        assert {*listed[0][1]} == {*own[SERVICE]}
        for name in ("Ethernet", "IPv4", "IPv6", "IPv4.Configuration", "IPv6.Configuration"):
            own[name] = own[SERVICE][name].value
        return {(face, name, value.signature) for face, found in own.items() for name, value in found.items()}


YES = Variant("b", value=True)
TRIED: dict[str, tuple[Any, ...]] = {
    "no property of the manager": ("/", MANAGER, "SetProperty", "sv", "Nonsense", YES),
    "no property of a service": ("SERVICE", SERVICE, "SetProperty", "sv", "Nonsense", YES),
    "one that cannot be set": ("SERVICE", SERVICE, "SetProperty", "sv", "State", Variant("s", "online")),
    "an address": ("SERVICE", SERVICE, "SetProperty", "sv", "IPv4.Configuration", Variant("a{sv}", {})),
    "name servers": ("SERVICE", SERVICE, "SetProperty", "sv", "Nameservers.Configuration", Variant("as", [])),
    "another type": ("SERVICE", SERVICE, "SetProperty", "sv", "AutoConnect", Variant("s", "yes")),
    "to clear": ("SERVICE", SERVICE, "ClearProperty", "s", "State"),
    "to clear an error": ("SERVICE", SERVICE, "ClearProperty", "s", "Error"),
    "remove": ("SERVICE", SERVICE, "Remove"),
    "connect what is": ("SERVICE", SERVICE, "Connect"),
    "before itself": ("SERVICE", SERVICE, "MoveBefore", "o", "SERVICE"),
    "before nobody": ("SERVICE", SERVICE, "MoveBefore", "o", "/net/connman/service/nobody"),
    "scan": (ETHERNET, TECHNOLOGY, "Scan"),
    "session mode": ("/", MANAGER, "SetProperty", "sv", "SessionMode", YES),
    "no session": ("/", MANAGER, "DestroySession", "o", "/nobody"),
    "no object": ("/net/connman/service/nobody", SERVICE, "Connect"),
    "no method": ("SERVICE", SERVICE, "Nonsense"),
    "a session": ("/", MANAGER, "CreateSession", "a{sv}o", {}, "/app"),
    "the same again": ("/", MANAGER, "CreateSession", "a{sv}o", {}, "/app"),
    "a session's key": ("/", MANAGER, "CreateSession", "a{sv}o", {"Nonsense": YES}, "/other"),
    "a session's type": ("/", MANAGER, "CreateSession", "a{sv}o", {"AllowedBearers": YES}, "/other"),
    "a bearer": ("/", MANAGER, "CreateSession", "a{sv}o", {"AllowedBearers": Variant("as", ["lte"])}, "/other"),
    "a change": ("SESSION", f"{NAME}.Session", "Change", "sv", "AllowedInterface", Variant("s", "none")),
    "a nonsensical change": ("SESSION", f"{NAME}.Session", "Change", "sv", "Nonsense", YES),
    "a session's connect": ("SESSION", f"{NAME}.Session", "Connect"),
    "its end": ("SESSION", f"{NAME}.Session", "Destroy"),
    "when it has ended": ("SESSION", f"{NAME}.Session", "Connect"),
    "an agent": ("/", MANAGER, "RegisterAgent", "o", "/agent"),
    "a counter": ("/", MANAGER, "RegisterCounter", "ouu", "/counter", 1, 1),
}


async def answers(address: str) -> dict[str, str]:
    """What comes of each try: the error's name, or nothing."""
    out: dict[str, str] = {}
    async with Client(address, NAME, NAME) as client:
        names = {"SERVICE": await service(client), "SESSION": ""}
        me = str(client.bus.unique_name).replace(":", "_").replace(".", "_")
        names["SESSION"] = f"/sessions/{me}/app"
        for label, words in TRIED.items():
            path, *call = (names.get(word, word) if isinstance(word, str) else word for word in words)
            try:
                await client.call(path, *call)
                out[label] = ""
            except Refused as error:
                out[label] = error.name
    return out


def test_calls_and_signals(theirs: str, world: World) -> None:
    assert asyncio.run(interfaces(world.case.bus.address)) == asyncio.run(interfaces(theirs))


def test_properties_and_their_types(theirs: str, world: World) -> None:
    here, there = (asyncio.run(properties(address)) for address in (world.case.bus.address, theirs))

    assert here - there <= MORE | LESS
    assert here >= MORE
    assert there - here <= LESS


def test_answers(theirs: str, world: World) -> None:
    here, there = (asyncio.run(answers(address)) for address in (world.case.bus.address, theirs))

    assert here == there


def test_a_session_is_told_alike(theirs: str, world: World) -> None:
    """Keys and types of the first Update; its values are of another lab."""

    async def told(address: str) -> dict[str, str]:
        async with Client(address, NAME, NAME) as client:
            path = await client.call("/", MANAGER, "CreateSession", "a{sv}o", {}, "/my/app")
            me = str(client.bus.unique_name).replace(":", "_").replace(".", "_")
            assert path == f"/sessions/{me}/my/app"
            await client.told(len)
            (update,) = client.notices[0].body
            assert (client.notices[0].member, client.notices[0].path) == ("Update", "/my/app")
            assert (update["State"].value, update["Bearer"].value) == ("connected", "ethernet")
            assert update["AllowedInterface"].value == "*"
            assert {*update["IPv4"].value} == {"Method", "Address", "Netmask", "Gateway"}
            return {name: value.signature for name, value in update.items()}

    here, there = (asyncio.run(told(address)) for address in (world.case.bus.address, theirs))

    assert here == there | {"FlowSelectors": "as", "MultipathRoutedServices": "as"}
