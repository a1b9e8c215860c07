"""`mptcp` and `mptcp monitor` as programs, against mpathd's face with connections that the test makes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from typing import Any

import pytest

from bus.harness import CABLE, Scene
from bus.seen import FALLEN
from ctl.program import PATIENCE, Result, Running, run
from mpathd.bus.native import MANAGER, native_face
from mpathd.model.mptcp import Event, Kind
from mpathd.model.sight import MOST, USUAL, EventSeen, Sight

FAST = ("--watch", "--interval", "0.1")
NOWHERE = "unix:path=/nonexistent"


def mptcp(scene: Scene, *words: str) -> Result:
    return run(scene.address, "mptcp", *words)


def has(text: str) -> Any:
    return lambda lines: any(text in line for line in lines)


def told(scene: Scene, *events: EventSeen) -> None:
    scene.loop.call_soon_threadsafe(scene.agent.hear, *events)


def test_once(scene: Scene) -> None:
    result = mptcp(scene)

    assert (result.code, result.err) == (0, "")
    processes = f"iperf3 ({os.getpid()})" + (", root's own (1), a user's (2)" if os.getuid() == 0 else "")
    assert result.out.splitlines() == [
        "2 connections, 2 subflows",
        "vethc1 24.5Mbit/s out 800bit/s in, vethc2 0bit/s out 0bit/s in",
        "  LINK    STATE         OUT     OUT/S      IN    IN/S     RTT  RESENT   AGE  FROM",
        "10.0.2.2:40500 > 192.0.2.9:80",
        "  vethc2  fallback       0B         -      0B       -       -       -     -  10.0.2.2:40500",
        f"10.0.1.2:47920 > 192.0.2.9:5201, session video, {processes}",
        "  all     estab     12.0MiB  24.5Mbit  2.0KiB  800bit       -       -     -  -",
        "  vethc1  estab     12.0MiB  24.5Mbit  2.0KiB  800bit  1.25ms       1   65s  10.0.1.2:47920",
        "  vethc2  estab/b        0B      0bit      0B    0bit    30ms       0  >12s  10.0.2.2:40001",
    ]
    assert scene.agent.seeing.asked == [MOST, MOST], "two looks give the speed between them"


def test_for_programs(scene: Scene) -> None:
    found = json.loads(mptcp(scene, "--json").out)

    assert {name: found[name] for name in ("Missing", "Total", "Seconds")} == {
        "Missing": "",
        "Total": 2,
        "Seconds": 0.5,
    }
    fallen, transfer = found["Connections"]
    assert (fallen["Fallback"], transfer["Session"], transfer["Subflows"][1]["Backup"]) == (True, "video", True)


def test_without_connections_it_looks_once(scene: Scene) -> None:
    scene.agent.seeing.sight = Sight()
    scene.agent.seeing.missing = "MPTCP is switched off (sysctl -w net.mptcp.enabled=1)"

    assert mptcp(scene).out == (
        "MPTCP cannot be used: MPTCP is switched off (sysctl -w net.mptcp.enabled=1)\n0 connections, 0 subflows\n"
    )
    assert scene.agent.seeing.asked == [MOST]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--interval", "1"), "mptcp: --interval without --watch"),
        (("--watch", "--interval", "0"), "cannot be '0'"),
        (("--watch", "--interval", "soon"), "expected seconds from 0.1 to 3600"),
        (("off",), "no command called 'mptcp off'"),
        (("exec",), "COMMAND is missing"),
    ],
)
def test_a_line_without_sense_is_found_before_anybody_is_asked(words: tuple[str, ...], said: str) -> None:
    result = run(NOWHERE, "mptcp", *words)

    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_watch_writes_each_look_behind_the_time(scene: Scene) -> None:
    began = time.monotonic()
    with Running(scene.address, "mptcp", *FAST) as watch:
        watch.wait(has("2 connections"))
        scene.agent.seeing.sight = Sight((FALLEN,), 7000)
        lines = watch.wait(has("7000 connections, 0 subflows of the 1"))
        watch.interrupt()
        assert watch.end().code == 0

    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3}  \S|\d\d:\d\d:\d\d\.\d{3}    \S", line) for line in lines)
    assert set(scene.agent.seeing.asked) == {USUAL}
    assert len(scene.agent.seeing.asked) <= (time.monotonic() - began) / 0.1 + 1, "not more often than wanted"


def test_watch_for_programs(scene: Scene) -> None:
    with Running(scene.address, "mptcp", *FAST, "--json") as watch:
        lines = watch.wait(lambda lines: len(lines) >= 2)

    for record in map(json.loads, lines):
        assert re.fullmatch(r"[\d-]{10}T[\d:]{8}\.\d{3}\+0000", record["Time"])
        assert len(record["Connections"]) == record["Total"] == 2


def test_watch_ends_as_soon_as_nobody_reads(scene: Scene) -> None:
    with Running(scene.address, "mptcp", "--watch", "--interval", "3600") as watch:
        watch.wait(has("192.0.2.9"))
        assert watch.process.stdout is not None
        watch.process.stdout.close()
        watch.process.stdout = None
        result = watch.end()

    assert (result.code, result.err) == (0, "")


def test_watch_goes_on_when_mpathd_comes_again(scene: Scene) -> None:
    with Running(scene.address, "mptcp", *FAST) as watch:
        watch.wait(has("2 connections"))
        scene.do(scene.face.stop())
        watch.wait(has("  mpathd is not there"))

        async def again() -> None:
            face = native_face(scene.agent, scene.address)
            async with asyncio.TaskGroup() as group:
                group.create_task(face.serve())
                await face.tried()
                await asyncio.to_thread(watch.wait, lambda lines: "is not there" not in lines[-1])
                await face.stop()

        scene.do(again())
    assert sum("not there" in line for line in watch.lines) >= 1


def test_a_terminal_is_drawn_over(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    said = b""
    until = time.monotonic() + PATIENCE
    with Running(scene.address, "mptcp", *FAST, stdout=theirs) as watch:
        os.close(theirs)
        while said.count(b"\033[J") < 3:
            assert time.monotonic() < until, said
            said += os.read(ours, 4096)
        watch.interrupt()
        assert watch.process.wait(PATIENCE) == 0
        said += os.read(ours, 65536)
    os.close(ours)
    assert said.endswith(b"\033[J\r\n"), "the shell's prompt does not stand behind ^C"

    frames = said.removesuffix(b"\r\n").split(b"\033[H")
    assert frames[0] == b"\r\n" * 24, "what was there is scrolled up, once"
    assert all(frame.count(b"\r\n") == 9 for frame in frames[1:4])
    assert frames[1].startswith(b"\033[K2 connections, 2 subflows")


def test_monitor_tells_events_in_words(scene: Scene) -> None:
    event = EventSeen(Event(Kind.CLOSED, 7), "00000007 connection closed")
    with Running(scene.address, "mptcp", "monitor") as monitor:
        monitor.wait(has(" mpathd   is there (:1."))
        told(scene, event, EventSeen(None, "lost"))
        lines = monitor.wait(has(" lost "))
        monitor.interrupt()
        assert monitor.end().code == 0

    assert lines[1][13:] == "mptcp    00000007 connection closed"
    assert lines[2][13:] == "lost     events, since there were too many; what is: mpathctl mptcp"
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line) for line in lines)


def test_monitor_for_programs(scene: Scene) -> None:
    with Running(scene.address, "mptcp", "monitor", "--json") as monitor:
        monitor.wait(has('"Running": true'))
        told(scene, EventSeen(Event(Kind.CLOSED, 7), "words"))
        last = json.loads(monitor.wait(has('"mptcp"'))[-1])

    assert re.fullmatch(r"[\d-]{10}T[\d:]{8}\.\d{3}\+0000", last.pop("Time"))
    assert last == {"Event": "mptcp", "Text": "words", "Kind": "closed", "Token": 7, "Accepted": False}


def test_monitor_of_all_is_not_troubled_by_events(scene: Scene) -> None:
    with Running(scene.address, "monitor") as monitor:
        monitor.wait(has(" mpathd   is there"))
        told(scene, EventSeen(Event(Kind.CLOSED, 7), "words"))
        scene.do(scene.agent.show(reason="later"))
        lines = monitor.wait(has("because later"))

    assert not has("words")(lines)


def test_an_older_mpathd_is_named(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpathd.bus.native.MPTCP", MANAGER)  # has its other interface only
    scene.do(scene.agent.show(CABLE))
    result = mptcp(scene)

    assert result.code == 1
    assert "mpathd does not know GetConnections: it is older than this mpathctl" in result.err
