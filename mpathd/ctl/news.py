"""What monitor tells: signals as facts, facts as lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import codec
from ..codec import Message
from .client import MANAGER, NAME, PROPERTIES, SERVICE, SESSION, SESSIONS, session_name
from .words import clean, value

OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"

# What a written command does, if one of its words is among these.
VERBS = ("add", "replace", "change", "del", "delete", "flush", "set")

# What monitors leave out: what other properties say too, and counters, which change all the time.
UNTOLD = {"Letters", "Statistics"}

# Objects that come, go and change: interface to the word, and the key for programs.
WATCHED = {SERVICE: ("service", "Service"), SESSION: ("session", "Session")}


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened.

    Args:
        word: what kind of thing, to grep for.
        text: what, for people.
        data: what, for programs.
    """

    word: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)


def line(fact: Fact, time: str) -> str:
    """Write a fact for people.

    Args:
        fact: the fact.
        time: when, "12:04:31.271".
    """
    return f"{time} {fact.word:<8} {clean(fact.text)}"


def record(fact: Fact, time: str) -> dict[str, Any]:
    """Give a fact for programs.

    Args:
        fact: the fact.
        time: when, with date and zone.
    """
    return {"Time": time, "Event": fact.word, **fact.data}


def daemon(owner: str) -> Fact:
    """Tell whether mpathd is there.

    Args:
        owner: its unique name on the bus; empty when it is not there.
    """
    return Fact("mpathd", f"is there ({owner})" if owner else "is not there", {"Running": bool(owner), "Owner": owner})


def facts(message: Message) -> Iterator[Fact]:
    """Read the facts out of a signal; one that says nothing to people gives none.

    Args:
        message: the signal.
    """
    match message.fields.get(codec.INTERFACE), message.fields.get(codec.MEMBER), list(message.body):
        case "org.freedesktop.DBus", "NameOwnerChanged", [str(name), str(), str(owner)] if name == NAME:
            yield daemon(owner)
        case interface, "Pass", [dict(told)] if interface == MANAGER:
            yield from _pass(told)
        case interface, "PropertiesChanged", [str(changed), dict(values), *_] if interface == PROPERTIES:
            yield from _changes(message.fields.get(codec.PATH, ""), changed, values)
        case interface, "InterfacesAdded", [str(path), dict(interfaces)] if interface == OBJECT_MANAGER:
            for interface in WATCHED.keys() & interfaces.keys():
                shown = interfaces[interface]
                word, key = WATCHED[interface]
                state = ", ".join(filter(None, (shown.get("Interface"), shown.get("State"))))
                yield Fact(word, f"{_id(path)} came: {state}", {key: _id(path), "Change": "came", "Properties": shown})
        case interface, "InterfacesRemoved", [str(path), list(interfaces)] if interface == OBJECT_MANAGER:
            for interface in WATCHED.keys() & set(interfaces):
                word, key = WATCHED[interface]
                yield Fact(word, f"{_id(path)} went", {key: _id(path), "Change": "went"})
        case _:
            pass


def _id(path: str) -> str:
    return session_name(path) if path.startswith(SESSIONS) else path.rpartition("/")[2]


def _pass(told: Mapping[str, Any]) -> Iterator[Fact]:
    number, reasons = told.get("Number", 0), list(told.get("Reasons", ()))
    took = told.get("Milliseconds", 0.0)
    because = f" because {', '.join(reasons)}" if reasons else ""
    data = {"Number": number, "Reasons": reasons, "Milliseconds": took}
    yield Fact("pass", f"{number}{because} ({took:.1f} ms)", data)
    for step in told.get("Steps", ()):
        yield Fact(_verb(step), step, {"Pass": number, "Command": step})
    for refusal in told.get("Refused", ()):
        yield Fact("refused", refusal, {"Pass": number, "Text": refusal})


def _verb(step: str) -> str:
    """What a written command does: "add" of "ip -4 rule add pref ..."."""
    return next((word for word in step.split() if word in VERBS), "did")


def _changes(path: str, interface: str, values: Mapping[str, Any]) -> Iterator[Fact]:
    if interface in WATCHED:
        word, key = WATCHED[interface]
        who, data = f"{_id(path)} ", {key: _id(path), "Change": "changed"}
    elif interface == MANAGER:
        word, who, data = "manager", "", {}
    else:
        return
    for name, thing in values.items():
        if name in UNTOLD:
            continue
        yield Fact(word, f"{who}{name} = {value(thing)}", {**data, "Property": name, "Value": thing})
