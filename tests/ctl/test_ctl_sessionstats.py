"""`session stats` as a program, against mpathd's face with counters that the test writes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from bus.harness import CABLE, Scene
from ctl.carried import Carried
from ctl.program import PATIENCE, Result, Running, run
from mpathd.bus.native import native_face
from mpathd.ctl.stats import HEADINGS, RATED
from mpathd.model.errors import NotFound

FAST = ("--watch", "--interval", "0.1")


def made(scene: Scene, *names: str) -> None:
    for name in names:
        assert run(scene.address, "session", "create", name).code == 0


def stats(scene: Scene, *words: str) -> Result:
    return run(scene.address, "session", "stats", *words)


def has(text: str) -> Any:
    return lambda lines: any(text in line for line in lines)


def test_once(scene: Scene, carried: Carried) -> None:
    made(scene, "video", "backup")
    carried.packets = {"video": (7, 20), "backup": (1, 0)}
    lines = stats(scene).out.splitlines()

    assert lines[0].split() == [*HEADINGS]
    assert [line.split() for line in lines[1:]] == [
        ["video", "-", "700B", "2.0KiB", "7", "20", "3", "total"],
        ["video", "vethc1", "700B", "2.0KiB", "7", "20", "-", CABLE.id],
        ["backup", "-", "100B", "0B", "1", "0", "3", "total"],
        ["backup", "vethc1", "100B", "0B", "1", "0", "-", CABLE.id],
    ]
    assert stats(scene, "backup").out.splitlines()[1:] == [
        "backup   -          100B   0B           1            0        3  total",
        f"backup   vethc1     100B   0B           1            0        -  {CABLE.id}",
    ]


def test_for_programs(scene: Scene, carried: Carried) -> None:
    made(scene, "video")
    carried.packets["video"] = (2, 5)
    whole = json.loads(stats(scene, "video", "--json").out)

    counters = {"PacketsIn": 2, "BytesIn": 200, "PacketsOut": 5, "BytesOut": 500}
    assert whole == {
        "Session": "video",
        "Path": "/net/mpathd/session/named/video",
        **counters,
        "PacketsDropped": 3,
        "BytesDropped": 300,
        "Services": [{"Service": CABLE.id, "Interface": "vethc1", **counters}],
    }
    assert json.loads(stats(scene, "--json").out) == [whole]


def test_without_sessions(scene: Scene, carried: Carried) -> None:
    assert stats(scene) == Result(0, "", "")
    assert json.loads(stats(scene, "--json").out) == []
    assert carried.asked == 0


@pytest.mark.parametrize("more", [(), ("--json",), ("--watch",)])
def test_a_name_that_is_not_there(scene: Scene, carried: Carried, more: tuple[str, ...]) -> None:
    made(scene, "video")

    assert stats(scene, "vid", *more) == Result(1, "", "mpathctl: no session called 'vid'\n  sessions here: video\n")
    assert carried.asked == 0


def test_a_session_that_ends_while_all_are_asked_is_left_out(scene: Scene, carried: Carried) -> None:
    made(scene, "video")
    carried.refusals["Stats"] = NotFound("no session called 'video'", "sessions here: none")

    assert stats(scene) == Result(0, "", "")
    assert stats(scene, "video").code == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--interval", "1"), "--interval without --watch"),
        (("--watch", "--interval", "0"), "cannot be '0'"),
        (("--watch", "--interval=-1"), "cannot be '-1'"),
        (("--watch", "--interval", "nan"), "cannot be 'nan'"),
        (("--watch", "--interval", "soon"), "cannot be 'soon'"),
        (("--watch", "--interval", "1e9"), "expected seconds from 0.1 to 3600"),
        (("--watch", "--interval="), "cannot be ''"),
        (("a", "b"), "'b' is one word too many"),
    ],
)
def test_a_line_without_sense_is_found_before_anybody_is_asked(words: tuple[str, ...], said: str) -> None:
    result = run("unix:path=/nonexistent", "session", "stats", *words)

    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_watch_writes_a_line_for_each_at_its_pace(scene: Scene, carried: Carried) -> None:
    made(scene, "video")
    began = time.monotonic()
    with Running(scene.address, "session", "stats", "video", *FAST) as watch:
        watch.wait(lambda lines: len(lines) >= 3)
        carried.packets["video"] = (50, 0)
        watch.wait(has(" 4.9KiB "))
        watch.wait(lambda lines: len(lines) >= 11)
        watch.interrupt()
        assert watch.end().code == 0
    took = time.monotonic() - began

    heading, first, *rest = [line.split() for line in watch.lines]
    assert heading == ["TIME", *RATED]
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", words[0]) for words in (first, *rest))
    assert first[1:] == ["video", "-", "0B", "-", "0B", "-", "0", "0", "3", "total"]
    jump = next(words for words in rest if words[3] == "4.9KiB")
    assert jump[4] not in {"-", "0B"}, "a rate"
    assert carried.asked <= took / 0.1 + 1, "not asked more often than wanted"


def test_watch_gives_no_rates_of_a_moment_at_first(scene: Scene, carried: Carried) -> None:
    """The first reading has nothing to be compared with, whether or not a session was named."""
    made(scene, "video")
    for words in ((), ("video",)):
        with Running(scene.address, "session", "stats", *words, *FAST) as watch:
            lines = [line.split() for line in watch.wait(lambda lines: len(lines) >= 5)]
        assert [line[4] for line in lines[1:5]] == ["-", "-", "0B", "0B"]
    assert carried.asked >= 4


def test_watch_for_programs(scene: Scene, carried: Carried) -> None:
    made(scene, "video")
    with Running(scene.address, "session", "stats", *FAST, "--json") as watch:
        watch.wait(lambda lines: len(lines) >= 1)
        carried.packets["video"] = (0, 9)
        lines = watch.wait(has('"PacketsOut": 9'))

    first, *_, last = map(json.loads, lines)
    assert (first["Session"], first["PacketsOut"]) == ("video", 0)
    assert "BytesOutPerSecond" not in first
    assert last["BytesOutPerSecond"] > 0
    assert last["Services"][0]["BytesOutPerSecond"] > 0
    assert re.fullmatch(r"[\d-]{10}T[\d:]{8}\.\d{3}\+0000", last["Time"])


def test_watch_ends_as_soon_as_nobody_reads(scene: Scene, carried: Carried) -> None:
    """Long before the next reading."""
    made(scene, "video")
    with Running(scene.address, "session", "stats", "--watch", "--interval", "3600") as watch:
        watch.wait(lambda lines: len(lines) == 3)
        assert watch.process.stdout is not None
        watch.process.stdout.close()
        watch.process.stdout = None
        result = watch.end()

    assert (result.code, result.err) == (0, "")
    assert carried.asked == 1


def test_watch_goes_on_when_the_session_comes_again(scene: Scene, carried: Carried) -> None:
    made(scene, "video")
    with Running(scene.address, "session", "stats", "video", *FAST) as watch:
        watch.wait(has(" total"))
        assert run(scene.address, "session", "destroy", "video").code == 0
        watch.wait(has("  no session called 'video'"))
        made(scene, "video")
        lines = watch.wait(lambda lines: "no session" not in lines[-1])

    assert sum("no session" in line for line in lines) == 1, "said once"
    assert carried.asked >= 2


def test_watch_goes_on_when_mpathd_comes_again(scene: Scene, carried: Carried) -> None:
    made(scene, "video")
    with Running(scene.address, "session", "stats", *FAST) as watch:
        watch.wait(has(" total"))
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
    assert carried.asked >= 2


def test_a_bus_that_goes_ends_it_with_a_word(scene: Scene, carried: Carried) -> None:
    made(scene, "video")
    with Running(scene.address, "session", "stats", *FAST) as watch:
        watch.wait(has(" total"))
        scene.bus.kill()
        result = watch.end()

    assert result.code == 3
    assert "the bus cannot be reached" in result.err
    assert carried.asked >= 1


def screen(terminal: int, wanted: Callable[[bytes], bool]) -> bytes:
    """Read what a terminal is sent until it is enough."""
    said = b""
    until = time.monotonic() + PATIENCE
    while not wanted(said):
        assert time.monotonic() < until, said
        said += os.read(terminal, 4096)
    return said


def test_a_terminal_is_drawn_over(scene: Scene, carried: Carried, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    made(scene, "video")
    ours, theirs = os.openpty()
    with Running(scene.address, "session", "stats", *FAST, stdout=theirs) as watch:
        os.close(theirs)
        said = screen(ours, lambda said: said.count(b"\033[J") >= 3)
        watch.interrupt()
        assert watch.process.wait(PATIENCE) == 0
    os.close(ours)

    frames = said.split(b"\033[H")
    assert frames[0] == b"\r\n" * 24, "what was there is scrolled up, once"
    assert all(frame.count(b"\r\n") == 3 for frame in frames[1:4]), "a heading, all, and the one service"
    assert frames[1].startswith(b"\033[KSESSION "), "erased before, or a full line loses its last letter"
    assert carried.asked >= 3


def test_a_terminal_that_cannot_be_drawn_over_gets_lines(
    scene: Scene, carried: Carried, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    made(scene, "video")
    ours, theirs = os.openpty()
    with Running(scene.address, "session", "stats", *FAST, stdout=theirs) as watch:
        os.close(theirs)
        said = screen(ours, lambda said: said.count(b" total\r\n") >= 2)
        watch.interrupt()
        assert watch.process.wait(PATIENCE) == 0
    os.close(ours)

    assert b"\033" not in said
    assert carried.asked >= 2
