"""Numbers and tables; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank).

    Args:
        values: one or more, in any order.
        share: 0.0 to 1.0.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a set of measurements comes to.

    Args:
        count: how many there are.
        median, p90, p99, longest: in the unit of the values.
    """

    count: int
    median: float
    p90: float
    p99: float
    longest: float


def summary(values: Sequence[float]) -> Summary | None:
    """Sum up measurements; None if there are none.

    Args:
        values: in any order.
    """
    if not values:
        return None
    return Summary(len(values), median(values), percentile(values, 0.9), percentile(values, 0.99), max(values))


def cells(found: Summary | None) -> list[str]:
    """Count, median, p90, p99 and the longest as cells of a table; dashes if there is nothing.

    Args:
        found: a summary in milliseconds.
    """
    if found is None:
        return ["0", "-", "-", "-", "-"]
    return [str(found.count), *(number(value) for value in (found.median, found.p90, found.p99, found.longest))]


def number(value: float) -> str:
    """A figure with about three digits that count.

    Args:
        value: not negative.
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(one: float, other: float) -> str:
    """How many times the other one is.

    Args:
        one: the figure that is judged.
        other: what it is held against.
    """
    return f"{number(one / other)}x" if other > 0 else "-"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, figures to the right, a last column called "bar" to the left.

    Args:
        head: names of the columns.
        rows: cells; short rows end early.
    """
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[at]) for line in lines if at < len(line)) for at in range(len(head))]

    def row(line: Sequence[str]) -> str:
        left = {0} | ({len(head) - 1} if head[-1] == "bar" else set())
        made = [c.ljust(w) if at in left else c.rjust(w) for at, (c, w) in enumerate(zip(line, widths, strict=False))]
        return "  ".join(made).rstrip()

    return "\n".join(row(line) for line in lines)
