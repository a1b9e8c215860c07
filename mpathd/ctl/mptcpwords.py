"""What `mptcp` shows: connections and their subflows as lines, and the kernel's events as facts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .. import codec
from ..codec import Message
from .client import MPTCP, NAME
from .news import Fact, daemon
from .stats import fitting, size
from .words import clean

HEADINGS = ("LINK", "STATE", "OUT", "OUT/S", "IN", "IN/S", "RTT", "RESENT", "AGE", "FROM")
TEXTS = {"LINK", "STATE", "FROM"}  # the others are numbers, and stand to the right
ALL = "all"
INDENT = "  "
UNITS = ("bit", "kbit", "Mbit", "Gbit", "Tbit")
SHORT = {"established": "estab"}

Record = Mapping[str, Any]


def lines(found: Record, width: int | None = None) -> list[str]:
    """Write connections, each with its subflows below it.

    Args:
        found: what the client gave.
        width: columns that there are; those on the right that have no room are left out. None for any number.
    """
    connections: Sequence[Record] = found.get("Connections", ())
    blocks = [(_title(one), list(_rows(one))) for one in connections]
    rows = [dict(zip(HEADINGS, HEADINGS, strict=True)), *(row for _, block in blocks for row in block)]
    widths = {name: max(len(row[name]) for row in rows) for name in HEADINGS}
    gap, widths = ("  ", widths) if width is None else fitting(widths, width - len(INDENT))
    out = [f"MPTCP cannot be used: {clean(found['Missing'])}"] if found.get("Missing") else []
    out.append(_summary(found))
    if connections:
        out += _folded(_links(connections), width)
        out.append(INDENT + _line(rows[0], widths, gap))
    for title, block in blocks:
        out += [title, *(INDENT + _line(row, widths, gap) for row in block)]
    return out


def _folded(parts: Iterable[str], width: int | None) -> list[str]:
    """Write parts behind each other, on as many lines as they need."""
    out: list[str] = []
    for part in parts:
        if out and (width is None or len(out[-1]) + len(part) + 2 <= width):
            out[-1] += f", {part}"
        else:
            out[-1:] = [*(f"{line}," for line in out[-1:]), part]
    return out


def _summary(found: Record) -> str:
    connections: Sequence[Record] = found.get("Connections", ())
    total = max(found.get("Total", 0), len(connections))
    subflows = sum(len(one.get("Subflows", ())) for one in connections)
    text = f"{_count(total, 'connection')}, {_count(subflows, 'subflow')}"
    return text if total == len(connections) else f"{text} of the {len(connections)} that have carried most"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _links(connections: Iterable[Record]) -> Iterator[str]:
    """How fast each link is, over all connections; nothing at the first look."""
    sums: dict[str, tuple[float, float]] = {}
    for one in connections:
        for part in one.get("Subflows", ()) or (one,):
            if "BitsOutPerSecond" in part:
                name = clean(part.get("Interface", "")) or "-"
                out, into = sums.get(name, (0.0, 0.0))
                sums[name] = out + part["BitsOutPerSecond"], into + part["BitsInPerSecond"]
    return (f"{name} {bits(out)}/s out {bits(into)}/s in" for name, (out, into) in sorted(sums.items()))


def _title(one: Record) -> str:
    words = [f"{_end(one, 'Source')} > {_end(one, 'Destination')}"]
    words += [f"session {clean(one['Session'])}"] if one.get("Session") else []
    words += [f"{clean(row.get('Name', ''))} ({row.get('Pid', '?')})" for row in one.get("Processes", ())]
    return ", ".join(words)


def _rows(one: Record) -> Iterator[dict[str, str]]:
    if one.get("Fallback"):
        yield _row(one, clean(one.get("Interface", "")) or "-", "fallback", _end(one, "Source"))
        return
    yield _row(one, ALL, _state(one), "-")
    for part in one.get("Subflows", ()):
        ends = _end(part, "Source")
        if (far := _end(part, "Destination")) != _end(one, "Destination"):
            ends += f" > {far}"
        yield _row(part, clean(part.get("Interface", "")) or "-", _state(part), ends)


def _row(one: Record, link: str, state: str, ends: str) -> dict[str, str]:
    trip = one.get("RoundTrip", 0)
    return {
        "LINK": link,
        "STATE": state,
        "OUT": size(one.get("BytesAcked", 0)),
        "OUT/S": bits(one["BitsOutPerSecond"]) if "BitsOutPerSecond" in one else "-",
        "IN": size(one.get("BytesReceived", 0)),
        "IN/S": bits(one["BitsInPerSecond"]) if "BitsInPerSecond" in one else "-",
        "RTT": f"{trip / 1000:.3g}ms" if trip else "-",
        "RESENT": str(one["Retransmissions"]) if "Retransmissions" in one else "-",
        "AGE": (">" if one.get("AgeAtLeast") else "") + span(one["Age"]) if "Age" in one else "-",
        "FROM": ends,
    }


def _state(one: Record) -> str:
    """The state, and who wants it to be a backup, by the letters of `ss`."""
    word = clean(one.get("State", ""))
    letters = ("b" if one.get("Backup") else "") + ("B" if one.get("BackupAsked") else "")
    return SHORT.get(word, word) + (f"/{letters}" if letters else "")


def _end(one: Record, which: str) -> str:
    address = clean(str(one.get(which, "")))
    return f"[{address}]:{one.get(which + 'Port')}" if ":" in address else f"{address}:{one.get(which + 'Port')}"


def _line(row: Mapping[str, str], widths: Mapping[str, int], gap: str) -> str:
    cells = (row[name].ljust(wide) if name in TEXTS else row[name].rjust(wide) for name, wide in widths.items())
    return gap.join(cells).rstrip()


def bits(number: float) -> str:
    """Write bits in the unit that fits; units of networks are thousands.

    Args:
        number: how many.
    """
    at = 0
    while number >= 999.95 and at < len(UNITS) - 1:
        number, at = number / 1000, at + 1
    return f"{number:.1f}{UNITS[at]}" if at else f"{number:.0f}{UNITS[at]}"


def span(seconds: float) -> str:
    """Write a span of time as one short word.

    Args:
        seconds: how long.
    """
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"


def facts(message: Message) -> Iterator[Fact]:
    """Read the facts out of a signal.

    Args:
        message: the signal.
    """
    match message.fields.get(codec.INTERFACE), message.fields.get(codec.MEMBER), list(message.body):
        case "org.freedesktop.DBus", "NameOwnerChanged", [str(name), str(), str(owner)] if name == NAME:
            yield daemon(owner)
        case interface, "Event", [dict(told)] if interface == MPTCP:
            yield Fact("mptcp", str(told.get("Text", "")), told)
        case interface, "EventsLost", [] if interface == MPTCP:
            yield Fact("lost", "events, since there were too many; what is: mpathctl mptcp", {})
        case _:
            pass
