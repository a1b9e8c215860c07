"""Sessions of clients: made, told, changed and ended, and by whom."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from dbus_next import Message, Variant

from bus.client import MANAGER, Client, Refused, plain, tool
from bus.harness import CABLE, SECOND, Scene
from mpathd.bus import clients
from mpathd.model.session import Origin, SessionSettings
from mpathd.model.words import ServiceState
from mpathd.plan.wishes import Limits, Wished

FACE = "net.mpathd.Manager"
SESSION = "net.mpathd.Session"
SESSIONS = "/net/mpathd/session"
NOBODY = 65534
FLOWS = {"FlowSelectors": Variant("as", ["*-*-udp-7777-8888"])}
UPDATED = {
    "AllowedBearers": ["ethernet"],
    "ConnectionType": "any",
    "AllowedInterface": "",
    "FlowSelectors": ["*-*-udp-7777-8888"],
    "MultipathRoutedServices": ["ethernet_265676f2a6d2_cable"],
    "ContextIdentifier": "7",
    "SourceIPRule": True,
    "Name": "Wired",
    "State": "connected",
    "Bearer": "ethernet",
    "Interface": "vethc1",
    "IPv4": {"Method": "manual", "Address": "10.0.1.2", "PrefixLength": 24, "Gateway": "10.0.1.1"},
    "IPv6": {"Method": "auto", "Address": "fd00:1::2", "PrefixLength": 64, "Gateway": "fe80::1"},
}
ROUTED = replace(SECOND, routed=True)


def enough(many: int, told: list[Message]) -> bool:
    """Whether so many notices have come.

    Args:
        many: so many.
        told: the notices.
    """
    return len(told) == many


def tail(client: Client, notifier: str) -> str:
    """The name of a client's session.

    Args:
        client: the client.
        notifier: path of its object.
    """
    return str(client.bus.unique_name).replace(":", "_").replace(".", "_") + notifier


async def create(client: Client, notifier: str = "/app", **settings: Variant) -> str:
    """Make a session.

    Args:
        client: whose.
        notifier: path of its object.
        settings: by D-Bus name.
    """
    return str(await client.call(MANAGER, FACE, "CreateSession", "a{sv}o", settings or FLOWS, notifier))


def updates(notices: list[Message]) -> list[Any]:
    """What the notices say.

    Args:
        notices: calls of net.mpathd.Notification.
    """
    return [plain(one.body[0]) if one.member == "Update" else one.member for one in notices]


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until something is true.

    Args:
        condition: what to wait for.
    """
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # it becomes true in another thread
            await asyncio.sleep(0.005)


def play(work: Callable[[], Awaitable[None]]) -> None:
    """Run a play.

    Args:
        work: the play.
    """

    async def run() -> None:
        await work()

    asyncio.run(run())


def test_a_whole_life(scene: Scene) -> None:
    async def life() -> None:
        async with Client(scene.address) as client, Client(scene.address) as watcher:
            given = {
                **FLOWS,
                "AllowedBearers": Variant("as", ["ethernet"]),
                "ContextIdentifier": Variant("s", "7"),
                "SourceIPRule": Variant("b", value=True),
            }
            path = await create(client, "/my/app", **given)
            assert path == f"{SESSIONS}/{tail(client, '/my/app')}"
            await client.told(len)
            assert updates(client.notices) == [UPDATED]
            notice = client.notices[0]
            assert (notice.path, notice.destination) == ("/my/app", client.bus.unique_name)
            assert notice.flags.value & 1  # no reply expected

            shown = plain(await client.call(path, "org.freedesktop.DBus.Properties", "GetAll", "s", SESSION))
            assert {key: shown[key] for key in UPDATED} == UPDATED
            assert shown["Identifier"] == tail(client, "/my/app")
            assert (shown["Owner"], shown["Origin"], shown["Mark"]) == (client.bus.unique_name, "dbus", 0x10000)
            assert plain(await watcher.call(MANAGER, FACE, "GetSessions")) == [[path, shown]]

            await client.call(path, SESSION, "Change", "sv", "FlowSelectors", Variant("as", ["*-*-tcp"]))
            await client.set(path, SESSION, "Priority", "u", 7)
            both = {"Nat": Variant("s", "never"), "Description": Variant("s", "calls")}
            await client.call(path, SESSION, "Configure", "a{sv}", both)
            assert await client.get(path, SESSION, "Nat") == "never"
            with pytest.raises(Refused, match=r"no settings given\n  settings: AllowedBearers, "):
                await client.call(path, SESSION, "Configure", "a{sv}", {})
            await client.call(path, SESSION, "Disconnect")
            assert await client.get(path, SESSION, "Active") is False
            await client.call(path, SESSION, "Connect")
            away = {"Name": "", "State": "disconnected", "Bearer": "", "Interface": "", "IPv4": {}, "IPv6": {}}
            away["MultipathRoutedServices"] = []
            await client.told(lambda told: len(told) >= 4)
            back = {key: UPDATED[key] for key in away}
            assert updates(client.notices)[1:] == [{"FlowSelectors": ["*-*-tcp"]}, away, back]

            await client.call(path, SESSION, "Destroy")
            assert plain(await client.call(MANAGER, FACE, "GetSessions")) == []
            with pytest.raises(Refused) as caught:
                await client.call(path, SESSION, "Destroy")
            assert caught.value.name == "org.freedesktop.DBus.Error.UnknownObject"
            assert len(client.notices) == 4  # its owner ended it: no Release
            ours = [one for one in await watcher.heard(lambda signals: signals) if one.member.startswith("Session")]
            assert [(one.member, one.body[0]) for one in ours] == [("SessionAdded", path), ("SessionRemoved", path)]
            assert set(ours[0].body[1]) == set(shown)
            members = [one.member for one in watcher.signals if one.path == MANAGER]
            assert {"InterfacesAdded", "InterfacesRemoved"} <= set(members)

    scene.do(scene.agent.show(CABLE, ROUTED))
    play(life)


def test_the_reply_comes_before_the_first_update(scene: Scene) -> None:
    async def life() -> None:
        async with Client(scene.address) as client:
            order: list[str] = []

            def note(message: Message) -> None:
                order.append(message.member or message.signature)

            # What dbus-next calls for everything that comes, replies included.
            hear: Any = client.bus._on_message

            def both(message: Message) -> None:
                note(message)
                hear(message)

            inside: Any = client.bus
            inside._on_message = both
            for number in range(20):
                await create(client, f"/n{number}")
                await client.told(partial(enough, number + 1))
            replies = [entry for entry in order if entry in {"o", "Update"}]
            assert replies == ["o", "Update"] * 20
            assert all(len(update) == len(UPDATED) for update in updates(client.notices))

    play(life)


def test_a_switch_of_service_is_one_update(scene: Scene) -> None:
    async def life() -> None:
        async with Client(scene.address) as client:
            await create(client)
            await client.told(len)
            gone = replace(CABLE, state=ServiceState.IDLE)
            await asyncio.to_thread(scene.do, scene.agent.show(gone, SECOND))
            await client.told(lambda told: len(told) > 1)
            assert updates(client.notices)[1] == {
                "Interface": "vethc2",
                "IPv4": {"Method": "dhcp", "Address": "10.0.2.2", "PrefixLength": 24, "Gateway": "10.0.2.1"},
                "IPv6": {},
            }
            await client.call(MANAGER, FACE, "GetStatus")
            assert len(client.notices) == 2

    play(life)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"Bearers": Variant("as", [])}, "no session setting called 'Bearers'\n  settings: AllowedBearers, "),
        ({"Mark": Variant("u", 1)}, "no session setting called 'Mark'"),
        ({"Priority": Variant("s", "1")}, "Priority is a number from 0 up (u), given was type s: '1'"),
        ({"AllowedBearers": Variant("as", ["sonar"])}, "AllowedBearers = ['sonar'] does not fit"),
        ({"FlowSelectors": Variant("as", ["*-*-udp-7-8-9"])}, "FlowSelectors = "),
        ({"ConnectionType": Variant("s", "online")}, "ConnectionType = 'online' does not fit"),
        ({"Users": Variant("as", ["nobody-of-that-name"])}, "Users = "),
    ],
)
def test_bad_settings(scene: Scene, settings: dict[str, Variant], says: str) -> None:
    async def life() -> None:
        async with Client(scene.address) as client:
            with pytest.raises(Refused) as caught:
                await create(client, **FLOWS, **{"Description": Variant("s", "x")} | settings) if not (
                    settings.keys() & FLOWS.keys()
                ) else await create(client, **settings)
            assert caught.value.name == "net.mpathd.Error.InvalidArguments"
            assert says in caught.value.text
            assert await client.call(MANAGER, FACE, "GetSessions") == []

            path = await create(client)
            for name, value in settings.items():
                with pytest.raises(Refused) as again:
                    await client.call(path, SESSION, "Change", "sv", name, value)
                assert again.value.text == caught.value.text
            assert await client.get(path, SESSION, "FlowSelectors") == ["*-*-udp-7777-8888"]

    play(life)


def test_the_same_notifier_twice(scene: Scene) -> None:
    async def life() -> None:
        async with Client(scene.address) as client, Client(scene.address) as other:
            await create(client, "/a")
            with pytest.raises(Refused) as caught:
                await create(client, "/a")
            assert caught.value.name == "net.mpathd.Error.AlreadyExists"
            assert "choose another notifier" in str(caught.value)
            await create(client, "/a/b")
            await create(client, "/")
            await create(other, "/a")
            assert len(await client.call(MANAGER, FACE, "GetSessions")) == 4
            await client.told(lambda told: len(told) > 2)
            assert len(client.notices) == 3

    play(life)


def test_only_its_owner_and_the_trusted(scene: Scene) -> None:
    async def life() -> None:
        async with Client(scene.address) as client:
            path = await create(client)
            at = ("busctl", "--address=ADDRESS")
            for words in (
                ("call", "net.mpathd", path, SESSION, "Destroy"),
                ("call", "net.mpathd", path, SESSION, "Connect"),
                ("call", "net.mpathd", path, SESSION, "Change", "sv", "Nat", "s", "never"),
                ("set-property", "net.mpathd", path, SESSION, "Nat", "s", "never"),
                ("call", "net.mpathd", MANAGER, FACE, "DestroySession", "o", path),
                ("call", "net.mpathd", MANAGER, FACE, "CreateNamedSession", "sa{sv}", "x", "0"),
            ):
                said = await asyncio.to_thread(tool, scene, *at, *words, uid=NOBODY)
                assert "only root" in said
                # Who may not make one that stays may still have one: everybody may, see CreateSession.
                assert ("mpathctl session exec" in said) == ("CreateNamedSession" in words)
            assert [asked for asked, *_ in scene.agent.asked] == ["create"]
            # Root is trusted: the session ends, and its owner hears of it.
            words = ("call", "net.mpathd", MANAGER, FACE, "DestroySession", "o", path)
            assert await asyncio.to_thread(tool, scene, *at, *words) == ""
            await client.told(lambda told: told[-1].member == "Release")
            assert [one.member for one in client.notices] == ["Update", "Release"]

    play(life)


NOBODYS = """
import asyncio, os, sys
from dbus_next import Message, Variant
from dbus_next.aio import MessageBus
os.setgroups([]); os.setgid(65534); os.setuid(65534)
async def main():
    bus = await MessageBus(bus_address=sys.argv[1]).connect()
    def call(member, types, *body):
        return bus.call(Message(destination="net.mpathd", path="/net/mpathd", interface="net.mpathd.Manager",
                                member=member, signature=types, body=list(body)))
    for number in range(3):
        reply = await call("CreateSession", "a{sv}o", {"FlowSelectors": Variant("as", ["*-*-*"])}, f"/n{number}")
        print(reply.error_name or reply.body[0], flush=True)
    many = await call("CreateSession", "a{sv}o", {"Description": Variant("s", "x" * 300_000)}, "/many")
    print(many.error_name, flush=True)
    sys.stdin.readline()  # the connection stays open meanwhile
asyncio.run(main())
"""


@pytest.mark.kernel
def test_users_without_rights_have_bounds_and_leave(scene: Scene) -> None:
    scene.agent.limits = Limits(sessions=2)
    argv = [sys.executable, "-c", NOBODYS, scene.address]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        said = [other.stdout.readline().strip() for _ in range(4)]
        assert [line.rpartition("/")[2] for line in said[:2]] == ["n0", "n1"]
        assert said[2] == "net.mpathd.Error.LimitsExceeded"
        assert said[3] == "org.freedesktop.DBus.Error.LimitsExceeded"
        assert {item.settings.only_user for item in scene.agent.wished.values()} == {NOBODY}
        other.stdin.write("\n")

    async def life() -> None:
        async with Client(scene.address) as client:
            async with asyncio.timeout(10):
                while await client.call(MANAGER, FACE, "GetSessions"):
                    pass

    play(life)
    assert scene.agent.wished == {}


def test_the_owner_leaves(scene: Scene) -> None:
    async def life() -> None:
        async with Client(scene.address) as watcher:
            async with Client(scene.address) as client:
                paths = [await create(client, "/a"), await create(client, "/b")]
                mine = await create(watcher, "/a")
                await client.told(lambda told: len(told) > 1)
            gone = await watcher.heard(
                lambda signals: (found := [s.body[0] for s in signals if s.member == "SessionRemoved"])[1:] and found
            )
            assert sorted(gone) == paths
            left = await watcher.call(MANAGER, FACE, "GetSessions")
            assert [path for path, _ in left] == [mine]

    play(life)


@pytest.mark.parametrize("rules", [0, 1, 100])
def test_many_owners_have_one_rule(scene: Scene, monkeypatch: pytest.MonkeyPatch, rules: int) -> None:
    monkeypatch.setattr(clients, "OWN_RULES", rules)

    async def life() -> None:
        async with Client(scene.address) as first, Client(scene.address) as watcher:
            async with Client(scene.address) as second:
                await create(first)
                await create(second)
            path = await watcher.heard(lambda s: [one.body[0] for one in s if one.member == "SessionRemoved"])
            assert path == [f"{SESSIONS}/{tail(second, '/app')}"]
            left = await watcher.call(MANAGER, FACE, "GetSessions")
            assert [path for path, _ in left] == [f"{SESSIONS}/{tail(first, '/app')}"]

    play(life)


def test_named_sessions_stay(scene: Scene) -> None:
    async def life() -> None:
        async with Client(scene.address) as client:
            path = await client.call(MANAGER, FACE, "CreateNamedSession", "sa{sv}", "night.backup", FLOWS)
            assert path == f"{SESSIONS}/named/night_2ebackup"
            with pytest.raises(Refused) as taken:
                await client.call(MANAGER, FACE, "CreateNamedSession", "sa{sv}", "night.backup", FLOWS)
            assert taken.value.name == "net.mpathd.Error.AlreadyExists"
            with pytest.raises(Refused) as alike:
                await client.call(MANAGER, FACE, "CreateNamedSession", "sa{sv}", "night_2ebackup", FLOWS)
            assert "has the path that" in alike.value.text
            with pytest.raises(Refused) as unfit:
                await client.call(MANAGER, FACE, "CreateNamedSession", "sa{sv}", "a/b", FLOWS)
            assert unfit.value.name == "net.mpathd.Error.InvalidArguments"
        async with Client(scene.address) as client:
            shown = plain(await client.call(MANAGER, FACE, "GetSessions"))
            assert [found["Identifier"] for _, found in shown] == ["night.backup"]
            assert shown[0][1]["Origin"] == "named"
            await client.call(MANAGER, FACE, "DestroySession", "o", path)
            with pytest.raises(Refused) as none:
                await client.call(MANAGER, FACE, "DestroySession", "o", path)
            assert none.value.name == "net.mpathd.Error.NotFound"
            assert client.notices == []

    play(life)


def test_policy_sessions_are_read_only(scene: Scene) -> None:
    settings = SessionSettings("video", Origin.POLICY, "/etc/mpathd/policy.d/video.toml")
    scene.agent.wished["video"] = Wished(settings, 0)
    scene.do(scene.agent.show(CABLE))

    async def life() -> None:
        async with Client(scene.address) as client:
            path = f"{SESSIONS}/policy/video"
            assert await client.get(path, SESSION, "Origin") == "policy"
            for member in ("Destroy", "Connect", "Disconnect"):
                with pytest.raises(Refused) as caught:
                    await client.call(path, SESSION, member)
                assert caught.value.name == "net.mpathd.Error.NotSupported"
            with pytest.raises(Refused) as caught:
                await client.set(path, SESSION, "Priority", "u", 3)
            assert caught.value.name == "net.mpathd.Error.NotSupported"

    play(life)


def test_another_bus_has_other_owners() -> None:
    async def life() -> None:
        with Scene() as scene:
            async with Client(scene.address) as client:
                await create(client)
                scene.bus.kill()
            await until(lambda: scene.face.trouble)
            assert scene.agent.wished  # until a bus answers, all stay
            scene.bus.start()
            await until(lambda: not scene.face.trouble)
            assert scene.agent.wished == {}
            async with Client(scene.address) as client:
                assert await client.call(MANAGER, FACE, "GetSessions") == []

    play(life)


def test_a_lost_connection_to_the_same_bus(scene: Scene) -> None:
    async def life() -> None:
        async with Client(scene.address) as client, Client(scene.address) as watcher:
            async with Client(scene.address) as leaver:
                await create(client)
                await create(leaver)
                await client.told(len)
                wire: Any = scene.face._wire
                scene.loop.call_soon_threadsafe(wire.close, "test")
                scene.loop.call_soon_threadsafe(leaver.bus.disconnect)
            await client.told(lambda told: len(told) > 1)
            first, second = updates(client.notices)[:2]
            assert first == second  # whole again
            async with asyncio.timeout(10):
                while len(await watcher.call(MANAGER, FACE, "GetSessions")) > 1:
                    pass
            path = f"{SESSIONS}/{tail(client, '/app')}"
            await client.call(path, SESSION, "Disconnect")
            await client.told(lambda told: len(told) > 2)

    play(life)


@pytest.mark.parametrize("release", [False, True])
def test_goodbye(scene: Scene, *, release: bool) -> None:
    async def life() -> None:
        async with Client(scene.address) as client:
            await create(client)
            await client.told(len)
            await asyncio.to_thread(scene.do, scene.face.stop(release=release))
            if release:
                await client.told(lambda told: told[-1].member == "Release")
                assert scene.agent.wished == {}
            else:
                assert scene.agent.wished
            assert len(client.notices) == 1 + release

    play(life)


def test_ten_thousand_selectors(scene: Scene) -> None:
    selectors = [f"2001:db8::{n // 256:x}:{n % 256 + 1:x}-*-udp-{n % 60000 + 1}-*" for n in range(10_000)]

    async def life() -> None:
        async with Client(scene.address) as client:
            path = await create(client, FlowSelectors=Variant("as", selectors))
            await client.told(len)
            assert len(updates(client.notices)[0]["FlowSelectors"]) == 10_000
            assert len(await client.get(path, SESSION, "FlowSelectors")) == 10_000

    play(life)
