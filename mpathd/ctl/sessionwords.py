"""What people read of sessions: the post's form, lists, what policy files ask for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mpathd.model.sessionsettings import SESSION_SETTINGS

from . import words
from .client import Session
from .words import clean

if TYPE_CHECKING:  # not at run time: a list of sessions needs no reader of policy files
    from mpathd.model.session import SessionSettings
    from mpathd.plan.policyfile import PolicyFile

# The post's order; what else there is follows.
ORDER = (
    "AllowedBearers",
    "Bearer",
    "ConnectionType",
    "State",
    "FlowSelectors",
    "MultipathRoutedServices",
    "IPv4",
    "IPv6",
    "Interface",
    "Name",
)
LETTERS = {"connected": "C", "online": "O"}
HEADINGS = ("SESSION", "STATE", "BEARER", "INTERFACE", "MARK", "SERVICES", "PRIORITY", "ORIGIN", "OWNER", "REASON")


def value(thing: Any) -> str:
    """Write a D-Bus value as ConnMan's test-session does: [ a b ], { Key=value }.

    Args:
        thing: plain values, lists and mappings.
    """
    match thing:
        case Mapping():
            return "".join(("{", *(f" {clean(str(key))}={value(inner)}" for key, inner in thing.items()), " }"))
        case [Mapping(), *_]:
            return " ".join(map(value, thing))
        case list() | tuple():
            return "".join(("[", *(f" {value(inner)}" for inner in thing), " ]"))
        case _:
            return words.value(thing)


def properties(values: Mapping[str, Any]) -> str:
    """Write properties one a line, in the post's order.

    Args:
        values: all of a session's, or those that changed.
    """
    names = (*(name for name in ORDER if name in values), *(name for name in values if name not in ORDER))
    return "\n".join(f" {clean(name)} = {value(values[name])}" for name in names)


def record(session: Session) -> dict[str, Any]:
    """Give everything about a session, for programs.

    Args:
        session: the session.
    """
    return {"Session": session.id, "Path": session.path, **session.values}


def whole(session: Session) -> str:
    """Write everything about a session.

    Args:
        session: the session.
    """
    return f"{session.path}\n{properties(session.values)}"


def letters(session: Session) -> str:
    """Give the two letters of a session: active, and how far it is.

    Args:
        session: the session.
    """
    return ("*" if session.values.get("Active") else " ") + LETTERS.get(session.values.get("State", ""), " ")


def listed(sessions: Iterable[Session]) -> str:
    """Write one line a session: letters, name, bearer and interface, origin.

    Args:
        sessions: in their order.
    """
    return "\n".join(
        f"{letters(session)} {clean(session.id):<20} {_link(session):<20} {clean(session.values.get('Origin', ''))}"
        for session in sessions
    )


def _link(session: Session) -> str:
    bearer, interface = session.values.get("Bearer", ""), session.values.get("Interface", "")
    return clean(f"{bearer}/{interface}") if interface else "-"


def table(sessions: Iterable[Session]) -> str:
    """Write the wide table; only the last column has spaces in it.

    Args:
        sessions: in their order.
    """
    return words.columns([HEADINGS, *map(_row, sessions)])


def _row(session: Session) -> tuple[str, ...]:
    values = session.values
    cells = (
        session.id,
        values.get("State", ""),
        values.get("Bearer", ""),
        values.get("Interface", ""),
        mark(session),
        ",".join(values.get("MultipathRoutedServices", ())),
        str(values.get("Priority", "")),
        values.get("Origin", ""),
        values.get("Owner", "").replace(" ", "\\x20"),
        values.get("Reason", ""),
    )
    return tuple(clean(cell) or "-" for cell in cells)


def mark(session: Session) -> str:
    """Give a session's mark as `ip rule` prints it.

    Args:
        session: the session.
    """
    return f"{session.values['Mark']:#x}" if session.values.get("Mark") else ""


def block(session: Session) -> list[str]:
    """Give a session's lines in `status`.

    Args:
        session: the session.
    """
    values = session.values
    link = ", ".join(filter(None, (values.get("Interface"), values.get("Bearer"), values.get("State"))))
    marked = f"{mark(session)}, table {values['Mark']}" if mark(session) else "none"
    return [
        f"session: {clean(session.id)}",
        f"  link: {clean(link)}",
        f"  mark: {marked}",
        f"  services: {clean(' '.join(values.get('MultipathRoutedServices', ()))) or 'none'}",
        f"  reason: {clean(values.get('Reason', '')) or 'none'}",
    ]


def policy(found: PolicyFile, notes: Sequence[str], accounts: Mapping[str, Callable[[int], str]]) -> str:
    """Write what a policy file asks for, one block a session; what is empty is left out.

    Args:
        found: the file.
        notes: what it says that has no meaning.
        accounts: field of numbers ("users") to who says whose a number is.
    """
    count = len(found.sessions)
    lines = [f"{clean(found.path)}: good, {count} session{'s' if count > 1 else ''}"]
    lines += [f"  note: {clean(note)}" for note in notes]
    for settings in found.sessions:
        lines.append(f"session: {settings.name}")
        for row in SESSION_SETTINGS:
            thing = _plain(getattr(settings, row.field), unset="auto")
            if thing in ("", []) and row.field != "services":  # where an empty list is a wish: none
                continue
            if row.field in accounts:
                thing = [accounts[row.field](number) for number in thing]
            lines.append(f"  {row.key} = {value(thing)}")
    return "\n".join(lines)


def asked(settings: SessionSettings) -> dict[str, Any]:
    """Give what a policy file asks for, for programs, by the names on D-Bus.

    Args:
        settings: a session's.
    """
    rows = ((row.property, _plain(getattr(settings, row.field), unset=["*"])) for row in SESSION_SETTINGS)
    return {"Session": settings.name, **dict(rows)}


def _plain(thing: Any, unset: Any) -> Any:
    """A setting as numbers, texts and lists of them; `unset` stands for what mpathd chooses itself."""
    if thing is None:
        return unset
    if isinstance(thing, tuple):
        return [item if isinstance(item, int) else str(item) for item in thing]
    return thing if isinstance(thing, int) else str(thing)
