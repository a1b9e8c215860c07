"""Sessions on the native face: objects, settings, who may, and what their clients are told."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mpathd.codec import Variant
from mpathd.model.agent import SessionWish
from mpathd.model.errors import AlreadyExists, NotFound
from mpathd.model.path import fit
from mpathd.model.session import Client, Origin, SessionSettings
from mpathd.model.sessionsettings import CLIENT_SETTINGS, SessionSetting
from mpathd.model.statistics import Statistics
from mpathd.model.view import Service, SessionView, View
from mpathd.model.words import Family

from .errors import listing, quoted
from .notices import RELEASE, UPDATE
from .sessioncalls import (
    activate,
    asked,
    change,
    configure,
    destroy,
    end,
    enter,
    entrant,
    maker,
    name_of,
    owner,
    set_setting,
    stats,
)
from .standard import ADDED as NEW
from .standard import CHANGED, PROPERTIES, values
from .standard import REMOVED as GONE
from .table import (
    Arg,
    Call,
    Emission,
    Interface,
    Listener,
    Method,
    Object,
    Property,
    Signal,
    Tree,
)
from .values import addresses, statistics

FACE = "net.mpathd"
SESSIONS = "/net/mpathd/session"


@dataclass(frozen=True, slots=True)
class SessionShown:
    """What a session's properties are read from.

    Args:
        session: the session.
        asked: its settings as D-Bus values, by field.
        best: the service that it shows.
        serves: the service of each family.
        count: reads its statistics.
    """

    session: SessionView
    asked: Mapping[str, Any]
    best: Service | None
    serves: Mapping[Family, Service]
    count: Callable[[], Statistics] = field(default=Statistics, compare=False)


def client_name(sender: str, notifier: str) -> str:
    """Give the name of a client's session, formed as ConnMan does.

    Args:
        sender: the client's unique name.
        notifier: path of its object.
    """
    return sender.translate(str.maketrans(":.", "__")) + notifier


def session_path(name: str, origin: Origin) -> str:
    """Give the path of a session.

    Args:
        name: its name.
        origin: where it comes from.
    """
    if origin is Origin.DBUS:
        return f"{SESSIONS}/{name.rstrip('/')}"
    return f"{SESSIONS}/{origin.value}/{fit(name)}"


def _plain(row: SessionSetting, settings: SessionSettings) -> Any:
    value = getattr(settings, row.field)
    if row.signature == "as":
        return [str(item) for item in value or ()]
    return str(value) if row.signature == "s" else value


class Sessions:
    """Makes the objects of sessions; what is the same is not made again."""

    def __init__(self) -> None:
        self._services: tuple[Service, ...] = ()
        self._known: dict[str, Object] = {}

    def objects(self, view: View, count: Callable[[str], Statistics]) -> Iterable[Object]:
        """Give the objects.

        Args:
            view: the picture.
            count: reads the statistics of a session.
        """
        same, self._services = view.services == self._services, view.services
        services = {service.id: service for service in view.services}
        known, self._known = self._known, {}
        for session in view.sessions:
            thing = known.get(session.name)
            if thing is None or thing.subject.session is not session or not (same or _serve(services, thing.subject)):
                thing = self._object(session, services, count, thing)
            self._known[session.name] = thing
        return self._known.values()

    @staticmethod
    def _object(
        session: SessionView, services: Mapping[str, Service], count: Callable[[str], Statistics], before: Object | None
    ) -> Object:
        settings = session.settings
        if before is not None and before.subject.session.settings is settings:
            asked = before.subject.asked
        else:
            asked = {row.field: _plain(row, settings) for row in CLIENT_SETTINGS}
        shown = SessionShown(
            session=session,
            asked=asked,
            best=services.get(session.service),
            serves={family: services[name] for family, name in session.defaults.items() if name in services},
            count=partial(count, session.name),
        )
        thing = Object(session_path(session.name, settings.origin), shown, (SESSION,), _listener(settings))
        return before if before is not None and before == thing else thing


def _serve(services: Mapping[str, Service], shown: SessionShown) -> bool:
    """Whether a session's services are the same ones as when it was shown."""
    session = shown.session
    return shown.best is services.get(session.service) and all(
        shown.serves.get(family) is services.get(name) for family, name in session.defaults.items()
    )


def _listener(settings: SessionSettings) -> Listener | None:
    client = settings.client
    if client is None or client.face != FACE:
        return None
    return Listener(settings.owner, client.notifier, NOTIFICATION.name, TOLD)


async def create(call: Call, face: str, path: str) -> None:
    """Make a session of the caller's.

    Args:
        call: CreateSession, with settings and notifier.
        face: the bus name that was called.
        path: where the session will be on this face.
    """
    settings, notifier = call.args
    wanted = asked(settings)
    caller = await call.caller()
    client = Client(await call.visit.stay(), face, notifier)
    if path not in call.tree.objects:
        call.visit.hold(path)  # its first Update comes after our answer
    name = client_name(caller.sender, notifier)
    wish = SessionWish(name, Origin.DBUS, caller.sender, caller.uid, caller.trusted, wanted, client)
    call.visit.here()
    await call.agent.create_session(wish)


async def _create(call: Call) -> list[Any]:
    path = session_path(client_name((await call.caller()).sender, call.args[1]), Origin.DBUS)
    await create(call, FACE, path)
    return [path]


async def _create_named(call: Call) -> list[Any]:
    name, settings = call.args
    wanted = asked(settings)
    caller = await call.caller()
    path = session_path(name, Origin.NAMED)
    other = call.tree.objects.get(path)
    if other is not None and other.subject.session.name != name:
        msg = f"session '{other.subject.session.name}' has the path that '{name}' would have"
        raise AlreadyExists(msg, "choose another name")
    await call.agent.create_session(SessionWish(name, Origin.NAMED, caller.user, caller.uid, caller.trusted, wanted))
    return [path]


def _all(call: Call) -> dict[str, Object]:
    return {path: thing for path, thing in call.tree.objects.items() if SESSION in thing.interfaces}


async def _get_all(call: Call) -> list[Any]:
    return [[[path, values(SESSION, thing)] for path, thing in _all(call).items()]]


async def _destroy_at(call: Call) -> list[Any]:
    known = _all(call)
    thing = known.get(call.args[0])
    if thing is None:
        raise NotFound(f"no session at {quoted(call.args[0])}", listing("sessions", known))
    await end(call, thing)
    return []


def _property(row: SessionSetting) -> Property:
    if row.field == "services":  # what is in force; what was asked for may be "choose yourself"
        return Property(
            row.property, row.signature, lambda shown: list(shown.session.routed), partial(set_setting, row), owner
        )
    return Property(row.property, row.signature, lambda shown: shown.asked[row.field], partial(set_setting, row), owner)


def _address(family: Family, shown: SessionShown) -> dict[str, Any]:
    service = shown.serves.get(family)
    rows = addresses(service, family) if service is not None else []
    return rows[0] if rows else {}


STATISTICS = Property(
    "Statistics",
    "a{sv}",
    lambda shown: statistics(shown.count()),
    hint="it counts by itself, and never back",
    quiet=True,
)

CREATE = (
    Method(
        "CreateSession",
        _create,
        (Arg("settings", "a{sv}"), Arg("notifier", "o")),
        (Arg("session", "o"),),
    ),
    Method(
        "CreateNamedSession",
        _create_named,
        (Arg("name", "s"), Arg("settings", "a{sv}")),
        (Arg("session", "o"),),
        maker,
    ),
    Method("DestroySession", _destroy_at, (Arg("session", "o"),)),
    Method("GetSessions", _get_all, gives=(Arg("sessions", "a(oa{sv})"),)),
)

ADDED = Signal("SessionAdded", (Arg("session", "o"), Arg("properties", "a{sv}")))
REMOVED = Signal("SessionRemoved", (Arg("session", "o"),))

SESSION = Interface(
    "net.mpathd.Session",
    methods=(
        Method("Connect", partial(activate, active=True), may=owner),
        Method("Disconnect", partial(activate, active=False), may=owner),
        Method("Change", change, (Arg("name", "s"), Arg("value", "v")), may=owner),
        Method("Configure", configure, (Arg("settings", "a{sv}"),), may=owner),
        Method("Destroy", destroy),
        Method("Enter", enter, gives=(Arg("cgroup", "s"),), may=entrant),
        Method("Stats", stats, gives=(Arg("statistics", "a{sv}"),)),
    ),
    properties=(
        *(_property(row) for row in CLIENT_SETTINGS),
        Property("Name", "s", lambda shown: shown.best.name if shown.best is not None else ""),
        Property("State", "s", lambda shown: shown.session.state),
        Property("Bearer", "s", lambda shown: shown.session.bearer),
        Property("Interface", "s", lambda shown: shown.session.interface),
        Property("IPv4", "a{sv}", partial(_address, Family.INET)),
        Property("IPv6", "a{sv}", partial(_address, Family.INET6)),
        Property("Active", "b", lambda shown: shown.session.active, hint="call Connect or Disconnect"),
        Property("Identifier", "s", lambda shown: shown.session.name),
        Property("Mark", "u", lambda shown: shown.session.mark),
        Property("Owner", "s", lambda shown: shown.session.settings.owner),
        Property("Origin", "s", lambda shown: str(shown.session.settings.origin)),
        Property(
            "BoundBy",
            "as",
            lambda shown: list(shown.session.settings.bounds),
            hint="policy files name it; see mpathd-policy(5), BOUNDS",
        ),
        Property("Reason", "s", lambda shown: shown.session.reason),
        STATISTICS,
    ),
)

# What a session's client is told: what the post shows, and what ConnMan's clients know besides.
TOLD = tuple(
    row
    for row in SESSION.properties
    if row.name
    in {
        *("AllowedBearers", "Bearer", "ConnectionType", "State", "FlowSelectors", "MultipathRoutedServices"),
        *("IPv4", "IPv6", "Interface", "Name", "AllowedInterface", "ContextIdentifier", "SourceIPRule"),
    }
)

NOTIFICATION = Interface("net.mpathd.Notification", signals=(UPDATE, RELEASE))


def counted(tree: Tree, names: Container[str]) -> Iterator[Emission]:
    """Tell of statistics.

    Args:
        tree: what is true now.
        names: of sessions whose statistics have changed.
    """
    for path, thing in tree.objects.items():
        if SESSION in thing.interfaces and name_of(thing) in names:
            fresh = {STATISTICS.name: Variant(STATISTICS.signature, STATISTICS.get(thing.subject))}
            yield Emission(path, PROPERTIES.name, CHANGED, [SESSION.name, fresh, []])


def told(general: Iterable[Emission], manager: str, interface: str) -> Iterator[Emission]:
    """Tell of sessions that have come and gone.

    Args:
        general: what the standard's signals tell.
        manager: path of the object that tells.
        interface: its interface.
    """
    for one in general:
        if one.signal is GONE and SESSION.name in one.body[1]:
            yield Emission(manager, interface, REMOVED, [one.body[0]])
        elif one.signal is NEW and SESSION.name in one.body[1]:
            yield Emission(manager, interface, ADDED, [one.body[0], one.body[1][SESSION.name]])
