"""While ConnMan itself has the name, mpathd does its work, says who has it, and takes it when it is free."""

from __future__ import annotations

import asyncio
import os

import pytest

from bus.client import Client
from connman.programs import CONFIG
from kernel.helpers_sessions import Case
from labkit.agent import eventually

pytestmark = pytest.mark.kernel

NAME = "net.connman"


def test_somebody_else_is_connman() -> None:
    with Case(config=CONFIG, start=False) as case:

        async def play() -> None:
            async with Client(case.bus.address) as real:
                await real.bus.request_name(NAME)
                await asyncio.to_thread(case.agent.start)
                found = await asyncio.to_thread(case.status)
                wanted = f"{NAME} is owned by process {os.getpid()}; waiting until it gives the name up"
                assert found["Extra"][NAME] == wanted
                assert len(found["Services"]) == 3
                shown = await asyncio.to_thread(case.agent.ctl, "status")
                assert f"\n  {NAME}: {wanted}\n" in shown.stdout

                await real.bus.release_name(NAME)
                await asyncio.to_thread(
                    eventually, lambda: NAME not in case.status()["Extra"], 10.0, "mpathd has the name"
                )
                real.name = NAME
                assert len(await real.call("/", f"{NAME}.Manager", "GetServices")) == 3

        asyncio.run(play())
