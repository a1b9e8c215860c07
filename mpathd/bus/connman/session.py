"""net.connman.Session and what its owner is told: sessions as on the native face, at ConnMan's paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from mpathd.bus.errors import listing, quoted
from mpathd.bus.notices import RELEASE, UPDATE
from mpathd.bus.sessioncalls import end
from mpathd.bus.sessions import SESSION as NATIVE
from mpathd.bus.sessions import Sessions, SessionShown, client_name, create
from mpathd.bus.table import Call, Interface, Listener, Object, Property
from mpathd.model.errors import InvalidArguments, NotApplied
from mpathd.model.statistics import Statistics
from mpathd.model.view import Service, View
from mpathd.model.words import Family

from .values import ipv4, ipv6

FACE = "net.connman"
FOLDER = "/sessions"

SESSION = Interface(
    "net.connman.Session",
    methods=tuple(row for row in NATIVE.methods if row.name in {"Destroy", "Connect", "Disconnect", "Change"}),
)

NOTIFICATION = Interface("net.connman.Notification", signals=(RELEASE, UPDATE))


def _address(family: Family, show: Callable[[Service], dict[str, Any]], shown: SessionShown) -> dict[str, Any]:
    service = shown.serves.get(family)
    return show(service) if service is not None else {}


def _interface(shown: SessionShown) -> str:
    return str(shown.asked["allowed_interface"] or "*")


def _rows() -> Iterator[Property]:
    own = {
        "IPv4": Property("IPv4", "a{sv}", partial(_address, Family.INET, ipv4)),
        "IPv6": Property("IPv6", "a{sv}", partial(_address, Family.INET6, ipv6)),
        "AllowedInterface": Property("AllowedInterface", "s", _interface),
    }
    known = {row.name: row for row in NATIVE.properties}
    for name in (
        *("AllowedBearers", "Bearer", "ConnectionType", "State", "FlowSelectors", "MultipathRoutedServices"),
        *("IPv4", "IPv6", "Interface", "Name", "AllowedInterface", "ContextIdentifier", "SourceIPRule"),
    ):
        yield own.get(name) or known[name]


# What Update tells: what ConnMan's does, and what the multipath patches of 2016 added.
TOLD = tuple(_rows())


def _uncounted(_name: str) -> Statistics:
    return Statistics()


def session_path(name: str) -> str:
    """Give the path of a session.

    Args:
        name: of the client's session.
    """
    return f"{FOLDER}/{name.rstrip('/')}"


def sessions(made: Sessions, view: View) -> Iterator[Object]:
    """Give the sessions that clients of this face have made; ConnMan has no statistics of them.

    Args:
        made: makes the objects.
        view: the picture.
    """
    ours = tuple(one for one in view.sessions if one.settings.client and one.settings.client.face == FACE)
    for thing in made.objects(replace(view, sessions=ours), _uncounted):
        settings = thing.subject.session.settings
        listener = Listener(settings.owner, settings.client.notifier, NOTIFICATION.name, TOLD)
        yield Object(session_path(settings.name), thing.subject, (SESSION,), listener)


async def create_session(call: Call) -> list[Any]:
    """Make a session; what the kernel refuses of it is tried again, and a finding: ConnMan has no word for it.

    Args:
        call: with settings and notifier.
    """
    path = session_path(client_name((await call.caller()).sender, call.args[1]))
    with suppress(NotApplied):
        await create(call, FACE, path)
    return [path]


async def destroy_session(call: Call) -> list[Any]:
    """End a session.

    Args:
        call: with its path.

    Raises:
        InvalidArguments: there is none.
    """
    known = {path: thing for path, thing in call.tree.objects.items() if SESSION in thing.interfaces}
    thing = known.get(call.args[0])
    if thing is None:
        raise InvalidArguments(f"no session at {quoted(call.args[0])}", listing("sessions", known))
    await end(call, thing)
    return []
