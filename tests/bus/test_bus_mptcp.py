"""MPTCP on the bus: connections, who may see whose, events, backend and counters."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import Any

import pytest

from bus.client import MANAGER, Client, Refused, plain, tool
from bus.harness import CABLE, SECOND, Scene
from bus.seen import FALLEN, FAR, NEAR, TRANSFER
from mpathd.model.mptcp import Event, Kind
from mpathd.model.sight import MOST, USUAL, EventSeen, Sight

MPTCP = "net.mpathd.Mptcp"
NOBODY = 65534


def asked(scene: Scene, most: int = 0) -> Any:
    """What GetConnections gives, without variants."""

    async def play() -> Any:
        async with Client(scene.address) as client:
            return plain(await client.call(MANAGER, MPTCP, "GetConnections", "u", most))

    return asyncio.run(play())


def test_connections_with_their_subflows(scene: Scene) -> None:
    (fallen, transfer), total, seconds = asked(scene)

    assert (total, seconds) == (2, 0.5)
    assert transfer | {"Subflows": [], "Processes": []} == {
        "Token": 0x7D3A01FF, "Source": NEAR, "SourcePort": 47920, "Destination": FAR, "DestinationPort": 5201,
        "State": "established", "Fallback": False, "Session": "video", "Mark": 0x10000, "User": 1000,
        "Processes": [], "Service": CABLE.id, "Interface": "vethc1", "BytesSent": 12_600_000, "BytesAcked": 12_582_912,
        "BytesReceived": 2048, "BytesRetransmitted": 0, "BitsOutPerSecond": 24.5e6, "BitsInPerSecond": 800.0,
        "ExtraSubflows": 1, "ExtraSubflowsMax": 8, "Cookie": 7, "Subflows": [],
    }  # fmt: skip
    first, second = transfer["Subflows"]
    assert (first["Service"], first["RoundTrip"], first["Retransmissions"]) == (CABLE.id, 1250, 1)
    assert (first["Age"], first["AgeAtLeast"], first["Backup"], first["Joined"]) == (65.0, False, False, False)
    assert (second["Service"], second["Interface"], second["LocalId"]) == (SECOND.id, "vethc2", 2)
    assert (second["Age"], second["AgeAtLeast"], second["Backup"], second["Joined"]) == (12.0, True, True, True)
    assert (fallen["Fallback"], fallen["Subflows"], fallen["Session"]) == (True, [], "")
    assert "BitsOutPerSecond" not in fallen


def test_as_many_as_are_wanted(scene: Scene) -> None:
    assert [len(asked(scene, most)[0]) for most in (1, 0, MOST)] == [1, 2, 2]
    assert scene.agent.seeing.asked == [1, USUAL, MOST]
    with pytest.raises(Refused, match=f"most is {MOST + 1}, and at most {MOST} connections") as refused:
        asked(scene, MOST + 1)
    assert refused.value.name == "net.mpathd.Error.InvalidArguments"
    assert len(scene.agent.seeing.asked) == 3


def test_the_biggest_answer_goes_through(scene: Scene) -> None:
    """Eight subflows each, which is the most that the kernel makes."""
    crowd = replace(TRANSFER, subflows=TRANSFER.subflows * 4)
    scene.agent.seeing.sight = Sight((crowd,) * MOST, 12_345, 1.0)
    connections, total, _ = asked(scene, MOST)

    assert (len(connections), total) == (MOST, 12_345)
    assert {len(one["Subflows"]) for one in connections} == {8}


@pytest.mark.kernel
def test_processes_are_shown_as_proc_shows_them(scene: Scene) -> None:
    """Root sees all, others their own."""
    mine = {"Pid": os.getpid(), "Name": "iperf3"}
    assert asked(scene)[0][1]["Processes"] == [mine, {"Pid": 1, "Name": "root's own"}, {"Pid": 2, "Name": "a user's"}]
    words = ("call", "net.mpathd", MANAGER, MPTCP, "GetConnections", "u", "0")
    said = tool(scene, "busctl", "--address=ADDRESS", "--json=short", *words, uid=NOBODY)

    assert "a user's" in said
    assert "iperf3" not in said
    assert "root's own" not in said
    assert '"Session":{"type":"s","data":"video"}' in said


def test_events_are_told_in_words(scene: Scene) -> None:
    whole = Event(Kind.SUB_CLOSED, 7, NEAR, 1, FAR, 2, local=3, remote=0, backup=False, error=104, index=23)
    told = (EventSeen(whole, "7 subflow closed", "vethc1"), EventSeen(None, "lost"), EventSeen(Event(Kind.OTHER), "?"))

    async def play() -> list[tuple[str, Any]]:
        async with Client(scene.address) as client:
            scene.loop.call_soon_threadsafe(scene.agent.hear, *told)
            heard = await client.heard(lambda signals: signals if len(signals) >= 3 else [])
            return [(one.member, plain(one.body)) for one in heard if one.interface == MPTCP]

    assert asyncio.run(play()) == [
        (
            "Event",
            [
                {
                    "Text": "7 subflow closed", "Kind": "sub-closed", "Token": 7, "Source": NEAR, "SourcePort": 1,
                    "Destination": FAR, "DestinationPort": 2, "LocalId": 3, "RemoteId": 0, "Backup": False,
                    "Error": "ECONNRESET", "Interface": "vethc1", "Accepted": False,
                }
            ],
        ),
        ("EventsLost", []),
        ("Event", [{"Text": "?", "Kind": "other", "Accepted": False}]),
    ]  # fmt: skip


def test_backend_and_counters_are_as_they_are_when_asked(scene: Scene) -> None:
    async def play() -> tuple[Any, Any]:
        async with Client(scene.address) as client:
            before = plain(await client.call(MANAGER, "org.freedesktop.DBus.Properties", "GetAll", "s", MPTCP))
            scene.agent.seeing.missing = "MPTCP is switched off"
            scene.agent.seeing.counts = {"MPJoinSynTx": 2}
            after = plain(await client.call(MANAGER, "org.freedesktop.DBus.Properties", "GetAll", "s", MPTCP))
            await asyncio.to_thread(scene.do, scene.agent.show(CABLE))
            await client.heard(lambda signals: [one for one in signals if one.member == "Pass"])
            assert not [one for one in client.signals if one.member == "PropertiesChanged" and one.body[0] == MPTCP]
            return before, after

    before, after = asyncio.run(play())
    assert before == {"Backend": "upstream", "Missing": "", "Counters": {"MPCapableSYNTX": 3, "MPJoinSynTx": 1}}
    assert after == {"Backend": "upstream", "Missing": "MPTCP is switched off", "Counters": {"MPJoinSynTx": 2}}


def test_what_nobody_can_set(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as client:
            await client.set(MANAGER, MPTCP, "Backend", "s", "none")

    with pytest.raises(Refused, match="cannot be set"):
        asyncio.run(play())
    assert FALLEN in scene.agent.seeing.sight.connections
