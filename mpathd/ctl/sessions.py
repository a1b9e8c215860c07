"""The commands about sessions."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from mpathd.model.sessionsettings import SESSION_SETTINGS

from . import sessionnews, sessionwords
from .client import Client
from .errors import Absent, Usage
from .parse import Order
from .sessionoptions import pick, settled, text, values
from .show import json_text, say
from .watch import Clock, messages, until_interrupted


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
    session = pick(order.words[0], Client.open().sessions())
    say(json_text(sessionwords.record(session)) if order.has("json") else sessionwords.whole(session))


def create(order: Order) -> None:
    """Make a session that stays, and wait until the kernel has it.

    Args:
        order: what was typed.
    """
    name, given = text("NAME", order.words[0]), values(order)
    client = Client.open()
    path = client.create_session(name, settled(client, given))
    _tell(order, client, path)


def change(order: Order) -> None:
    """Change settings of a session and wait until the kernel has them.

    Args:
        order: what was typed.
    """
    given = values(order)
    if not given:
        options = ", ".join(f"--{row.option}" for row in SESSION_SETTINGS)
        raise Usage("session change: nothing to change", f"give at least one of: {options}")
    client = Client.open()
    path = pick(order.words[0], client.sessions()).path
    client.change_session(path, settled(client, given))
    _tell(order, client, path)


def destroy(order: Order) -> None:
    """End a session.

    Args:
        order: what was typed.
    """
    client = Client.open()
    session = pick(order.words[0], client.sessions())
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
    with until_interrupted():
        client = Client.open()
        ears = sessionnews.Ears()
        if client.listen():
            found = client.snapshot()
            if order.words:
                ears.only = pick(order.words[0], found).path
            _say_all(ears.all(found), clock, order)
        else:
            ears.only = order.words[0] if order.words else ""
            _say_all([sessionnews.daemon("")], clock, order)
        for message in messages(client):
            _say_all(ears.hear(message), clock, order)
            if sessionnews.started(message):
                with suppress(Absent):  # gone again: its next coming is told too
                    _say_all(ears.all(client.snapshot()), clock, order)


def _say_all(told: Iterable[sessionnews.Told], clock: Clock, order: Order) -> None:
    for fact in told:
        if order.has("json"):
            line = json_text(sessionnews.record(fact, clock.stamp()), lines=True)
        else:
            line = sessionnews.text(fact, clock.time())
        print(line, flush=True)


def _connect(order: Order, *, active: bool) -> None:
    client = Client.open()
    path = pick(order.words[0], client.sessions()).path
    client.connect_session(path, active=active)
    _tell(order, client, path)


def _tell(order: Order, client: Client, path: str) -> None:
    """Say how a session is after a change, for programs."""
    if order.has("json"):
        say(json_text(next((sessionwords.record(row) for row in client.sessions() if row.path == path), {})))
