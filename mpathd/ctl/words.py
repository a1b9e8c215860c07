"""What people read: services, settings, status. Pure; plain ASCII but for names that are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mpathd.model.settings import SETTINGS

from .client import Service

HEADINGS = ("SERVICE", "INTERFACE", "STATE", "TABLE", "ADDRESSES", "GATEWAYS", "MPTCP", "ROUTED", "BECAUSE")


def clean(text: str) -> str:
    """Make a text harmless for a terminal and one line: names of networks and links are chosen by strangers.

    Args:
        text: anything.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def value(thing: Any) -> str:
    """Write a D-Bus value as connmanctl does.

    Args:
        thing: plain values, lists and mappings.
    """
    match thing:
        case bool() | int():
            return str(thing)
        case str():
            return clean(thing)
        case float():
            return f"{thing:g}"
        case Mapping():
            return f"[ {', '.join(f'{clean(str(key))}={value(inner)}' for key, inner in thing.items())} ]"
        case [Mapping(), *_]:
            return ", ".join(value(inner) for inner in thing)
        case _:
            return f"[ {', '.join(value(inner) for inner in thing)} ]"


def listed(services: Iterable[Service]) -> str:
    """Write one line a service: letters, name, identifier.

    Args:
        services: in their order.
    """
    return "\n".join(
        f"{clean(service.values.get('Letters', '')):4} {clean(service.values.get('Name', '')):<20} {service.id}"
        for service in services
    )


def whole(service: Service) -> str:
    """Write everything about a service, one line a property, as connmanctl does.

    Args:
        service: the service.
    """
    lines = (f"  {name} = {value(thing)}" for name, thing in service.values.items())
    return "\n".join((service.path, *lines))


def addresses(service: Service) -> list[str]:
    """Give a service's addresses with their prefix lengths.

    Args:
        service: the service.
    """
    rows = (row for family in ("IPv4", "IPv6") for row in service.values.get(family, ()))
    return [f"{row.get('Address', '')}/{row.get('PrefixLength', '')}" for row in rows]


def gateways(service: Service) -> list[tuple[str, str]]:
    """Give a service's gateways, each with who said so; one without address is on the link.

    Args:
        service: the service.
    """
    rows = service.values.get("Gateways", ())
    return [(clean(row.get("Address", "")) or "on-link", clean(row.get("Source", ""))) for row in rows]


def _row(service: Service) -> tuple[str, ...]:
    values = service.values
    cells = (
        service.id,
        service.interface,
        values.get("State", ""),
        str(values.get("Table", "")),
        ",".join(addresses(service)),
        ",".join(f"{address}({source})" for address, source in gateways(service)),
        values.get("MultipathTcpLink", ""),
        "yes" if values.get("Routed") else "no",
        values.get("Because", ""),
    )
    return tuple(clean(cell) or "-" for cell in cells)


def table(services: Iterable[Service]) -> str:
    """Write the wide table; only the last column has spaces in it.

    Args:
        services: in their order.
    """
    return columns([HEADINGS, *map(_row, services)])


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Write rows under each other.

    Args:
        rows: of the same number of cells.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join("  ".join((*map(str.ljust, row, widths), row[-1])) for row in rows)


def settings(label: str, values: Mapping[str, Any]) -> str:
    """Write settings as `config` takes them.

    Args:
        label: whose they are.
        values: property name to value, others may be among them.
    """
    lines = [clean(label)]
    for row in SETTINGS:
        if row.property in values:
            given = values[row.property]
            text = ("yes" if given else "no") if row.signature == "b" else clean(given)
            lines.append(f"  {row.option} = {text}")
    return "\n".join(lines)


def status(found: Mapping[str, Any], services: Iterable[Service], sessions: Iterable[str] = ()) -> str:
    """Write how everything is: first whether all is well, then each service and session, trouble last.

    Args:
        found: what GetStatus gave.
        services: in their order.
        sessions: the lines of all sessions.
    """
    objects = found.get("Routes", 0) + found.get("Rules", 0)
    mood = "settled" if found.get("Settled") else "not settled"
    passes = f"pass {found.get('Passes', 0)}, {age(found.get('Age', 0.0))} ago"
    version = f"version {clean(found.get('Version', '?'))}, pid {found.get('Pid', '?')}"
    lines = [
        f"mpathd: {mood} ({passes}), {objects} kernel objects",
        f"  {version}, configuration {clean(found.get('Config', '')) or 'built in'}",
        *(f"  {clean(label)}: {clean(text)}" for label, text in found.get("Extra", {}).items()),
    ]
    for service in services:
        lines += _block(service)
    return "\n".join((*lines, *sessions, *_health(found)))


def age(seconds: float) -> str:
    """Write a span of time in its fitting unit.

    Args:
        seconds: how long.
    """
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _block(service: Service) -> list[str]:
    values = service.values
    link = ", ".join((service.interface, values.get("State", ""), *addresses(service)))
    ways = ", ".join(f"{address} ({source})" for address, source in gateways(service))
    routing = f"table {values.get('Table', '?')}" if values.get("Routed") else "main only"
    return [
        f"service: {service.id}",
        f"  link: {clean(link)}",
        f"  gateway: {ways or 'none'}",
        f"  routing: {routing}; {clean(values.get('Because', ''))}",
        f"  mptcp: {clean(values.get('MultipathTcpLink', ''))}",
    ]


def _health(found: Mapping[str, Any]) -> list[str]:
    lines = [f"#   refused: {clean(text)}" for text in found.get("Refused", ())]
    findings: Sequence[Mapping[str, str]] = found.get("Findings", ())
    for row in findings:
        cure = clean(row.get("Cure", ""))
        lines.append(
            f"#   {clean(row.get('Code', ''))}: {clean(row.get('Text', ''))}" + (f"; cure: {cure}" if cure else "")
        )
    return ["# Health:", *lines] if lines else []
