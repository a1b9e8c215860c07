"""What `session stats` shows: counters of sessions, as rows of a table and for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .client import Session
from .words import clean

HEADINGS = ("SESSION", "INTERFACE", "IN", "OUT", "PACKETS-IN", "PACKETS-OUT", "DROPPED", "SERVICE")
RATED = ("SESSION", "INTERFACE", "IN", "IN/S", "OUT", "OUT/S", "PACKETS-IN", "PACKETS-OUT", "DROPPED", "SERVICE")
TEXTS = {"SESSION", "INTERFACE", "SERVICE"}  # the others are numbers, and stand to the right
TOTAL = "total"
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

# Columns of lines that come one by one are as wide as what most counters need.
WIDTHS = {"SESSION": 16, "INTERFACE": 10, "PACKETS-IN": 10, "PACKETS-OUT": 11}
WIDTH = 11


@dataclass(frozen=True, slots=True)
class Rate:
    """How much goes in a second.

    Args:
        into: bytes that come in.
        out: bytes that go out.
    """

    into: float
    out: float


@dataclass(frozen=True, slots=True)
class Count:
    """What a session has carried, or one service for it.

    Args:
        session: its name.
        service: identifier; "total" for all.
        interface: of the service; empty for all, and of a service that is gone.
        values: the counters by their D-Bus names.
        rate: None as long as there is nothing to compare with.
    """

    session: str
    service: str
    interface: str
    values: Mapping[str, Any]
    rate: Rate | None = None


class Rates:
    """Remembers counters from one reading to the next."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, ...], tuple[float, int, int]] = {}

    def rate(self, key: tuple[str, ...], at: float, values: Mapping[str, Any]) -> Rate | None:
        """Give what went since the last reading; None at the first, and when a counter is another one.

        Args:
            key: whose counters.
            at: seconds, when they were read.
            values: the counters.
        """
        before = self._before.get(key)
        into, out = values.get("BytesIn", 0), values.get("BytesOut", 0)
        self._before[key] = at, into, out
        if before is None or at <= before[0] or into < before[1] or out < before[2]:
            return None
        return Rate((into - before[1]) / (at - before[0]), (out - before[2]) / (at - before[0]))


def counts(session: Session, found: Mapping[str, Any], at: float, rates: Rates) -> Iterator[Count]:
    """Give a session's counters: of all first, then of each service.

    Args:
        session: the session.
        found: what Stats gave.
        at: seconds, when.
        rates: what is known of it.
    """
    yield Count(session.id, TOTAL, "", found, rates.rate((session.path,), at, found))
    for row in found.get("Services", ()):
        name, link = str(row.get("Service", "")), str(row.get("Interface", ""))
        yield Count(session.id, name, link, row, rates.rate((session.path, name, link), at, row))


def size(number: float) -> str:
    """Write bytes in the unit that fits.

    Args:
        number: how many.
    """
    at = 0
    while number >= 999.95 and at < len(UNITS) - 1:  # so that four digits at most stand before the unit
        number, at = number / 1024, at + 1
    return f"{number:.1f}{UNITS[at]}" if at else f"{number:.0f}{UNITS[at]}"


def cells(count: Count) -> dict[str, str]:
    """Write counters by heading.

    Args:
        count: the counters.
    """
    values, rate = count.values, count.rate
    return {
        "SESSION": clean(count.session) or "-",
        "INTERFACE": clean(count.interface) or "-",
        "IN": size(values.get("BytesIn", 0)),
        "IN/S": size(rate.into) if rate is not None else "-",
        "OUT": size(values.get("BytesOut", 0)),
        "OUT/S": size(rate.out) if rate is not None else "-",
        "PACKETS-IN": str(values.get("PacketsIn", 0)),
        "PACKETS-OUT": str(values.get("PacketsOut", 0)),
        "DROPPED": str(values["PacketsDropped"]) if "PacketsDropped" in values else "-",
        "SERVICE": clean(count.service) or "-",
    }


def table(found: Iterable[Count], headings: Sequence[str] = HEADINGS, width: int | None = None) -> list[str]:
    """Write lines under each other, headings first.

    Args:
        found: the counters.
        headings: the columns.
        width: letters that there are; those on the right that have no room are left out. None for any number.
    """
    rows = [dict(zip(headings, headings, strict=True)), *map(cells, found)]
    widths = {name: max(len(row[name]) for row in rows) for name in headings}
    gap, widths = ("  ", widths) if width is None else fitting(widths, width)
    return [_line(row, widths, gap) for row in rows]


def fitting(widths: Mapping[str, int], width: int) -> tuple[str, dict[str, int]]:
    """Give what stands between two columns, and the columns that have room: half of a number is worse than none.

    Args:
        widths: heading to letters, from the left.
        width: letters that there are.
    """
    left = dict(widths)
    while True:
        for gap in ("  ", " "):
            if len(left) == 1 or sum(left.values()) + len(gap) * (len(left) - 1) <= width:
                return gap, left
        left.popitem()


def heading() -> str:
    """Give the heading of lines that come one by one."""
    return line(dict(zip(RATED, RATED, strict=True)), "TIME")


def line(row: Mapping[str, str], time: str) -> str:
    """Write one line of those that come one by one.

    Args:
        row: the cells by heading.
        time: when, "12:04:31.271".
    """
    return f"{time:<12}  {_line(row, {name: WIDTHS.get(name, WIDTH) for name in RATED}, '  ')}"


def _line(row: Mapping[str, str], widths: Mapping[str, int], gap: str) -> str:
    words = (row[name].ljust(wide) if name in TEXTS else row[name].rjust(wide) for name, wide in widths.items())
    return gap.join(words).rstrip()


def record(session: Session, found: Mapping[str, Any]) -> dict[str, Any]:
    """Give a session's counters for programs.

    Args:
        session: the session.
        found: what Stats gave.
    """
    return {"Session": session.id, "Path": session.path, **found}


def rated(session: Session, found: Mapping[str, Any], known: Sequence[Count], time: str) -> dict[str, Any]:
    """Give a session's counters of one moment for programs, with what goes in a second.

    Args:
        session: the session.
        found: what Stats gave.
        known: the same as counts.
        time: when, with date and zone.
    """
    total, *rest = known
    services = [{**count.values, **_rates(count)} for count in rest]
    return {"Time": time, **record(session, found), **_rates(total), "Services": services}


def _rates(count: Count) -> dict[str, float]:
    if count.rate is None:
        return {}
    return {"BytesInPerSecond": round(count.rate.into, 1), "BytesOutPerSecond": round(count.rate.out, 1)}
