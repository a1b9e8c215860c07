"""Anyone reads; root and the group change; the shipped policy lets exactly that through."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
from typing import Any

import pytest
from dbus_next import Variant

from bus.client import MANAGER, SERVICES, Client, tool
from bus.harness import CABLE, SECOND, Scene
from mpathd.bus.credentials import REMEMBERED, Credentials
from mpathd.model.errors import MpathError

AT = SERVICES + CABLE.id
SERVICE = "net.mpathd.Service"
NOBODY = 65534
GROUP = grp.getgrgid(1)  # any that exists
BUSCTL = ("busctl", "--address=ADDRESS")
SET = (*BUSCTL, "set-property", "net.mpathd", AT, SERVICE, "AutoConnect", "b", "false")


@pytest.mark.kernel
def test_anyone_reads(scene: Scene) -> None:
    read = tool(scene, *BUSCTL, "get-property", "net.mpathd", AT, SERVICE, "State", uid=NOBODY)
    assert read == 's "ready"\n'
    for method in ("GetServices", "GetStatus"):
        told = tool(scene, *BUSCTL, "call", "net.mpathd", MANAGER, "net.mpathd.Manager", method, uid=NOBODY)
        assert told.startswith("a")
    assert "/net/mpathd/service" in tool(scene, *BUSCTL, "tree", "net.mpathd", uid=NOBODY)


@pytest.mark.kernel
def test_others_may_not_change_and_hear_who_may() -> None:
    name = pwd.getpwuid(NOBODY).pw_name
    with Scene(group=GROUP.gr_name) as scene:
        for words in (
            ("set-property", "net.mpathd", AT, SERVICE, "MultipathRouting", "b", "true"),
            ("call", "net.mpathd", AT, SERVICE, "Configure", "a{sv}", "1", "AutoConnect", "b", "false"),
            ("call", "net.mpathd", MANAGER, "net.mpathd.Manager", "SetDefaults", "a{sv}", "0"),
            ("call", "net.mpathd", MANAGER, "net.mpathd.Manager", "MoveBefore", "oo", AT, SERVICES + SECOND.id),
            ("call", "net.mpathd", MANAGER, "net.mpathd.Manager", "Reload"),
        ):
            said = tool(scene, *BUSCTL, *words, uid=NOBODY)
            assert f"only root and members of group {GROUP.gr_name} may change settings" in said
            assert f"the caller is user {name} ({NOBODY})" in said
            assert f"adduser {name} {GROUP.gr_name}" in said
        said = tool(
            scene,
            *("dbus-send", "--bus=ADDRESS", "--print-reply", "--dest=net.mpathd", MANAGER),
            "net.mpathd.Manager.Reload",
            uid=NOBODY,
        )
        assert said.startswith("Error net.mpathd.Error.PermissionDenied: only root")
        assert (scene.agent.edits, scene.agent.asked) == ([], [])
        assert scene.agent.reloaded == 0


@pytest.mark.kernel
def test_the_group_may_change() -> None:
    with Scene(group=GROUP.gr_name) as scene:
        assert tool(scene, *SET, uid=NOBODY, gids=(GROUP.gr_gid,)) == ""
        assert [dict(edit.values) for edit in scene.agent.edits] == [{"autoconnect": False}]


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("group", "who", "cure"),
    [
        ("", "only root may", "become root"),
        ("no-such-group", "only root may", "addgroup --system no-such-group"),
    ],
)
def test_without_a_group(group: str, who: str, cure: str) -> None:
    with Scene(group=group) as scene:
        said = tool(scene, *SET, uid=NOBODY)
        assert who in said
        assert cure in said


@pytest.mark.kernel
def test_only_root_may_be_mpathd(scene: Scene) -> None:
    said = tool(
        scene,
        *("dbus-send", "--bus=ADDRESS", "--print-reply", "--dest=org.freedesktop.DBus", "/"),
        *("org.freedesktop.DBus.RequestName", "string:net.mpathd", "uint32:2"),
        uid=NOBODY,
    )
    assert said.startswith("Error org.freedesktop.DBus.Error.AccessDenied")


def test_root_changes(scene: Scene) -> None:
    assert tool(scene, *SET) == ""


def test_a_caller_is_asked_about_once_and_forgotten_when_it_leaves(scene: Scene) -> None:
    async def play() -> str:
        async with Client(scene.address) as client, Client(scene.address) as watcher:
            for _ in range(3):
                await client.set(AT, SERVICE, "AutoConnect", "b", value=True)
            sender = str(client.bus.unique_name)
            assert sender in known(scene)
            client.bus.disconnect()
            async with asyncio.timeout(10):
                while sender in known(scene):
                    await watcher.get(AT, SERVICE, "State")
        return sender

    def known(scene: Scene) -> list[str]:
        return list(scene.face._line.credentials._known)  # type: ignore[union-attr]

    assert asyncio.run(play()).startswith(":1.")


class FakeWire:
    """A bus that tells credentials as scripted.

    Args:
        told: what it tells of everybody.
    """

    def __init__(self, **told: Any) -> None:
        self.connected = True
        self.told = told
        self.calls: list[tuple[str, Any]] = []

    async def ask(self, member: str, _types: str, argument: str) -> list[Any]:
        """Answer.

        Args:
            member: the method.
            _types: of the argument.
            argument: the argument.
        """
        self.calls.append((member, argument))
        return [self.told] if member == "GetConnectionCredentials" else []

    def tell(self, member: str, _types: str, argument: str) -> None:
        """Take note.

        Args:
            member: the method.
            _types: of the argument.
            argument: the argument.
        """
        self.calls.append((member, argument))


def test_groups_come_from_the_account_when_the_bus_does_not_know_them() -> None:
    account = next(entry for entry in pwd.getpwall() if entry.pw_uid not in {0, os.geteuid()})
    group = grp.getgrgid(account.pw_gid).gr_name
    wire: Any = FakeWire(UnixUserID=Variant("u", account.pw_uid))

    assert asyncio.run(Credentials(wire, group).caller(":1.7")).trusted
    assert not asyncio.run(Credentials(wire, "no-such-group").caller(":1.7")).trusted


def test_an_unknown_account_has_no_groups() -> None:
    wire: Any = FakeWire(UnixUserID=Variant("u", 3_999_999_999))

    caller = asyncio.run(Credentials(wire, GROUP.gr_name).caller(":1.7"))

    assert not caller.trusted
    assert "3999999999 (3999999999)" in caller.refusal[0]


def test_a_caller_without_user_is_refused() -> None:
    wire: Any = FakeWire()

    with pytest.raises(MpathError, match=r"does not say which user :1\.7 is"):
        asyncio.run(Credentials(wire, "").caller(":1.7"))
    assert [member for member, _ in wire.calls] == ["AddMatch", "GetConnectionCredentials", "RemoveMatch"]


def test_the_memory_for_callers_is_bounded() -> None:
    wire: Any = FakeWire(UnixUserID=Variant("u", 0))
    credentials = Credentials(wire, "")

    async def play() -> None:
        for number in range(REMEMBERED + 10):
            await credentials.caller(f":1.{number}")

    asyncio.run(play())
    dropped = [argument for member, argument in wire.calls if member == "RemoveMatch"]
    assert len(dropped) == 10
    assert "arg0=':1.0'" in dropped[0]
