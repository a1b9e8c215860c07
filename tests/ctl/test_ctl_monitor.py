"""mpathctl monitor as a program: what it tells, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
from dataclasses import replace
from typing import Any

from dbus_next import Message, Variant
from dbus_next.aio import MessageBus

from bus.harness import CABLE, REFUSAL, SECOND, TUNNEL, Scene
from ctl.program import Running
from mpathd.bus.native import native_face
from mpathd.model.words import ServiceState


def there(lines: list[str]) -> bool:
    """Whether the monitor listens: it says so only then."""
    return any(" mpathd   is " in line or '"Owner"' in line for line in lines)


def has(text: str) -> Any:
    return lambda lines: any(text in line for line in lines)


def test_it_tells_what_happens_one_line_a_fact(scene: Scene) -> None:
    with Running(scene.address, "monitor") as monitor:
        monitor.wait(there)
        scene.do(
            scene.agent.show(replace(CABLE, state=ServiceState.IDLE), SECOND, reason="link vethc1", refused=(REFUSAL,))
        )
        scene.do(scene.agent.show(replace(CABLE, state=ServiceState.IDLE), SECOND, TUNNEL, steps=()))
        lines = monitor.wait(has("came"))

    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3} \w+ +\S", line) for line in lines)
    told = [line[13:] for line in lines]
    assert told[0].startswith("mpathd   is there (:1.")
    for fact in (
        "pass     1 because link vethc1 (1.2 ms)",
        "add      ip -4 rule add pref 22002 from 10.0.1.2 lookup 278 proto 109",
        "refused  ip -4 route add default via 10.0.1.1 dev vethc1 table 278: Network is unreachable",
        "service  ethernet_36e0bdee6014_cable State = idle",
        "service  vpn_tun0 went",
        "service  vpn_tun0 came: tun0, idle",
    ):
        assert told.count(fact) == 1, fact


def test_it_tells_one_object_a_line(scene: Scene) -> None:
    with Running(scene.address, "monitor", "--json") as monitor:
        monitor.wait(there)
        scene.do(scene.agent.show(replace(CABLE, state=ServiceState.IDLE), SECOND, TUNNEL))
        lines = monitor.wait(has('"add"'))

    records = [json.loads(line) for line in lines]
    assert all(re.fullmatch(r"[\d-]{10}T[\d:]{8}\.\d{3}\+0000", record.pop("Time")) for record in records)
    assert records[0].keys() == {"Event", "Running", "Owner"}
    assert {"Event": "pass", "Number": 1, "Reasons": ["test"], "Milliseconds": 1.25} in records
    assert {
        "Event": "service",
        "Service": CABLE.id,
        "Change": "changed",
        "Property": "State",
        "Value": "idle",
    } in records


def test_it_waits_for_a_daemon_that_goes_and_comes(scene: Scene) -> None:
    with Running(scene.address, "monitor") as monitor:
        monitor.wait(there)
        scene.do(scene.face.stop())
        monitor.wait(has("mpathd   is not there"))

        async def again() -> None:
            face = native_face(scene.agent, scene.address)
            async with asyncio.TaskGroup() as group:
                group.create_task(face.serve())
                await face.tried()
                await scene.agent.show(SECOND, reason="the second life")
                await asyncio.to_thread(monitor.wait, has("because the second life"))
                await face.stop()

        scene.do(again())
        assert [line[13:29] for line in monitor.lines if " mpathd " in line][:3] == [
            "mpathd   is ther",
            "mpathd   is not ",
            "mpathd   is ther",
        ]


def test_a_daemon_that_is_not_there_yet_is_awaited(scene: Scene) -> None:
    scene.do(scene.face.stop())

    with Running(scene.address, "monitor") as monitor:
        assert monitor.wait(there)[0][13:] == "mpathd   is not there"
        monitor.interrupt()
        assert monitor.end().code == 0


def test_ctrl_c_ends_it_cleanly(scene: Scene) -> None:
    with Running(scene.address, "monitor") as monitor:
        monitor.wait(there)
        monitor.interrupt()
        result = monitor.end()

    assert (result.code, result.err) == (0, "")


def test_it_ends_as_soon_as_nobody_reads(scene: Scene) -> None:
    """Although nothing happens that it could tell, and fail to."""
    with Running(scene.address, "monitor") as monitor:
        monitor.wait(there)
        assert monitor.process.stdout is not None
        monitor.process.stdout.close()
        monitor.process.stdout = None
        result = monitor.end()

    assert (result.code, result.err) == (0, "")


def test_a_bus_that_goes_ends_it_with_a_word(scene: Scene) -> None:
    with Running(scene.address, "monitor") as monitor:
        monitor.wait(there)
        scene.bus.kill()
        result = monitor.end()

    assert result.code == 3
    assert result.err.startswith(f"mpathctl: the bus cannot be reached at {scene.address}: it hung up\n")


def test_others_cannot_speak_for_mpathd(scene: Scene) -> None:
    """Anybody may send a signal straight to a program; on some buses any signal at all."""

    async def lie() -> None:
        bus = await MessageBus(bus_address=scene.address).connect()
        names = (await bus.call(_ask("ListNames"))).body[0]
        told = {"Number": Variant("u", 666), "Reasons": Variant("as", ["a lie"])}
        for name in names:
            if name.startswith(":"):
                for path, interface, member, types, body in (
                    ("/net/mpathd", "net.mpathd.Manager", "Pass", "a{sv}", [told]),
                    (
                        "/org/freedesktop/DBus",
                        "org.freedesktop.DBus",
                        "NameOwnerChanged",
                        "sss",
                        ["net.mpathd", "", "x"],
                    ),
                ):
                    signal = Message.new_signal(path, interface, member, types, body)
                    signal.destination = name
                    await bus.send(signal)
        await bus.call(_ask("ListNames"))  # the bus has passed them on
        bus.disconnect()

    with Running(scene.address, "monitor") as monitor:
        monitor.wait(there)
        scene.do(lie())
        scene.do(scene.agent.show(CABLE, reason="the truth"))
        lines = monitor.wait(has("the truth"))

    assert not [line for line in lines if "a lie" in line or "(x)" in line]


def _ask(member: str) -> Message:
    name = "org.freedesktop.DBus"
    return Message(destination=name, path="/org/freedesktop/DBus", interface=name, member=member)


def test_a_terminal_that_goes_ends_it(scene: Scene) -> None:
    ours, theirs = os.openpty()
    with Running(scene.address, "monitor", stdout=theirs) as monitor:
        os.close(theirs)
        said = b""
        while not said.endswith(b")\r\n"):  # the whole line: it may arrive in pieces
            said += os.read(ours, 4096)
        os.close(ours)
        assert monitor.end().code == 0
