"""What `session stats` writes, to the letter."""

from __future__ import annotations

from typing import Any

import pytest

from mpathd.ctl import stats
from mpathd.ctl.client import Session
from mpathd.ctl.screen import cut

VIDEO = Session("/net/mpathd/session/named/video", {})
PLAIN = {"PacketsIn": 7, "BytesIn": 5000, "PacketsOut": 10, "BytesOut": 1_500_000}
FOUND: dict[str, Any] = {
    **PLAIN,
    "PacketsDropped": 2,
    "BytesDropped": 120,
    "Services": [
        {"Service": "ethernet_a_cable", "Interface": "vethc1", **PLAIN},
        {"Service": "wifi_b", "Interface": "", "PacketsIn": 0, "BytesIn": 0, "PacketsOut": 0, "BytesOut": 0},
    ],
}


def later(more_in: int, more_out: int) -> dict[str, Any]:
    """The counters after more bytes."""
    return {**FOUND, "BytesIn": FOUND["BytesIn"] + more_in, "BytesOut": FOUND["BytesOut"] + more_out}


def test_a_table_of_all_and_of_each_service() -> None:
    assert "\n".join(stats.table(stats.counts(VIDEO, FOUND, 1.0, stats.Rates()))) == (
        "SESSION  INTERFACE      IN     OUT  PACKETS-IN  PACKETS-OUT  DROPPED  SERVICE\n"
        "video    -          4.9KiB  1.4MiB           7           10        2  total\n"
        "video    vethc1     4.9KiB  1.4MiB           7           10        -  ethernet_a_cable\n"
        "video    -              0B      0B           0            0        -  wifi_b"
    )


def test_rates_are_what_came_since_the_last_time() -> None:
    rates = stats.Rates()
    first = list(stats.counts(VIDEO, FOUND, 10.0, rates))
    second = list(stats.counts(VIDEO, later(3000, 500), 12.0, rates))

    assert [row.rate for row in first] == [None] * 3
    assert [row.rate for row in second] == [stats.Rate(1500.0, 250.0), stats.Rate(0.0, 0.0), stats.Rate(0.0, 0.0)]
    assert stats.table(second, stats.RATED)[:2] == [
        "SESSION  INTERFACE      IN    IN/S     OUT  OUT/S  PACKETS-IN  PACKETS-OUT  DROPPED  SERVICE",
        "video    -          7.8KiB  1.5KiB  1.4MiB   250B           7           10        2  total",
    ]


def test_there_is_no_rate_where_counters_begin_anew() -> None:
    rates = stats.Rates()
    list(stats.counts(VIDEO, FOUND, 10.0, rates))

    assert next(stats.counts(VIDEO, later(-1, 0), 11.0, rates)).rate is None
    assert next(stats.counts(VIDEO, later(0, 0), 11.0, rates)).rate is None, "no time has passed"
    assert next(stats.counts(VIDEO, later(10, 0), 12.0, rates)).rate == stats.Rate(10.0, 0.0)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1.0KiB"),
        (1023 * 1024, "1.0MiB"),
        (5 * 1024**3, "5.0GiB"),
        (2**64 - 1, "16.0EiB"),
    ],
)
def test_sizes_take_six_letters_or_fewer(number: int, text: str) -> None:
    assert stats.size(number) == text


def test_no_size_is_longer_than_its_column() -> None:
    for power in range(64):
        for number in (2**power - 1, 2**power, 2**power + 1):
            assert len(stats.size(number)) <= 8


def test_lines_stand_under_their_heading() -> None:
    line = stats.line(stats.cells(next(stats.counts(VIDEO, FOUND, 1.0, stats.Rates()))), "12:04:31.271")

    assert line.startswith("12:04:31.271  video ")
    assert stats.heading().startswith("TIME          SESSION ")
    assert line.index("total") == stats.heading().index("SERVICE")
    assert line[: line.index("1.4MiB") + 6] == line[: stats.heading().index("OUT") + 3]


def test_on_a_narrow_terminal_columns_are_left_out_whole() -> None:
    found = list(stats.counts(VIDEO, FOUND, 1.0, stats.Rates()))

    assert stats.table(found, stats.RATED, 200) == stats.table(found, stats.RATED)
    narrow = stats.table(found, stats.RATED, 50)
    assert narrow[0].split() == ["SESSION", "INTERFACE", "IN", "IN/S", "OUT", "OUT/S"]
    assert all(len(line) <= 50 for line in narrow)


def test_a_name_is_no_command_to_the_terminal() -> None:
    rows = stats.table(stats.counts(Session("/x", {"Identifier": "a\x1b[2J"}), FOUND, 1.0, stats.Rates()))

    assert "\x1b" not in "".join(rows)


def test_for_programs() -> None:
    rates = stats.Rates()
    list(stats.counts(VIDEO, FOUND, 1.0, rates))
    found = later(100, 0)
    known = list(stats.counts(VIDEO, found, 3.0, rates))

    assert stats.record(VIDEO, FOUND) == {"Session": "video", "Path": VIDEO.path, **FOUND}
    rated = stats.rated(VIDEO, found, known, "2026-01-01T00:00:00.000+0000")
    assert (rated["Time"], rated["Session"]) == ("2026-01-01T00:00:00.000+0000", "video")
    assert (rated["BytesIn"], rated["BytesInPerSecond"], rated["BytesOutPerSecond"]) == (5100, 50.0, 0.0)
    assert rated["Services"][0] == {**FOUND["Services"][0], "BytesInPerSecond": 0.0, "BytesOutPerSecond": 0.0}


def test_a_screen_cuts_what_it_cannot_hold() -> None:
    lines = ["heading", *map(str, range(9))]

    assert cut(lines, 80, 20) == lines
    assert cut(lines, 6, 10) == ["hea...", *lines[1:]], "what is cut does not look like the whole"
    assert cut(lines, 2, 10) == ["..", *lines[1:]]
    assert cut(lines, 80, 4) == ["heading", "0", "1", "... and 7 more"]
    assert cut(lines, 80, 0) == []
