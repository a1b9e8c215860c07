"""What `session monitor` tells: signals as updates of sessions, in the post's form. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import codec
from ..codec import Message
from . import news, sessionwords
from .client import MANAGER, NAME, PROPERTIES, SESSION, Session
from .words import clean

DRIVER = "org.freedesktop.DBus"


@dataclass(frozen=True, slots=True)
class Told:
    """Something that became of a session, or of mpathd.

    Args:
        word: "update", "release", or "mpathd".
        path: the session's object; of mpathd, its unique name, empty while it is not there.
        name: the session's.
        values: all its properties at first, then those that changed.
    """

    word: str
    path: str
    name: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


def daemon(owner: str) -> Told:
    """Tell whether mpathd is there.

    Args:
        owner: its unique name on the bus; empty when it is not there.
    """
    return Told("mpathd", owner)


def started(message: Message) -> bool:
    """Tell whether mpathd has just come, so that its sessions are to be asked for again.

    Args:
        message: a signal.
    """
    return any(row.word == "mpathd" and row.data["Running"] for row in news.facts(message))


class Ears:
    """Hears signals, and knows which session each is about.

    Attributes:
        only: name or path of the one session that is of interest; empty for all.
    """

    def __init__(self) -> None:
        self.only = ""
        self._names: dict[str, str] = {}

    def all(self, sessions: Iterable[Session]) -> Iterator[Told]:
        """Tell all sessions whole, and that those have gone which were there before.

        Args:
            sessions: all that there are.
        """
        found = {session.path: session for session in sessions}
        for path in [path for path in self._names if path not in found]:
            yield from self._release(path)
        for session in found.values():
            yield from self._whole(session)

    def hear(self, message: Message) -> Iterator[Told]:
        """Tell what a signal says; of what is not asked for, nothing.

        Args:
            message: the signal.
        """
        match message.fields.get(codec.INTERFACE), message.fields.get(codec.MEMBER), list(message.body):
            case interface, "SessionAdded", [str(path), dict(values)] if interface == MANAGER:
                yield from self._whole(Session(path, values))
            case interface, "SessionRemoved", [str(path)] if interface == MANAGER:
                yield from self._release(path)
            case interface, "PropertiesChanged", [str(changed), dict(values), *_] if interface == PROPERTIES:
                path, values = message.fields.get(codec.PATH, ""), _told(values)
                if changed == SESSION and values and path in self._names and self._wanted(path, self._names[path]):
                    yield Told("update", path, self._names[path], values)
            case interface, "NameOwnerChanged", [str(name), str(), str(owner)] if (interface, name) == (DRIVER, NAME):
                yield daemon(owner)
            case _:
                pass

    def _whole(self, session: Session) -> Iterator[Told]:
        self._names[session.path] = session.id
        if self._wanted(session.path, session.id):
            yield Told("update", session.path, session.id, _told(session.values))

    def _release(self, path: str) -> Iterator[Told]:
        name = self._names.pop(path, "")
        if name and self._wanted(path, name):
            yield Told("release", path, name)

    def _wanted(self, path: str, name: str) -> bool:
        return self.only in {"", path, name}


def _told(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: thing for name, thing in values.items() if name not in news.UNTOLD}


def text(told: Told, time: str) -> str:
    """Write it for people.

    Args:
        told: what.
        time: when, "12:04:31.271".
    """
    match told.word:
        case "update":
            return f"{time} Update called at {clean(told.path)}\n{sessionwords.properties(told.values)}"
        case "release":
            return f"{time} Release called at {clean(told.path)}"
        case _:
            return f"{time} {told.word} {news.daemon(told.path).text}"


def record(told: Told, time: str) -> dict[str, Any]:
    """Give it for programs.

    Args:
        told: what.
        time: when, with date and zone.
    """
    if told.word == "mpathd":
        return news.record(news.daemon(told.path), time)
    data = {"Session": told.name, "Path": told.path}
    return {"Time": time, "Event": told.word, **data, **({"Properties": told.values} if told.values else {})}
