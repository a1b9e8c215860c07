"""Which session a person means, and which settings: the words of session commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mpathd.model.errors import MpathError
from mpathd.model.session import PRIORITY, PRIORITY_LAST
from mpathd.model.sessionsettings import SESSION_SETTINGS, SessionSetting

from ..codec import Variant
from .client import Client, Session
from .errors import Answered, Usage
from .parse import Order
from .pick import pick as pick_service

# An error names at most this many sessions.
NAMED = 12

# The setting that names services; a star lets mpathd choose.
SERVICES, EVERY = "MultipathRoutedServices", "*"


def pick(word: str, found: Sequence[Session]) -> Session:
    """Find a session by its whole name or its path: what is destroyed by a beginning may be the wrong one.

    Args:
        word: as typed.
        found: all that there are.

    Raises:
        Answered: there is none; the hint lists them.
    """
    session = next((row for row in found if word in {row.id, row.path}), None)
    if session is not None:
        return session
    names = ", ".join(row.id for row in found[:NAMED]) or "none"
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    raise Answered("NotFound", f"no session called '{word}'", f"sessions here: {names}{more}")


def values(order: Order) -> dict[str, Variant]:
    """Give what the options ask for, by the names on D-Bus; empty means the default again.

    Args:
        order: what was typed.

    Raises:
        Usage: something makes no sense, whatever mpathd knows.
    """
    return {
        row.property: Variant(row.signature, _value(row, order.options[row.option]))
        for row in SESSION_SETTINGS
        if order.has(row.option)
    }


def settled(client: Client, given: Mapping[str, Variant]) -> dict[str, Variant]:
    """Give settings with identifiers where services were named by an interface, or by a beginning.

    Args:
        client: knows the services; it is asked only if any was named.
        given: property name to value.

    Raises:
        Answered: no service, or several, are meant.
    """
    words = given[SERVICES].value if SERVICES in given else []
    if not {*words} - {EVERY}:
        return dict(given)
    found = client.services()
    names = [word if word == EVERY else pick_service(word, found).id for word in words]
    return {**given, SERVICES: Variant("as", names)}


def _value(row: SessionSetting, given: tuple[str, ...]) -> Any:
    texts = [text(f"option --{row.option}", word) for word in given]
    if row.field == "selectors":
        _check_selectors(texts)
    match row.signature:
        case "as":
            return [item for item in texts if item]
        case "u":
            return _number(row.option, texts[-1])
        case _:
            return texts[-1]


def _check_selectors(texts: Sequence[str]) -> None:
    """Judge selectors here already, in mpathd's words: they mean the same on every machine."""
    from mpathd.plan.selectors import parse_all  # only where there are any: mpathctl is to start fast

    try:
        parse_all(texts)
    except MpathError as error:
        raise Usage(error.text, error.hint) from None


def _number(option: str, word: str) -> int:
    if not word:
        return PRIORITY
    if not (word.isascii() and word.isdigit() and int(word) <= PRIORITY_LAST):
        raise Usage(f"option --{option} cannot be '{word}'", f"expected a number from 0 to {PRIORITY_LAST}")
    return int(word)


def text(label: str, word: str) -> str:
    """Give a word as D-Bus can carry it.

    Args:
        label: what it is, for the error.
        word: as typed.

    Raises:
        Usage: it cannot be carried.
    """
    try:
        word.encode()
    except UnicodeEncodeError:
        raise Usage(f"{label} cannot be '{word}'", "expected text in UTF-8") from None
    return word
