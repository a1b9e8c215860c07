"""Sessions that are asked for at run time: checks, limits, and their form on disk."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from ..model.agent import SessionWish
from ..model.errors import AlreadyExists, ConfigError, InvalidArguments, LimitsExceeded, MpathError
from ..model.session import Client, Origin, SessionSettings
from ..model.sessionsettings import CLIENT_SETTINGS, KEPT
from .config import Unfit, unfit
from .policyfile import NAME, Names, keys

EMPTY: tuple[object, ...] = ("", [], ())
KINDS = {"s": str, "b": bool}
ROWS = {row.field: row for row in CLIENT_SETTINGS}
DEFAULTS = SessionSettings("", Origin.NAMED, "")

_keys = lru_cache(1)(keys)  # there is one machine


@dataclass(frozen=True, slots=True)
class Limits:
    """What one unprivileged user may ask for.

    Args:
        sessions: sessions of one user.
        selectors: selectors of one session.
    """

    sessions: int = 32
    selectors: int = 1000


@dataclass(frozen=True, slots=True)
class Wished:
    """A session that was asked for at run time.

    Args:
        settings: what it is to be.
        user: who asked.
        active: Connect and Disconnect.
        lines: its form on disk, once that was asked for.
    """

    settings: SessionSettings
    user: int
    active: bool = True
    lines: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def written(self) -> str:
        """Its form on disk; it is written again with each change of another session, and made once."""
        if not self.lines:
            self.lines.append(_written(self))
        return self.lines[0]


def values(given: Mapping[str, object], names: Names) -> dict[str, object]:
    """Check values by field; an empty one stands for the default.

    Args:
        given: field of CLIENT_SETTINGS to value as it came.
        names: who knows users and groups.

    Raises:
        InvalidArguments: one of them does not fit; the text says which, what was expected, an example.
    """
    known = _keys(names)
    out: dict[str, object] = {}
    for name, value in given.items():
        row = ROWS.get(name)
        if row is None:
            raise InvalidArguments(f"no session setting '{name}'", f"settings: {', '.join(ROWS)}")
        if name == "services":
            out[name] = _services(value)
        elif row in KEPT:
            if not isinstance(value, KINDS[row.signature]):
                raise InvalidArguments(unfit(row.property, value), f"expected type {row.signature}")
            out[name] = value
        elif value in EMPTY or value == [""]:
            out[name] = getattr(DEFAULTS, name)
        else:
            try:
                out[name] = known[row.key][1](list(value) if isinstance(value, tuple) else value)
            except (Unfit, MpathError) as error:
                raise InvalidArguments(unfit(row.property, value), str(error)) from None
    return out


def _services(value: object) -> tuple[str, ...] | None:
    """By hand: kept as given, an empty list means none, "*" lets mpathd choose again (mpathd-policy(5))."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise InvalidArguments(unfit("MultipathRoutedServices", value), "expected a list of service ids")
    return None if "*" in value else tuple(item for item in value if item)


def settings_of(wish: SessionWish, names: Names) -> SessionSettings:
    """Give the settings that a wish asks for.

    Args:
        wish: the wish.
        names: who knows users and groups.

    Raises:
        InvalidArguments: a value or the name does not fit.
    """
    if not NAME.fullmatch(wish.name.removeprefix("/")) and wish.origin is Origin.NAMED:
        raise InvalidArguments(f"'{wish.name}' is no session name", "expected letters, digits, _ . and -, at most 64")
    only = None if wish.trusted else wish.user
    given = values(wish.values, names)
    return SessionSettings(wish.name, wish.origin, wish.owner, only_user=only, client=wish.client, **given)  # type: ignore[arg-type]


def admitted(wish: Wished, there: Iterable[Wished], policy: Iterable[SessionSettings], limits: Limits) -> None:
    """Check that a session may come in beside those that are there.

    Args:
        wish: the new one, or a changed one.
        there: those of run time, without it.
        policy: those of policy files.
        limits: for users without privileges.

    Raises:
        AlreadyExists: the name is taken.
        LimitsExceeded: too many.
    """
    others = tuple(there)
    for other in (*(o.settings for o in others), *policy):
        if other.name == wish.settings.name:
            raise AlreadyExists(
                f"session '{other.name}' is there already, of {other.owner} ({other.origin.value}); "
                f"{wish.settings.owner} asks for it too",
                f"choose another {'notifier' if wish.settings.client else 'name'}, or destroy the other one",
            )
    if wish.settings.only_user is None:
        return
    count = sum(1 for other in others if other.user == wish.user)
    if count >= limits.sessions:
        text = f"user {wish.user} has {count} sessions"
        raise LimitsExceeded(text, f"[sessions] max_per_user is {limits.sessions}")
    if len(wish.settings.selectors) > limits.selectors:
        text = f"{len(wish.settings.selectors)} flow selectors in one session"
        raise LimitsExceeded(text, f"[sessions] max_selectors is {limits.selectors}")


def dump(wished: Iterable[Wished]) -> str:
    """Write sessions as JSON, one a line.

    Args:
        wished: the sessions.
    """
    return '{"version": 1, "sessions": [\n' + ",\n".join(item.written() for item in wished) + "\n]}\n"


def _written(item: Wished) -> str:
    settings = item.settings
    given = {row.field: _plain(getattr(settings, row.field)) for row in CLIENT_SETTINGS}
    if settings.services is None:
        given["services"] = ["*"]
    head: dict[str, object] = {
        "name": settings.name,
        "origin": settings.origin.value,
        "owner": settings.owner,
        "user": item.user,
    }
    if (client := settings.client) is not None:
        head["client"] = {"bus": client.bus, "face": client.face, "notifier": client.notifier}
    return json.dumps({**head, "active": item.active, "trusted": settings.only_user is None, "settings": given})


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [item if isinstance(item, int) else str(item) for item in value]
    return value if isinstance(value, int) or value is None else str(value)


def load(text: str, names: Names) -> tuple[tuple[Wished, ...], dict[str, str]]:
    """Read sessions, and say of each that cannot be used, by its name, what is wrong with it.

    Args:
        text: what dump() wrote.
        names: who knows users and groups.

    Raises:
        ConfigError: it is something else.
    """
    try:
        data = json.loads(text)
        if data["version"] != 1:
            raise ConfigError(f"version {data['version']!r} is not known", "expected 1")
        items = list(data["sessions"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _none(error) from None
    found, bad = [], {}
    for item in items:
        try:
            found.append(_wished(item, names))
        except MpathError as error:  # what was asked for by an older version, or is no user any more
            bad[str(item["name"])] = str(error).replace("\n  ", "; ")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _none(error) from None
    return tuple(found), bad


def _none(error: Exception) -> ConfigError:
    return ConfigError(f"not stored sessions: {error!r}", 'expected {"version": 1, ...}')


def _wished(item: Mapping[str, object], names: Names) -> Wished:
    given, user, told = item["settings"], item["user"], item.get("client")
    if not isinstance(given, dict) or not isinstance(user, int) or not isinstance(told, dict | None):
        raise TypeError(item)
    client = None if told is None else Client(str(told["bus"]), str(told["face"]), str(told["notifier"]))
    origin, owner = Origin(str(item["origin"])), str(item["owner"])
    wish = SessionWish(str(item["name"]), origin, owner, user, bool(item["trusted"]), given, client)
    return Wished(settings_of(wish, names), user, bool(item["active"]))
