"""Sessions of ConnMan's clients: made, told, changed and ended, beside those of the native face."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from dbus_next import Message, Variant

from bus.client import Client, Refused, plain, tool
from bus.harness import CABLE, SECOND, Scene
from mpathd.model.errors import NotApplied
from mpathd.plan.wishes import Limits

NAME, MANAGER, SESSION = "net.connman", "net.connman.Manager", "net.connman.Session"
OURS = "net.mpathd"
FLOWS = {"FlowSelectors": Variant("as", ["*-*-udp-7777-8888"])}
UPDATED = {
    "AllowedBearers": ["ethernet"],
    "Bearer": "ethernet",
    "ConnectionType": "any",
    "State": "connected",
    "FlowSelectors": ["*-*-udp-7777-8888"],
    "MultipathRoutedServices": [SECOND.id],
    "IPv4": {"Method": "manual", "Address": "10.0.1.2", "Netmask": "255.255.255.0", "Gateway": "10.0.1.1"},
    "IPv6": {
        "Method": "auto",
        "Address": "fd00:1::2",
        "PrefixLength": 64,
        "Gateway": "fe80::1",
        "Privacy": "disabled",
    },
    "Interface": "vethc1",
    "Name": "Wired",
    "AllowedInterface": "*",
    "ContextIdentifier": "7",
    "SourceIPRule": True,
}
GONE = {"State": "disconnected", "Bearer": "", "Interface": "", "Name": "", "IPv4": {}, "IPv6": {}}


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A scene with ConnMan's face and two routed services."""
    with Scene(CABLE, replace(SECOND, routed=True), connman=True) as running:
        yield running


def me(client: Client) -> str:
    """How ConnMan writes a client's name in a path."""
    return str(client.bus.unique_name).replace(":", "_").replace(".", "_")


def said(notices: list[Message]) -> list[Any]:
    """What the notices say."""
    return [plain(one.body[0]) if one.member == "Update" else one.member for one in notices]


async def create(client: Client, notifier: str = "/app", **settings: Variant) -> str:
    """Make a session."""
    return str(await client.call("/", MANAGER, "CreateSession", "a{sv}o", settings or FLOWS, notifier))


async def change(client: Client, path: str, name: str, types: str, value: Any) -> None:
    """Change a setting."""
    await client.call(path, SESSION, "Change", "sv", name, Variant(types, value))


def test_a_whole_life(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address, NAME, NAME) as client, Client(scene.address) as native:
            given = {
                **FLOWS,
                "AllowedBearers": Variant("as", ["ethernet"]),
                "ContextIdentifier": Variant("s", "7"),
                "SourceIPRule": Variant("b", value=True),
            }
            path = await create(client, "/my/app", **given)
            assert path == f"/sessions/{me(client)}/my/app"
            await client.told(len)
            assert said(client.notices) == [UPDATED]
            notice = client.notices[0]
            assert (notice.path, notice.interface) == ("/my/app", "net.connman.Notification")
            assert notice.flags.value & 1, "no reply expected"
            shown = plain(await native.call("/net/mpathd", f"{OURS}.Manager", "GetSessions"))
            assert [at for at, _ in shown] == [f"/net/mpathd/session/{me(client)}/my/app"]
            assert shown[0][1]["Owner"] == client.bus.unique_name

            await change(client, path, "FlowSelectors", "as", ["*-*-tcp"])
            await client.told(lambda notices: notices[1:])
            await change(client, path, "FlowSelectors", "as", [""])
            await client.told(lambda notices: notices[2:])
            await change(client, path, "AllowedInterface", "s", "vethc2")
            await client.told(lambda notices: notices[3:])
            await client.call(path, SESSION, "Disconnect")
            await client.told(lambda notices: notices[4:])
            await client.call(path, SESSION, "Connect")
            await client.told(lambda notices: notices[5:])
            news = said(client.notices)[1:]
            assert news[:3] == [
                {"FlowSelectors": ["*-*-tcp"]},
                {"FlowSelectors": []},
                {"AllowedInterface": "vethc2"},
            ]
            assert news[3] == GONE | {"MultipathRoutedServices": []}
            assert news[4] == {key: UPDATED[key] for key in (*GONE, "MultipathRoutedServices")}

            await client.call(path, SESSION, "Destroy")
            with pytest.raises(Refused, match=r"^org\.freedesktop\.DBus\.Error\.UnknownObject"):
                await client.call(path, SESSION, "Connect")
            assert len(client.notices) == 6, "who ends a session is not told"
            assert native.notices == []

    asyncio.run(play())
    assert scene.agent.wished == {}


def test_destroyed_by_the_manager_and_made_again(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address, NAME, NAME) as client:
            path = await create(client)
            await client.told(len)
            await client.call("/", MANAGER, "DestroySession", "o", path)
            assert await create(client) == path
            await client.told(lambda notices: notices[1:])
            assert [one.member for one in client.notices] == ["Update", "Update"]

    asyncio.run(play())


BAD: dict[str, tuple[dict[str, Variant], str]] = {
    "a key": ({"Priority": Variant("b", value=True)}, "Priority is a number"),
    "an unknown key": ({"RoamingPolicy": Variant("s", "always")}, "no session setting called 'RoamingPolicy'"),
    "a type": ({"AllowedBearers": Variant("s", "wifi")}, "AllowedBearers is a list of strings"),
    "a bearer": ({"AllowedBearers": Variant("as", ["wifi", "lte"])}, "'lte' is no bearer, expected some of: ethernet"),
    "a kind": ({"ConnectionType": Variant("s", "online")}, "expected one of: any, local, internet"),
    "a selector": ({"FlowSelectors": Variant("as", ["*-*-*-7-8"])}, "FlowSelectors"),
}


@pytest.mark.parametrize(("settings", "text"), BAD.values(), ids=BAD)
def test_what_does_not_fit_makes_no_session(scene: Scene, settings: dict[str, Variant], text: str) -> None:
    async def play() -> None:
        async with Client(scene.address, NAME, NAME) as client:
            with pytest.raises(Refused, match=r"^net\.connman\.Error\.InvalidArguments: ") as caught:
                await create(client, **(FLOWS | settings))
            assert text in caught.value.text
            path = await create(client)
            for name, value in settings.items():
                with pytest.raises(Refused, match=r"^net\.connman\.Error\.InvalidArguments: "):
                    await client.call(path, SESSION, "Change", "sv", name, value)
            (made,) = scene.agent.wished.values()
            assert [str(one) for one in made.settings.selectors] == ["*-*-udp-7777-8888"]

    asyncio.run(play())


def test_the_same_notifier_twice_on_either_face(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address, NAME, NAME) as client:
            await create(client)
            with pytest.raises(Refused, match=r"^net\.connman\.Error\.AlreadyExists"):
                await create(client)
            client.name = OURS
            with pytest.raises(Refused, match=r"^net\.mpathd\.Error\.AlreadyExists"):
                await client.call("/net/mpathd", f"{OURS}.Manager", "CreateSession", "a{sv}o", FLOWS, "/app")

    asyncio.run(play())


def test_each_face_tells_its_own_sessions(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address, NAME, NAME) as client, Client(scene.address) as native:
            await create(client)
            await native.call("/net/mpathd", f"{OURS}.Manager", "CreateSession", "a{sv}o", FLOWS, "/app")
            await client.told(len)
            await native.told(len)
            assert [one.path for one in client.notices + native.notices] == ["/app", "/app"]
            assert "Netmask" in said(client.notices)[0]["IPv4"]
            assert "PrefixLength" in said(native.notices)[0]["IPv4"]
            seen = await client.call("/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
            assert [path for path in seen if path.startswith("/sessions")] == [f"/sessions/{me(client)}/app"]

    asyncio.run(play())


def test_it_ends_with_its_client(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as native:
            async with Client(scene.address, NAME, NAME) as client:
                await create(client)
            await native.heard(lambda signals: [one for one in signals if one.member == "SessionRemoved"])

    asyncio.run(play())
    assert scene.agent.wished == {}


def test_others_may_not_end_or_change_it(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address, NAME, NAME) as client:
            path = await create(client)
            for words in (
                (path, SESSION, "Destroy"),
                (path, SESSION, "Change", "sv", "AllowedInterface", "s", "eth7"),
                ("/", MANAGER, "DestroySession", "o", path),
            ):
                told = await asyncio.to_thread(
                    tool, scene, "busctl", "--address=ADDRESS", "call", NAME, *words, uid=65534
                )
                assert "is not the caller's" in told
            await client.call(path, SESSION, "Destroy")

    asyncio.run(play())


def test_too_many_is_failed(scene: Scene) -> None:
    scene.agent.limits = Limits(sessions=0)
    call = (
        "busctl",
        "--address=ADDRESS",
        "--verbose",
        "call",
        NAME,
        "/",
        MANAGER,
        "CreateSession",
        "a{sv}o",
        "0",
        "/a",
    )
    assert "max_per_user is 0" in tool(scene, *call, uid=65534)


def test_what_the_kernel_refuses_of_a_session_is_no_error(scene: Scene) -> None:
    """The session is there, and is told: ConnMan's clients would take an error for its absence."""
    make = scene.agent.create_session

    async def refused(wish: Any) -> None:
        await make(wish)
        raise NotApplied("saved, but the kernel refused 1 of 2 steps")

    scene.agent.create_session = refused  # type: ignore[method-assign]

    async def play() -> None:
        async with Client(scene.address, NAME, NAME) as client:
            assert await create(client) == f"/sessions/{me(client)}/app"
            await client.told(len)

    asyncio.run(play())


def test_release_at_the_end(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address, NAME, NAME) as client:
            await create(client)
            await client.told(len)
            faces = scene.faces
            await asyncio.to_thread(scene.do, faces[0].stop(release=True))
            await asyncio.to_thread(scene.do, faces[1].stop(release=True))
            await client.told(lambda notices: notices[1:])
            assert [one.member for one in client.notices] == ["Update", "Release"]

    asyncio.run(play())
