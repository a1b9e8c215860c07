"""Sessions of clients of the real daemon: what they are told is what the kernel has."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbus_next import Message, Variant

from bus.client import MANAGER, Client, plain
from labkit import Lab, load
from labkit.agent import Agent, Bus, eventually

pytestmark = pytest.mark.kernel

FACE = "net.mpathd.Manager"
SESSION = "net.mpathd.Session"
FLOWS = {"FlowSelectors": Variant("as", ["*-*-udp-7777-8888"])}
NOBODY = 65534

STRANGER = """
import asyncio, os, sys
from dbus_next import Message, Variant
from dbus_next.aio import MessageBus
os.setgroups([]); os.setgid(65534); os.setuid(65534)
async def main():
    bus = await MessageBus(bus_address=sys.argv[1]).connect()
    reply = await bus.call(Message(destination="net.mpathd", path="/net/mpathd", interface="net.mpathd.Manager",
        member="CreateSession", signature="a{sv}o", body=[{"FlowSelectors": Variant("as", ["*-*-*"])}, "/a"]))
    print(reply.error_name or reply.body[0], flush=True)
    sys.stdin.readline()  # the connection stays open meanwhile
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The post's lab."""
    with Lab(load("three-uplinks"), f"dbus{os.getpid()}", quiet=True) as made:
        yield made


@pytest.fixture
def bus() -> Iterator[Bus]:
    """A bus that others can reach too."""
    with tempfile.TemporaryDirectory(prefix="mpathd-bus-") as folder:
        Path(folder).chmod(0o755)
        with Bus(Path(folder)) as running:
            yield running


def rules(lab: Lab, mark: int) -> list[str]:
    """Rules of a session in the client's kernel.

    Args:
        lab: the lab.
        mark: of the session.
    """
    both = lab.ip("client", "-4 rule") + lab.ip("client", "-6 rule")
    return [line for line in both.splitlines() if f"fwmark {mark:#x}/" in line]


def packets(lab: Lab) -> str:
    """The client's nft ruleset.

    Args:
        lab: the lab.
    """
    return lab.exec("client", ["nft", "-n", "list", "ruleset"]).stdout


def updates(notices: list[Message]) -> list[Any]:
    """What the notices say.

    Args:
        notices: calls of net.mpathd.Notification.
    """
    return [plain(one.body[0]) if one.member == "Update" else one.member for one in notices]


def test_told_as_it_is_in_the_kernel_and_gone_with_its_owner(lab: Lab, bus: Bus) -> None:
    async def play() -> int:
        async with Client(bus.address) as client:
            path = await client.call(MANAGER, FACE, "CreateSession", "a{sv}o", FLOWS, "/a")
            mark = int(await client.get(path, SESSION, "Mark"))
            assert rules(lab, mark)
            assert "7777" in packets(lab)
            await client.told(len)
            first = updates(client.notices)[0]
            assert first["State"] == "connected"
            device = first["Interface"]
            for family in ("-4", "-6"):
                assert f"dev {device}" in lab.ip("client", f"{family} route show table {mark} default")
            assert first["IPv4"]["Address"] in lab.ip("client", f"-4 addr show dev {device}")
            assert first["IPv6"]["Address"] in lab.ip("client", f"-6 addr show dev {device}")
            assert len(first["MultipathRoutedServices"]) == 2

            await asyncio.to_thread(lab.ip, "client", f"link set {device} down")
            await client.told(lambda told: len(told) > 1)
            second = updates(client.notices)[1]
            assert second["Interface"] not in {device, ""}
            assert f"dev {second['Interface']}" in lab.ip("client", f"-4 route show table {mark} default")
        return mark

    with Agent(lab, "client", ["--mpathrouting"], bus=bus):
        mark = asyncio.run(play())
        eventually(lambda: not rules(lab, mark), what="no rules without the owner")
        eventually(lambda: "7777" not in packets(lab), what="nothing in nft without the owner")
    for line in ("link set vethc1 up", *_defaults()):
        lab.ip("client", line)


def _defaults() -> tuple[str, ...]:
    return (
        "addr replace fd00:0:1::2/64 dev vethc1 nodad",
        "route replace default via 10.0.1.1 dev vethc1 metric 100",
        "-6 route replace default via fd00:0:1::1 dev vethc1 metric 100",
    )


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_keeps_sessions_whose_owner_is_there(lab: Lab, bus: Bus, how: str) -> None:
    async def play(agent: Agent) -> int:
        async with Client(bus.address) as client:
            async with Client(bus.address) as leaver:
                path = await client.call(MANAGER, FACE, "CreateSession", "a{sv}o", FLOWS, "/a")
                mark = int(await client.get(path, SESSION, "Mark"))
                other = await leaver.call(MANAGER, FACE, "CreateSession", "a{sv}o", FLOWS, "/b")
                gone = int(await leaver.get(other, SESSION, "Mark"))
                await client.told(len)
                await asyncio.to_thread(agent.stop if how == "stop" else agent.kill)
                assert rules(lab, mark)
                assert rules(lab, gone)
            await asyncio.to_thread(agent.start)
            await client.told(lambda told: len(told) > 1)
            first, second = updates(client.notices)
            assert first == second
            assert await client.get(path, SESSION, "Mark") == mark
            assert len(await client.call(MANAGER, FACE, "GetSessions")) == 1
            assert rules(lab, mark)
            assert not rules(lab, gone)
            return mark

    with Agent(lab, "client", ["--mpathrouting", "--keep"], bus=bus) as agent:
        mark = asyncio.run(play(agent))
        eventually(lambda: not rules(lab, mark), what="no rules without the owner")
        agent.stop()
        agent.once("--release")


def test_a_stranger_catches_only_its_own_sockets(lab: Lab, bus: Bus) -> None:
    with Agent(lab, "client", bus=bus) as agent:
        argv = [sys.executable, "-c", STRANGER, bus.address]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdin is not None
            assert other.stdout.readline().startswith("/net/mpathd/session/_1_")
            assert str(NOBODY) in packets(lab)
            other.stdin.write("\n")
        eventually(lambda: str(NOBODY) not in packets(lab), what="nothing of the stranger's")
        assert agent.running
