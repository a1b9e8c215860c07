"""Each sender is answered in its order; nobody waits for another; a flood starves nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bus.client import MANAGER, PROPERTIES, SERVICES, Client, Refused
from bus.harness import CABLE, SECOND, Scene
from mpathd import codec
from mpathd.bus import wire
from mpathd.bus.senders import WAITING
from mpathd.bus.wire import Wire

SERVICE = "net.mpathd.Service"
AT = SERVICES + CABLE.id


def test_answers_come_in_the_order_of_the_calls(scene: Scene) -> None:
    async def play() -> list[int]:
        order: list[int] = []

        async def one(client: Client, number: int) -> None:
            if number % 3:
                await client.get(AT, SERVICE, "State")
            else:
                await client.set(AT, SERVICE, "AutoConnect", "b", value=bool(number % 2))
            order.append(number)

        async with Client(scene.address) as client, asyncio.TaskGroup() as group:
            for number in range(60):
                group.create_task(one(client, number))
        return order

    assert asyncio.run(play()) == list(range(60))
    assert [edit.values["autoconnect"] for edit in scene.agent.edits] == [False, True] * 10


def test_a_slow_change_holds_up_its_sender_only(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as slow, Client(scene.address) as other:
            async with asyncio.TaskGroup() as group:
                first = group.create_task(slow.set(AT, SERVICE, "AutoConnect", "b", value=False))
                second = group.create_task(slow.get(AT, SERVICE, "AutoConnect"))
                for _ in range(20):
                    assert await other.get(AT, SERVICE, "AutoConnect") is True
                assert not first.done()
                assert not second.done()
                scene.loop.call_soon_threadsafe(scene.agent.open.set)
            assert second.result() is False

    scene.loop.call_soon_threadsafe(scene.agent.open.clear)
    asyncio.run(play())


def test_calls_that_wait_are_bounded(scene: Scene) -> None:
    extra = 20

    async def play() -> list[Any]:
        async with Client(scene.address) as flooder, Client(scene.address) as other:
            calls = []
            for _ in range(WAITING + extra):
                calls.append(asyncio.ensure_future(_set(flooder)))
                await other.get(AT, SERVICE, "State")  # answered all the while
            await asyncio.wait(calls[WAITING:], timeout=5)
            scene.loop.call_soon_threadsafe(scene.agent.open.set)
            return await asyncio.gather(*calls, return_exceptions=True)

    scene.loop.call_soon_threadsafe(scene.agent.open.clear)
    answers = asyncio.run(play())
    assert answers[:WAITING] == [None] * WAITING
    assert {answer.name for answer in answers[WAITING:]} == {"net.mpathd.Error.LimitsExceeded"}
    assert len(scene.agent.edits) == WAITING


async def _set(client: Client) -> None:
    await client.set(AT, SERVICE, "AutoConnect", "b", value=True)


def test_after_a_flood_of_calls_that_want_no_answer(scene: Scene) -> None:
    async def play() -> None:
        sender = await Wire.open(scene.address)
        fields = {
            codec.DESTINATION: "net.mpathd",
            codec.PATH: AT,
            codec.INTERFACE: PROPERTIES,
            codec.MEMBER: "GetAll",
            codec.SIGNATURE: "s",
        }
        for _ in range(2000):
            sender.send(codec.Message(codec.Kind.CALL, 0, fields, [SERVICE], codec.NO_ANSWER))
        await sender.drained()
        async with Client(scene.address) as other:  # stands behind the flood in the bus's own queue
            assert await other.get(AT, SERVICE, "State") == "ready"
        sender.close("enough")

    asyncio.run(play())


@pytest.mark.parametrize("size", [wire.LONGEST, 20_000_000])
def test_a_huge_message_is_refused_unread(scene: Scene, size: int) -> None:
    async def play() -> Refused:
        async with Client(scene.address) as client:
            with pytest.raises(Refused) as caught:
                await client.call(MANAGER, "org.freedesktop.DBus.Peer", "Ping", "s", "x" * size)
            assert await client.get(SERVICES + SECOND.id, SERVICE, "Type") == "ethernet"
            return caught.value

    refused = asyncio.run(play())
    assert refused.name == "org.freedesktop.DBus.Error.LimitsExceeded"
    assert refused.text.endswith(f"at most {wire.LONGEST} are taken")
