"""The commands about services: services and config."""

from __future__ import annotations

from typing import Any

from mpathd.model.settings import SETTINGS

from . import words
from .client import Client, Service
from .errors import Usage
from .parse import Order
from .pick import pick
from .show import json_text, say


def show(order: Order) -> None:
    """List services, or show one, or put one elsewhere and list them.

    Args:
        order: what was typed.
    """
    place = _place(order)
    client = Client.open()
    found = client.services()
    chosen = [pick(word, found) for word in order.words]
    if place:
        client.move(chosen[0].path, pick(order.options[place][0], found).path, before=place == "before")
        found, chosen = client.services(), []
    if order.has("json"):
        records = [_record(service) for service in chosen or found]
        say(json_text(records[0] if chosen else records))
    elif order.has("l"):
        say(words.table(chosen or found))
    elif chosen:
        say(words.whole(chosen[0]))
    else:
        say(words.listed(found))


def _place(order: Order) -> str:
    """The option that says where a service is put; empty for none."""
    given = [key for key in ("before", "after") if order.has(key)]
    if len(given) > 1:
        raise Usage("services: --before and --after exclude each other", "give one of them")
    if given and not order.words:
        name = given[0]
        raise Usage(f"services: --{name} says where, but not what", f"expected: mpathctl services SERVICE --{name} ID")
    return "".join(given)


def config(order: Order) -> None:
    """Change settings and wait until the kernel has them; show them when none are given.

    Args:
        order: what was typed.
    """
    client = Client.open()
    wish = {
        row.property: order.options[row.option][0] == "yes" if row.signature == "b" else order.options[row.option][0]
        for row in SETTINGS
        if order.has(row.option)
    }
    # All services are asked for only where they are needed: to know which one is meant, and to show them.
    path = pick(order.words[0], client.services()).path if order.words else ""
    if wish:
        client.configure(path, wish)
    if order.has("json"):
        say(json_text(_settings_records(client, path)))
    elif not wish:
        say(_settings_text(client, path))


def _settings_text(client: Client, path: str) -> str:
    blocks = [] if path else [words.settings("default", client.defaults())]
    blocks += [words.settings(service.id, service.values) for service in _some(client, path)]
    return "\n".join(blocks)


def _settings_records(client: Client, path: str) -> Any:
    records = [{"Id": service.id, **_settings(service)} for service in _some(client, path)]
    return records[0] if path else {"Defaults": client.defaults(), "Services": records}


def _some(client: Client, path: str) -> list[Service]:
    """The service at a path, if it still is there, or all."""
    return [service for service in client.services() if path in {"", service.path}]


def _settings(service: Service) -> dict[str, Any]:
    return {row.property: service.values[row.property] for row in SETTINGS if row.property in service.values}


def _record(service: Service) -> dict[str, Any]:
    return {"Id": service.id, "Path": service.path, **service.values}
