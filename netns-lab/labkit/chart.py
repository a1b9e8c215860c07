"""Draws throughput over time as SVG: the sum on top, a lane for each link below, events across both."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from .series import Point

WIDTH, LEFT, RIGHT = 1000, 74, 96
TOP, TALL, LANE, GAP, FOOT = 98, 250, 52, 16, 52
ROW = 17  # height of a row of event labels
HEAD = 1.3  # of the highest sum: room for what is said about the curves
LETTER = 6.4  # mean width of a letter at 12 px
APART = 30.0  # pixels between two numbers of bursts
COLOURS = ("#2f6fb3", "#e59a2f", "#2a9d7c", "#c65b8f", "#7a6bc4", "#5db2d8", "#cf5a36", "#8d8d3a", "#7d7d7d")
INK, SOFT, GRID, EVENT = "#1c2733", "#66727f", "#e3e8ed", "#b3261e"
FONT = "font-family=\"'Inter','Segoe UI','Helvetica Neue','DejaVu Sans',sans-serif\""


@dataclass(frozen=True, slots=True)
class Line:
    """What one link carried.

    Args:
        name: the link.
        points: rates over time.
        note: at the end of its lane.
    """

    name: str
    points: tuple[Point, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done.

    Args:
        at: seconds since the start.
        text: what.
    """

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Span:
    """What is to be said of a stretch of time.

    Args:
        since: seconds since the start.
        until: likewise.
        text: stands in the middle, above the curves.
    """

    since: float
    until: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A transfer over several links.

    Args:
        title: what it shows.
        subtitle: under which conditions.
        total: what the program got.
        links: what each link carried.
        events: what was done.
        spans: what came of it.
    """

    title: str
    subtitle: str
    total: Line
    links: tuple[Line, ...]
    events: tuple[Event, ...] = ()
    spans: tuple[Span, ...] = ()

    def svg(self) -> str:
        """Give the picture."""
        return _Drawing(self).svg()


def ticks(top: float, about: int = 5) -> tuple[float, ...]:
    """Round numbers from 0 that reach at least `top`.

    Args:
        top: what has to fit.
        about: how many steps are wanted.
    """
    raw = max(top, 1e-9) / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
    return tuple(round(step * number, 9) for number in range(math.ceil(top / step - 1e-9) + 1))


def bursts(points: Iterable[Point], high: float, scale: float) -> list[Point]:
    """What stands out above the scale; of those whose numbers would cover each other the highest.

    Args:
        points: in the order of time.
        high: end of the scale.
        scale: pixels in a second.
    """
    kept: list[Point] = []
    for point in sorted((point for point in points if point.rate > high), key=lambda point: -point.rate):
        if all(abs(point.at - other.at) * scale >= APART for other in kept):
            kept.append(point)
    return sorted(kept, key=lambda point: point.at)


def rows(events: Sequence[Event], scale: float, width: float) -> list[tuple[int, str]]:
    """Where each event's label stands so that none covers another: its row, and its anchor.

    Args:
        events: in the order of time.
        scale: pixels in a second.
        width: pixels of the whole axis.
    """
    ends: list[float] = []
    out: list[tuple[int, str]] = []
    for event in events:
        x, long = event.at * scale, len(event.text) * LETTER + 10
        anchor = "start" if x + long <= width + RIGHT - 4 else "end"
        begin = x if anchor == "start" else x - long
        row = next((number for number, end in enumerate(ends) if end <= begin), len(ends))
        ends[row : row + 1] = [begin + long]
        out.append((row, anchor))
    return out


class _Drawing:
    def __init__(self, chart: Chart) -> None:
        self.chart = chart
        every = [point for line in (chart.total, *chart.links) for point in line.points]
        last = max((point.at for point in every), default=1.0)
        step = chart.total.points[0].at * 2 if chart.total.points else 0.0
        self.end = max([last + step / 2, *(event.at for event in chart.events)])
        self.scale = (WIDTH - LEFT - RIGHT) / self.end
        self.places = rows(chart.events, self.scale, WIDTH - LEFT - RIGHT)
        self.head = TOP + ROW * (max((row for row, _ in self.names()), default=0))
        self.top = self.head + ROW * (max((row for row, _ in self.places), default=-1) + 1)
        self.lanes = self.top + TALL + GAP + 14
        self.foot = self.lanes + (LANE + GAP) * len(chart.links) - GAP
        self.height = self.foot + FOOT
        self.out: list[str] = []

    def svg(self) -> str:
        chart = self.chart
        label = f"{chart.title}. {chart.subtitle}"
        self.put(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}"'
            f' height="{self.height}" role="img" aria-label="{escape(label)}" {FONT}>',
            f"<title>{escape(chart.title)}</title>",
            f'<rect width="{WIDTH}" height="{self.height}" fill="#ffffff"/>',
        )
        self.text(LEFT - 50, 34, chart.title, size=20, weight=600)
        self.text(LEFT - 50, 55, chart.subtitle, colour=SOFT, size=13)
        self.legend()
        self.sum()
        for number, line in enumerate(chart.links):
            self.lane(number, line)
        self.axis()
        self.marks()
        self.put("</svg>")
        return "\n".join(self.out) + "\n"

    def put(self, *parts: str) -> None:
        self.out.extend(parts)

    def x(self, at: float) -> float:
        return LEFT + at * self.scale

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        colour: str = INK,
        size: int = 12,
        weight: int = 400,
        anchor: str = "start",
        more: str = "",
    ) -> None:
        self.put(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" font-weight="{weight}"'
            f' text-anchor="{anchor}"{more}>{escape(text)}</text>'
        )

    def rule(self, x1: float, y1: float, x2: float, y2: float, colour: str = GRID, more: str = "") -> None:
        self.put(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>')

    def legend(self) -> None:
        x, y = float(LEFT - 50), 78.0
        self.rule(x, y - 4, x + 22, y - 4, INK, ' stroke-width="2.5"')
        self.text(x + 28, y, self.chart.total.name, colour=SOFT)
        x += 28 + len(self.chart.total.name) * LETTER + 22
        self.text(x, y, "on the wire:", colour=SOFT)
        for number, (line, (row, at)) in enumerate(zip(self.chart.links, self.names(), strict=True)):
            x, y = at, 78.0 + ROW * row
            self.put(f'<rect x="{x:.1f}" y="{y - 10:.1f}" width="12" height="12" rx="2" fill="{_colour(number)}"/>')
            self.text(x + 17, y, line.name, colour=SOFT)

    def names(self) -> list[tuple[int, float]]:
        """Row and place of each link in the legend."""
        begin = LEFT - 50 + 28 + len(self.chart.total.name) * LETTER + 22 + 12 * LETTER + 4
        out: list[tuple[int, float]] = []
        row, x = 0, begin
        for line in self.chart.links:
            long = 17 + len(line.name) * LETTER
            if x + long > WIDTH and x > begin:
                row, x = row + 1, begin
            out.append((row, x))
            x += long + 18
        return out

    def sum(self) -> None:
        stack = [[0.0] * len(self.chart.total.points)]
        for line in self.chart.links:
            stack.append([below + point.rate for below, point in zip(stack[-1], line.points, strict=False)])
        # Data that waited for a missing piece reaches the program in one burst, far above what the links can do:
        # the scale is that of the links, and what does not fit is told as a number.
        high = max(stack[-1], default=0.0) * HEAD or max((point.rate for point in self.chart.total.points), default=1.0)
        bottom = self.top + TALL
        per = TALL / high
        for mark in (mark for mark in ticks(high) if mark <= high):
            self.rule(LEFT, bottom - mark * per, WIDTH - RIGHT, bottom - mark * per)
            self.text(LEFT - 8, bottom - mark * per + 4, f"{mark:g}", colour=SOFT, anchor="end")
        self.text(
            0, 0, "Mbit/s", colour=SOFT, anchor="middle",
            more=f' transform="translate({LEFT - 50} {self.top + TALL / 2:.0f}) rotate(-90)"',
        )  # fmt: skip
        for number, line in enumerate(self.chart.links):
            upper = [(p.at, rate) for p, rate in zip(line.points, stack[number + 1], strict=False)]
            lower = [(p.at, rate) for p, rate in zip(line.points, stack[number], strict=False)]
            path = self.path([*upper, *reversed(lower)], bottom, per)
            self.put(f'<path class="band" d="{path}Z" fill="{_colour(number)}" fill-opacity="0.55"/>')
        path = self.path([(p.at, min(p.rate, high)) for p in self.chart.total.points], bottom, per)
        self.put(
            f'<path class="total" d="{path}" fill="none" stroke="{INK}" stroke-width="2.2" stroke-linejoin="round"/>'
        )
        for point in bursts(self.chart.total.points, high, self.scale):
            self.text(self.x(point.at) + 5, self.top + 11, f"{point.rate:.0f}", size=10)
        for span in self.chart.spans:
            self.text(self.x((span.since + span.until) / 2), self.top + 28, span.text, weight=600, anchor="middle")

    def path(self, places: Iterable[tuple[float, float]], bottom: float, per: float) -> str:
        steps = (f"{self.x(at):.1f} {bottom - rate * per:.1f}" for at, rate in places)
        return "M" + "L".join(steps)

    def lane(self, number: int, line: Line) -> None:
        top = self.lanes + number * (LANE + GAP)
        bottom = top + LANE
        high = max((point.rate for other in self.chart.links for point in other.points), default=0.0) or 1.0
        per = LANE / high
        colour = _colour(number)
        for mark in (mark for mark in ticks(high, 2) if mark <= high):
            self.rule(LEFT, bottom - mark * per, WIDTH - RIGHT, bottom - mark * per)
            self.text(LEFT - 8, bottom - mark * per + 4, f"{mark:g}", colour=SOFT, size=11, anchor="end")
        places = [(point.at, point.rate) for point in line.points]
        if places:
            area = self.path([(places[0][0], 0.0), *places, (places[-1][0], 0.0)], bottom, per)
            self.put(f'<path class="area" d="{area}Z" fill="{colour}" fill-opacity="0.18"/>')
            path = self.path(places, bottom, per)
            self.put(f'<path class="link" d="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        self.text(WIDTH - RIGHT + 12, top + LANE / 2 + 1, line.name, colour=colour, size=14, weight=600)
        self.text(WIDTH - RIGHT + 12, top + LANE / 2 + 16, line.note, colour=SOFT, size=11)

    def axis(self) -> None:
        for bottom in (self.top + TALL, self.foot):
            self.rule(LEFT, bottom, WIDTH - RIGHT, bottom, SOFT)
        for mark in ticks(self.end, 10):
            if mark <= self.end + 1e-6:
                self.rule(self.x(mark), self.foot, self.x(mark), self.foot + 5, SOFT)
                self.text(self.x(mark), self.foot + 19, f"{mark:g}", colour=SOFT, anchor="middle")
        self.text((LEFT + WIDTH - RIGHT) / 2, self.foot + 39, "seconds since the start", colour=SOFT, anchor="middle")

    def marks(self) -> None:
        for event, (row, anchor) in zip(self.chart.events, self.places, strict=True):
            x, y = self.x(event.at), self.head + ROW * row + 6
            self.rule(x, y - 8, x, self.foot, EVENT, ' class="event" stroke-dasharray="4 3" stroke-opacity="0.75"')
            self.text(x + (5 if anchor == "start" else -5), y, event.text, colour=EVENT, anchor=anchor)


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]
