"""The commands about sessions."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from mpathd.model.session import PRIORITY, PRIORITY_LAST
from mpathd.model.sessionsettings import SESSION_SETTINGS, SessionSetting

from . import sessionnews, sessionwords
from .client import Client, Session
from .codec import Variant
from .errors import Absent, Answered, Usage
from .parse import Order
from .show import json_text, say
from .watch import Clock, messages

# An error names at most this many sessions.
NAMED = 12


def listing(order: Order) -> None:
    """List the sessions.

    Args:
        order: what was typed.
    """
    found = Client.open().sessions()
    if order.has("json"):
        say(json_text([sessionwords.record(session) for session in found]))
    else:
        say(sessionwords.table(found) if order.has("l") else sessionwords.listed(found))


def show(order: Order) -> None:
    """Show all about a session.

    Args:
        order: what was typed.
    """
    session = _pick(order.words[0], Client.open().sessions())
    say(json_text(sessionwords.record(session)) if order.has("json") else sessionwords.whole(session))


def create(order: Order) -> None:
    """Make a session that stays, and wait until the kernel has it.

    Args:
        order: what was typed.
    """
    name, values = _text("NAME", order.words[0]), _values(order)
    client = Client.open()
    path = client.create_session(name, values)
    _tell(order, client, path)


def change(order: Order) -> None:
    """Change settings of a session and wait until the kernel has them.

    Args:
        order: what was typed.
    """
    values = _values(order)
    if not values:
        options = ", ".join(f"--{row.option}" for row in SESSION_SETTINGS)
        raise Usage("session change: nothing to change", f"give at least one of: {options}")
    client = Client.open()
    path = _pick(order.words[0], client.sessions()).path
    client.change_session(path, values)
    _tell(order, client, path)


def destroy(order: Order) -> None:
    """End a session.

    Args:
        order: what was typed.
    """
    client = Client.open()
    session = _pick(order.words[0], client.sessions())
    client.destroy_session(session.path)
    if order.has("json"):
        say(json_text(sessionwords.record(session)))


def connect(order: Order) -> None:
    """Make a session active.

    Args:
        order: what was typed.
    """
    _connect(order, active=True)


def disconnect(order: Order) -> None:
    """Make a session inactive.

    Args:
        order: what was typed.
    """
    _connect(order, active=False)


def monitor(order: Order) -> None:
    """Tell what becomes of sessions until interrupted, or until nobody reads.

    Args:
        order: what was typed.
    """
    clock = Clock()
    try:
        client = Client.open()
        ears = sessionnews.Ears()
        if client.listen():
            found = client.snapshot()
            if order.words:
                ears.only = _pick(order.words[0], found).path
            _say_all(ears.all(found), clock, order)
        else:
            ears.only = order.words[0] if order.words else ""
            _say_all([sessionnews.daemon("")], clock, order)
        for message in messages(client):
            _say_all(ears.hear(message), clock, order)
            if sessionnews.started(message):
                with suppress(Absent):  # gone again: its next coming is told too
                    _say_all(ears.all(client.snapshot()), clock, order)
    except KeyboardInterrupt:
        return


def _say_all(told: Iterable[sessionnews.Told], clock: Clock, order: Order) -> None:
    for fact in told:
        if order.has("json"):
            text = json_text(sessionnews.record(fact, clock.stamp()), lines=True)
        else:
            text = sessionnews.text(fact, clock.time())
        print(text, flush=True)


def _connect(order: Order, *, active: bool) -> None:
    client = Client.open()
    path = _pick(order.words[0], client.sessions()).path
    client.connect_session(path, active=active)
    _tell(order, client, path)


def _tell(order: Order, client: Client, path: str) -> None:
    """Say how a session is after a change, for programs."""
    if order.has("json"):
        say(json_text(next((sessionwords.record(row) for row in client.sessions() if row.path == path), {})))


def _pick(word: str, found: tuple[Session, ...]) -> Session:
    """Find a session by its whole name or its path: what is destroyed by a beginning may be the wrong one."""
    session = next((row for row in found if word in {row.id, row.path}), None)
    if session is not None:
        return session
    names = ", ".join(row.id for row in found[:NAMED]) or "none"
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    raise Answered("NotFound", f"no session called '{word}'", f"sessions here: {names}{more}")


def _values(order: Order) -> dict[str, Variant]:
    """What the options ask for, by the names on D-Bus; empty means the default again."""
    return {
        row.property: Variant(row.signature, _value(row, order.options[row.option]))
        for row in SESSION_SETTINGS
        if order.has(row.option)
    }


def _value(row: SessionSetting, given: tuple[str, ...]) -> Any:
    texts = [_text(f"option --{row.option}", word) for word in given]
    match row.signature:
        case "as":
            return [text for text in texts if text]
        case "u":
            return _number(row.option, texts[-1])
        case _:
            return texts[-1]


def _number(option: str, text: str) -> int:
    if not text:
        return PRIORITY
    if not (text.isascii() and text.isdigit() and int(text) <= PRIORITY_LAST):
        raise Usage(f"option --{option} cannot be '{text}'", f"expected a number from 0 to {PRIORITY_LAST}")
    return int(text)


def _text(label: str, word: str) -> str:
    """A word as D-Bus can carry it."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise Usage(f"{label} cannot be '{word}'", "expected text in UTF-8") from None
    return word
