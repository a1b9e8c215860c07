"""Errors that D-Bus itself has names for, and how any error is named on the bus."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from mpathd.model.errors import MpathError

STANDARD = "org.freedesktop.DBus.Error."

# Characters of a caller's value that an error repeats.
QUOTED = 60

# A text that lists what there is names at most this many; a thousand services would hide the message.
NAMED = 8


class UnknownObject(MpathError):
    """No object at that path."""

    name = STANDARD + "UnknownObject"


class UnknownInterface(MpathError):
    """The object does not have that interface."""

    name = STANDARD + "UnknownInterface"


class UnknownMethod(MpathError):
    """The interface does not have that method."""

    name = STANDARD + "UnknownMethod"


def error_name(error: MpathError, named: Callable[[str], str]) -> str:
    """Give an error's name on the bus.

    Args:
        error: the error.
        named: gives the face's name for one of the model's.
    """
    return error.name if "." in error.name else named(error.name)


def listing(label: str, names: Iterable[str]) -> str:
    """Write a hint that lists what there is.

    Args:
        label: what the names are.
        names: the names.
    """
    known = list(names)
    more = f" and {len(known) - NAMED} more" if len(known) > NAMED else ""
    return f"{label}: {', '.join(known[:NAMED]) or 'none'}{more}"


def quoted(value: object) -> str:
    """Repeat what a caller gave, shortened if need be.

    Args:
        value: anything.
    """
    text = repr(value)
    return text if len(text) <= QUOTED else text[:QUOTED] + "..."
