"""The order of services over the bus: changed, told, and refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bus.client import MANAGER, SERVICES, Client, Refused
from bus.harness import CABLE, SECOND, TUNNEL, Scene
from mpathd.model.errors import NotApplied

FACE = "net.mpathd.Manager"
ERROR = "net.mpathd.Error."


async def order(client: Client) -> list[str]:
    """The identifiers in the order in which they are given."""
    return [path.removeprefix(SERVICES) for path, _ in await client.call(MANAGER, FACE, "GetServices")]


def test_a_service_goes_before_or_behind_another(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as client:
            assert await order(client) == [CABLE.id, SECOND.id, TUNNEL.id]
            await client.call(MANAGER, FACE, "MoveBefore", "oo", SERVICES + TUNNEL.id, SERVICES + CABLE.id)
            assert await order(client) == [TUNNEL.id, CABLE.id, SECOND.id]
            await client.call(MANAGER, FACE, "MoveAfter", "oo", SERVICES + TUNNEL.id, SERVICES + CABLE.id)
            assert await order(client) == [CABLE.id, TUNNEL.id, SECOND.id]
            passes = await client.heard(lambda signals: [one for one in signals if one.member == "Pass"][1:])
            assert passes[0].body[0]["Reasons"].value == ["order"]

    asyncio.run(play())
    assert scene.agent.asked == [("move before", TUNNEL.id, CABLE.id), ("move after", TUNNEL.id, CABLE.id)]


@pytest.mark.parametrize("method", ["MoveBefore", "MoveAfter"])
@pytest.mark.parametrize(
    ("service", "other", "error", "text"),
    [
        ("eth7", CABLE.id, "NotFound", f"no service at '{SERVICES}eth7'\n  services here: {SERVICES}{CABLE.id}, "),
        (CABLE.id, "eth7", "NotFound", f"no service at '{SERVICES}eth7'\n  services here: {SERVICES}{CABLE.id}, "),
        (CABLE.id, CABLE.id, "InvalidArguments", "cannot stand before itself"),
    ],
)
def test_what_cannot_be(scene: Scene, method: str, service: str, other: str, error: str, text: str) -> None:
    async def play() -> Any:
        async with Client(scene.address) as client:
            with pytest.raises(Refused) as caught:
                await client.call(MANAGER, FACE, method, "oo", SERVICES + service, SERVICES + other)
            assert await order(client) == [CABLE.id, SECOND.id, TUNNEL.id]
            return caught.value

    told = asyncio.run(play())
    assert told.name == ERROR + error
    assert text in told.text


def test_a_session_is_no_service(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as client:
            path = await client.call(MANAGER, FACE, "CreateSession", "a{sv}o", {}, "/a")
            with pytest.raises(Refused, match="NotFound"):
                await client.call(MANAGER, FACE, "MoveBefore", "oo", path, SERVICES + CABLE.id)

    asyncio.run(play())


def test_what_the_kernel_refuses_is_told(scene: Scene) -> None:
    scene.agent.failure = NotApplied("saved, but the kernel refused 1 of 2 steps")

    async def play() -> None:
        async with Client(scene.address) as client:
            with pytest.raises(Refused, match=r"NotApplied: saved, but the kernel refused 1 of 2"):
                await client.call(MANAGER, FACE, "MoveAfter", "oo", SERVICES + CABLE.id, SERVICES + SECOND.id)

    asyncio.run(play())
