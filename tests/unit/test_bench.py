"""The benchmarks can be started, and what they count and print is right; nothing is measured here."""

from __future__ import annotations

import struct
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import flows, stats
from bench.ear import NEWLINK, NEWROUTE, Ear, News
from bench.events import ROUNDS, Player, script, scripts
from bench.idle import switches
from bench.peers import fetch
from bench.peers.endpoints import ENDPOINT
from bench.stage import Answer, Event, Stage, latency
from bench.start1000 import first_pass, objects
from bench.switch import default_of
from mpathd.plan.selectors import parse_all


@pytest.mark.parametrize("name", bench.BENCHES)
def test_every_benchmark_can_be_run(name: str) -> None:
    module = import_module(f"bench.{name}")

    assert name == module.NAME
    assert callable(module.run)


def test_a_wrong_name_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["nonsense"]) == 2

    assert "'nonsense'" in capsys.readouterr().err


def test_it_starts_as_a_module_from_the_clone() -> None:
    argv = [sys.executable, "-m", "tests.bench", "nonsense"]
    done = subprocess.run(argv, cwd=bench.ROOT, capture_output=True, text=True, check=False, timeout=30)

    assert done.returncode == 2
    assert "start1000" in done.stderr


def test_percentiles_are_nearest_ranks() -> None:
    values = [float(number) for number in range(100, 0, -1)]

    assert [stats.percentile(values, share) for share in (0.0, 0.5, 0.9, 0.99, 1.0)] == [1.0, 50.0, 90.0, 99.0, 100.0]
    assert stats.percentile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="no values"):
        stats.percentile([], 0.5)


def test_a_summary_names_the_worst() -> None:
    assert stats.summary([4.0, 1.0, 3.0, 2.0]) == stats.Summary(4, 2.5, 4.0, 4.0, 4.0)
    assert stats.cells(stats.summary([1.0])) == ["1", "1.00", "1.00", "1.00", "1.00"]
    assert stats.cells(stats.summary([])) == ["0", "-", "-", "-", "-"]


def test_figures_have_three_digits() -> None:
    assert [stats.number(value) for value in (0.004, 1.234, 12.34, 123.4, 1234.5)] == [
        "0.00", "1.23", "12.3", "123", "1234",
    ]  # fmt: skip
    assert stats.ratio(3.0, 2.0) == "1.50x"
    assert stats.ratio(3.0, 0.0) == "-"


def test_tables_are_aligned() -> None:
    text = stats.table(["what", "ms", "bar"], [["one", "1.00", ""], ["thousand", "123", "at most 2x"]])

    assert text.splitlines() == ["what        ms  bar", "one       1.00", "thousand   123  at most 2x"]


def test_dry_run_lines_are_sorted_by_family() -> None:
    dry = "# a remark\nip -4 rule add pref 1 from all lookup 9\nip -6 route add default via fd00::1 dev up1 table 9\n"

    assert objects(dry) == {
        "-4": ["rule add pref 1 from all lookup 9"],
        "-6": ["route add default via fd00::1 dev up1 table 9"],
    }


def test_the_newest_first_pass_counts() -> None:
    log = '{"event": "pass", "number": 1, "ms": 5.5, "written": 9}\nnot json\n{"event": "finding"}\n'
    newer = '{"event": "pass", "number": 1, "ms": 7.5, "written": 8}\n{"event": "pass", "number": 2, "ms": 1}\n'

    assert first_pass(log) == (5.5, 9)
    assert first_pass(log + newer) == (7.5, 8)


def test_a_peer_that_cannot_be_fetched_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(fetch.Unavailable, match="no apt-get") as told:
        fetch.unpacked("peer", ["peer"])

    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())


def test_what_is_unpacked_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "peer").mkdir()

    assert fetch.unpacked("peer", ["peer"]) == tmp_path / "peer"


def test_switches_are_read() -> None:
    assert switches("Name:\tx\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n") == (12, 3)


def test_what_an_ear_is_told_it_gives() -> None:
    ear = Ear("nowhere")
    ear.tell(1_000_000, ENDPOINT, 7)

    assert ear.since(0) == [News(1_000_000, ENDPOINT, 7, b"")]
    with pytest.raises(ValueError, match="256"):  # such kinds are others' than rtnetlink's, and mostly not counted
        ear.tell(1_000_000, 256, 7)


def test_latency_is_from_the_first_news_to_the_last_write() -> None:
    world = [News(1_000_000, NEWLINK, 0, b""), News(2_000_000, NEWLINK, 0, b"")]
    written = [News(3_000_000, NEWLINK, 7, b""), News(4_500_000, NEWLINK, 7, b"")]

    assert latency(world, written) == 3.5
    assert latency(world, written, 0) == 2.0
    assert latency(world, []) is None
    assert latency([], written) is None


def test_events_leave_an_uplink_as_it_was() -> None:
    state: set[str] = set()
    for event in script(300, 400):
        match event.line.split():
            case ["addr", "add", *words] | ["route", "add" | "replace", *words]:
                state -= {line for line in state if "replace" in event.line and line.split()[-1] == words[-1]}
                state.add(" ".join(words))
            case ["addr" | "route", "del", *words]:
                state.discard(" ".join(words))
            case _:
                pass

    assert not [line for line in state if line.split()[0].split("/")[0].endswith(".7")]
    assert {line.split()[2] for line in state if line.startswith("default")} == {"10.65.44.1", "fd00:64:12c::1"}
    assert "fd00:64:12c::2/64 dev up300" in state


def test_a_peer_of_ipv4_alone_is_spared_the_rest() -> None:
    played: list[str] = []

    class Still(Stage):
        def __init__(self) -> None: ...

        def play(self, event: Event, dev: str, right: object) -> Answer:
            played.append(f"{dev} {event.line}")
            return Answer(event, None, None, 0, right=True)

    for only4 in (False, True):
        played.clear()
        Player("", ("address added",), "", "", 1, 1, Still(), lambda *_: True, only4=only4).round()

        assert played == [f"up1 addr add {a} dev up1" for a in ("10.64.1.7/24", "fd00:64:1::7/64")[: 2 - only4]]


def test_uplinks_take_turns() -> None:
    events = list(scripts())

    assert len(events) * ROUNDS >= 200
    assert [uplink for uplink, _ in events[:9]] == [*range(1, 9), 1]
    assert {event.kind for _, event in scripts(("carrier lost",))} == {"carrier lost"}


@pytest.mark.parametrize("kind", flows.KINDS)
def test_selectors_are_as_many_as_asked_for_and_the_last_is_the_benchs_own(kind: str) -> None:
    for count in (1, 500):
        texts = flows.KINDS[kind](count)

        assert len(parse_all(texts)) == count
        assert texts[-1] == flows.KINDS[kind](1)[0]
        assert texts == flows.KINDS[kind](count)


def test_connmans_rules_say_what_the_selectors_say() -> None:
    text = flows.rules(["10.64.1.2-192.0.2.9-udp-1-2", "*-198.18.0.0/24-tcp-*-80:90"])

    one = "-A connman-OUTPUT --source 10.64.1.2 --destination 192.0.2.9 --protocol udp -m udp --sport 1 --dport 2"
    other = "-A connman-OUTPUT --destination 198.18.0.0/24 --protocol tcp -m tcp --dport 80:90"
    assert text.splitlines()[3:5] == [f"{line} -j MARK --set-mark 0x100" for line in (one, other)]


def test_a_new_default_route_is_told_by_its_table_and_link() -> None:
    head = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 0, 109, 0, 1, 0)
    link, whole = struct.pack("=HHI", 8, 4, 7), struct.pack("=HHI", 8, 15, 0x10000)

    assert default_of(News(1, NEWROUTE, 9, head + link + whole)) == (0x10000, 7)
    assert default_of(News(1, NEWROUTE, 9, b"\x02\x18" + head[2:] + link + whole)) is None
    assert default_of(News(1, NEWLINK, 9, head + link + whole)) is None
