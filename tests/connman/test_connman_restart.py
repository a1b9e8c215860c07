"""Sessions of ConnMan's clients go on when mpathd is restarted, and end with their clients all the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from dbus_next import Variant

from bus.client import Client, plain
from connman.programs import CONFIG
from kernel.helpers_sessions import OF, PORT, ROUTERS, Case
from labkit.agent import eventually

pytestmark = pytest.mark.kernel

NAME = "net.connman"
SETTINGS = {
    "FlowSelectors": Variant("as", [f"*-*-udp-*-{PORT}"]),
    "AllowedInterface": Variant("s", "vethc2"),
    "ContextIdentifier": Variant("s", "7"),
}


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_session_goes_on(how: str) -> None:
    with Case(config=CONFIG, args=("--mpathrouting", "--keep")) as case:

        def again() -> None:
            case.agent.stop() if how == "stopped" else case.agent.kill()
            case.goes((ROUTERS[1][1], OF[4][1]), 4, kinds=["udp"])
            case.agent.start()

        async def play() -> Any:
            async with Client(case.bus.address, NAME, NAME) as client:
                path = await client.call("/", f"{NAME}.Manager", "CreateSession", "a{sv}o", SETTINGS, "/app")
                await client.told(len)
                await asyncio.to_thread(case.goes, (ROUTERS[1][1], OF[4][1]), 4, kinds=["udp"])
                before = case.marks()

                await asyncio.to_thread(again)
                await client.told(lambda notices: notices[1:])
                first, second = (plain(one.body[0]) for one in client.notices)
                assert (client.notices[1].member, client.notices[1].path) == ("Update", "/app")
                assert (first, case.marks()) == (second, before)
                assert (first["ContextIdentifier"], first["Interface"]) == ("7", "vethc2")

                wanted = Variant("s", "vethc3")
                await client.call(path, f"{NAME}.Session", "Change", "sv", "AllowedInterface", wanted)
                await asyncio.to_thread(case.goes, (ROUTERS[2][1], OF[4][2]), 4, kinds=["udp"])

        asyncio.run(play())
        eventually(lambda: not case.marks(), what="the session has ended with its client")
