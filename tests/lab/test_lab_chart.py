"""The chart, and the arithmetic behind it, without any lab."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from labkit.chart import LETTER, Chart, Event, Line, Span, rows, ticks
from labkit.meter import Count, Sample, read
from labkit.series import Point, arrived, carried, mean, rates, recovery, silence
from labkit.stream import Arrival

SVG = "{http://www.w3.org/2000/svg}"


def steady(rate: float, count: int = 20, step: float = 0.1) -> tuple[Point, ...]:
    """A line that stays where it is."""
    return tuple(Point((number + 0.5) * step, rate) for number in range(count))


def chart(**more: object) -> Chart:
    """Two links of 10 and 20 Mbit/s, of which the program gets 28."""
    parts: dict[str, object] = {
        "title": "A & B",
        "subtitle": "two <links>",
        "total": Line("program", steady(28.0)),
        "links": (Line("up1", steady(10.0), "2.5 MB"), Line("up2", steady(20.0), "5 MB")),
        "events": (Event(1.0, "pulled"),),
        "spans": (Span(0.0, 1.0, "before"),),
    }
    return Chart(**{**parts, **more})  # type: ignore[arg-type]


def drawn(what: Chart) -> ET.Element:
    """The picture, read again."""
    return ET.fromstring(what.svg())  # noqa: S314  our own


def places(path: ET.Element) -> list[tuple[float, float]]:
    """The corners of a path."""
    numbers = re.findall(r"-?[\d.]+", path.get("d", ""))
    return [(float(x), float(y)) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]


def test_a_line_for_each_link_at_the_height_of_its_rate() -> None:
    root = drawn(chart())
    first, second = (places(path) for path in root.findall(f".//{SVG}path[@class='link']"))
    floor = [places(path)[0][1] for path in root.findall(f".//{SVG}path[@class='area']")]

    assert len(first) == len(second) == 20
    assert {y for _, y in first} == {first[0][1]}
    assert (floor[0] - first[0][1]) * 2 == pytest.approx(floor[1] - second[0][1])  # one scale for all lanes
    assert all(b[0] > a[0] for a, b in pairwise(first))


def test_the_links_stand_on_each_other_in_the_sum() -> None:
    root = drawn(chart())
    lower, upper = (places(path) for path in root.findall(f".//{SVG}path[@class='band']"))
    total = places(root.findall(f".//{SVG}path[@class='total']")[0])

    assert lower[:20] == upper[:19:-1]  # the second band's floor is the first one's top
    assert upper[0][1] < total[0][1] < lower[0][1]  # 30 on the wire, 28 at the program, 10 by the first


def test_what_it_says() -> None:
    words = ["".join(text.itertext()) for text in drawn(chart()).iter(f"{SVG}text")]

    for word in ("A & B", "two <links>", "program", "up1", "2.5 MB", "Mbit/s", "seconds since the start", "before"):
        assert word in words
    assert "pulled" in words


def test_an_event_is_where_it_happened_and_crosses_all_lanes() -> None:
    root = drawn(chart())
    (event,) = root.findall(f".//{SVG}line[@class='event']")
    lanes = [places(path) for path in root.findall(f".//{SVG}path[@class='link']")]
    before, after = lanes[0][9][0], lanes[0][10][0]

    assert before < float(event.get("x1", 0)) < after
    assert float(event.get("y2", 0)) >= lanes[1][0][1] > lanes[0][0][1] > float(event.get("y1", 0))


def test_a_burst_above_the_scale_is_told_as_a_number() -> None:
    points = (*steady(28.0, 19), Point(1.95, 250.0))
    root = drawn(chart(total=Line("program", points)))
    words = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    usual = drawn(chart())
    lower, same = ([places(path) for path in one.findall(f".//{SVG}path[@class='band']")] for one in (root, usual))

    assert "250" in words
    assert lower == same  # the links keep their scale


def test_numbers_of_bursts_do_not_cover_each_other() -> None:
    points = (*steady(28.0, 16), Point(1.65, 103.0), Point(1.7, 118.0), Point(1.75, 117.0), Point(1.95, 99.0))
    root = drawn(chart(total=Line("program", points)))
    words = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]

    assert [word for word in words if word in {"103", "118", "117", "99"}] == ["118", "99"], "the highest is told"


def test_a_long_legend_goes_on_below() -> None:
    links = tuple(Line(f"up{number} conference", steady(3.0)) for number in range(1, 9))
    plain, long = drawn(chart()), drawn(chart(links=links))
    names = [text for text in long.iter(f"{SVG}text") if text.text in {line.name for line in links}]
    legend = [(float(text.get("x", 0)), float(text.get("y", 0)), len(text.text or "")) for text in names[:8]]

    assert all(x + LETTER * letters <= 1000 for x, _, letters in legend)
    assert len({y for _, y, _ in legend}) == 2
    tops = [
        min(float(line.get("y1", 0)) for line in root.iter(f"{SVG}line") if line.get("class") == "event")
        for root in (plain, long)
    ]
    assert tops[0] < tops[1], "what stands below moves down"


def test_an_empty_transfer_is_a_picture_too() -> None:
    empty = chart(total=Line("program", ()), links=(Line("up1", ()),), events=(), spans=())

    assert drawn(empty).tag == f"{SVG}svg"


@pytest.mark.parametrize(
    ("top", "about", "wanted"),
    [
        (100.0, 5, (0, 20, 40, 60, 80, 100)),
        (27.0, 2, (0, 20, 40)),
        (0.9, 2, (0, 0.5, 1)),
        (12.0, 10, (0, 2, 4, 6, 8, 10, 12)),
    ],
)
def test_ticks_are_round_and_reach_the_top(top: float, about: int, wanted: tuple[float, ...]) -> None:
    assert ticks(top, about) == pytest.approx(wanted)


def test_labels_of_events_do_not_cover_each_other() -> None:
    events = [Event(at / 2, "something long happened") for at in range(12)]
    scale, width = 150.0, 900.0
    taken: dict[int, list[tuple[float, float]]] = {}
    for event, (row, anchor) in zip(events, rows(events, scale, width), strict=True):
        long = len(event.text) * LETTER
        begin = event.at * scale + 5 if anchor == "start" else event.at * scale - 5 - long
        taken.setdefault(row, []).append((begin, begin + long))

    for spans in taken.values():
        assert all(b[0] >= a[1] for a, b in pairwise(sorted(spans)))
    assert max(end for spans in taken.values() for _, end in spans) <= 1000


def test_rates_of_what_arrived() -> None:
    total = arrived([Arrival(10.0 + number * 0.1, 125_000) for number in range(1, 21)])  # 1 Mbit each

    assert mean(total, 10.05, 12.05) == pytest.approx(10.0)
    assert [point.rate for point in rates(total, 10.05, 11.05, 0.5)] == pytest.approx([10.0, 10.0])
    assert [point.at for point in rates(total, 10.05, 11.05, 0.5)] == pytest.approx([0.25, 0.75])
    assert mean(total, 3.0, 3.0) == 0.0


def test_counters_rise_evenly_between_samples() -> None:
    samples = [Sample(1.0, {"up1": Count(0, 100)}), Sample(2.0, {}), Sample(3.0, {"up1": Count(50, 300)})]

    sent, got = carried(samples, "up1"), carried(samples, "up1", received=True)
    assert [sent(at) for at in (0.0, 1.0, 2.0, 3.0, 9.0)] == [100, 100, 200, 300, 300]
    assert got(2.5) == pytest.approx(37.5)
    assert carried(samples, "up2")(2.0) == 0.0


def test_silence_is_the_longest_one_that_touches_the_window() -> None:
    arrivals = [Arrival(at, 1) for at in (1.0, 1.1, 1.2, 2.0, 2.1, 5.0)]

    assert silence(arrivals, 1.05, 2.05) == pytest.approx(0.8)
    assert silence(arrivals, 1.9, 2.05) == pytest.approx(0.8)  # it began before
    assert silence(arrivals, 2.05, 3.0) == pytest.approx(2.9)  # it ends after
    assert silence(arrivals, 4.9, 9.0) == pytest.approx(4.0)  # nothing came any more
    assert silence([], 1.0, 3.0) == pytest.approx(2.0)


def test_recovery_is_when_the_rate_is_there_again() -> None:
    fast = [Arrival(at / 100, 12_500) for at in range(100)]  # 10 Mbit/s for a second
    slow = [Arrival(1.0 + at / 10, 1_000) for at in range(10)]
    total = arrived([*fast, *slow, *(Arrival(2.0 + at / 100, 12_500) for at in range(100))])

    assert recovery(total, 1.0, 3.0, 9.0) == pytest.approx(1.0, abs=0.05)
    assert recovery(total, 0.1, 0.8, 9.0) == 0.0  # it never went
    assert recovery(total, 1.0, 2.0, 9.0) == pytest.approx(1.0)  # it did not come


def test_counters_as_the_kernel_prints_them() -> None:
    text = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
   up1: 4294967296    7    0    0    0     0          0         0     1234      9    0    0    0     0       0          0
"""  # noqa: E501  the kernel's

    assert read(text, frozenset({"up1", "up2"})) == {"up1": Count(4294967296, 1234)}
