"""Signals tell exactly what changed, once, and before anybody can read it; nothing changed, nothing said."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from dbus_next import Message, Variant

from bus.client import MANAGER, SERVICES, Client, plain
from bus.harness import CABLE, REFUSAL, SECOND, STEP, TUNNEL, Scene
from mpathd.model.words import ServiceState

SERVICE = "net.mpathd.Service"
AT = SERVICES + CABLE.id


def facts(signals: list[Message]) -> list[Any]:
    """Everything but the news of passes.

    Args:
        signals: as heard.
    """
    return [(one.path, one.member, *plain(one.body)) for one in signals if one.member != "Pass"]


def passes(signals: list[Message]) -> list[Any]:
    """The news of passes.

    Args:
        signals: as heard.
    """
    return [plain(one.body[0]) for one in signals if one.member == "Pass"]


async def after(client: Client, number: int) -> list[Message]:
    """Wait for the news of a pass; give everything heard by then.

    Args:
        client: who hears.
        number: the pass.
    """
    await client.heard(lambda signals: any(told["Number"] == number for told in passes(signals)))
    return client.signals


def test_exactly_the_changed_properties(scene: Scene) -> None:
    async def play() -> list[Message]:
        async with Client(scene.address) as client:
            changed = replace(CABLE, state=ServiceState.CONFIGURATION, addresses=CABLE.addresses[:1])
            await asyncio.to_thread(scene.do, scene.agent.show(changed, SECOND, TUNNEL))
            return await after(client, 1)

    assert facts(asyncio.run(play())) == [
        (
            AT,
            "PropertiesChanged",
            SERVICE,
            {"State": "configuration", "Letters": "*A c", "IPv6": []},
            [],
        )
    ]


def test_the_manager_changes_with_its_services(scene: Scene) -> None:
    async def play() -> list[Message]:
        async with Client(scene.address) as client:
            online = replace(SECOND, state=ServiceState.ONLINE)
            await asyncio.to_thread(scene.do, scene.agent.show(CABLE, online, TUNNEL))
            await asyncio.to_thread(scene.do, scene.agent.show(TUNNEL))
            await asyncio.to_thread(scene.do, scene.agent.show())
            return await after(client, 3)

    told = facts(asyncio.run(play()))
    states = [body[1] for path, member, *body in told if path == MANAGER and member == "PropertiesChanged"]
    assert states == [{"State": "online"}, {"State": "idle"}]


def test_services_come_and_go(scene: Scene) -> None:
    async def play() -> list[Message]:
        async with Client(scene.address) as client:
            await asyncio.to_thread(scene.do, scene.agent.show(CABLE, TUNNEL))
            await asyncio.to_thread(scene.do, scene.agent.show(CABLE, SECOND, TUNNEL))
            return await after(client, 2)

    gone, come = facts(asyncio.run(play()))
    assert gone == (MANAGER, "InterfacesRemoved", SERVICES + SECOND.id, [SERVICE])
    assert come[:3] == (MANAGER, "InterfacesAdded", SERVICES + SECOND.id)
    assert come[3][SERVICE]["Interface"] == "vethc2"
    assert come[3][SERVICE]["Letters"] == "*A R"


def test_a_pass_is_told_whole(scene: Scene) -> None:
    async def play() -> list[Message]:
        async with Client(scene.address) as client:
            work = scene.agent.show(CABLE, SECOND, TUNNEL, reason="link vethc2", refused=(REFUSAL,))
            await asyncio.to_thread(scene.do, work)
            return await after(client, 1)

    heard = asyncio.run(play())
    assert facts(heard) == []
    assert passes(heard) == [
        {
            "Number": 1,
            "Reasons": ["link vethc2"],
            "Steps": [str(STEP)],
            "Refused": [str(REFUSAL)],
            "Milliseconds": 1.25,
        }
    ]


def test_nothing_changed_nothing_said(scene: Scene) -> None:
    async def play() -> list[Message]:
        async with Client(scene.address) as client:
            copies = [replace(service) for service in (CABLE, SECOND, TUNNEL)]
            await asyncio.to_thread(scene.do, scene.agent.show(*copies, steps=()))
            await client.set(AT, SERVICE, "AutoConnect", "b", value=True)  # as it was: a pass with a step
            return await after(client, 2)

    heard = asyncio.run(play())
    assert facts(heard) == []
    assert [told["Number"] for told in passes(heard)] == [2]


def test_the_signal_precedes_the_reply(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as client:
            for wanted in (True, False) * 10:
                await client.set(AT, SERVICE, "MultipathRouting", "b", value=wanted)
                heard = facts(client.signals)[-1]
                assert heard[2:4] == (
                    SERVICE,
                    {"MultipathRouting": wanted, "Letters": "*AMR" if wanted else "*A R"},
                )

    asyncio.run(play())


def test_defaults_are_told(scene: Scene) -> None:
    async def play() -> list[Message]:
        async with Client(scene.address) as client:
            wish = {"MultipathTcpLink": Variant("s", "backup")}
            await client.call(MANAGER, "net.mpathd.Manager", "SetDefaults", "a{sv}", wish)
            return list(client.signals)

    told = {(path, body[0]): body[1] for path, _, *body in facts(asyncio.run(play()))}
    assert told[MANAGER, "net.mpathd.Manager"]["Defaults"]["MultipathTcpLink"] == "backup"
    assert told[AT, SERVICE] == {"MultipathTcpLink": "backup"}
    assert len(told) == 4


def test_silence_while_nothing_happens(scene: Scene) -> None:
    async def play() -> list[Message]:
        async with Client(scene.address) as client:
            for _ in range(20):
                await client.call(MANAGER, "net.mpathd.Manager", "GetServices")
            return client.signals

    assert asyncio.run(play()) == []
