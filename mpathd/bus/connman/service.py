"""net.connman.Service: what mpathd knows of a link, in ConnMan's rows."""

from __future__ import annotations

from functools import partial
from typing import Any

from mpathd.bus.errors import listing, quoted
from mpathd.bus.table import Arg, Call, Interface, Method, Property, trusted
from mpathd.bus.values import ethernet, wish
from mpathd.model.agent import Edit
from mpathd.model.errors import InvalidProperty
from mpathd.model.path import fit
from mpathd.model.settings import SETTINGS, Setting
from mpathd.model.view import Service
from mpathd.model.words import ServiceState

from .errors import AlreadyConnected, InProgress, InvalidService, NoCarrier, NotConnected
from .properties import CHANGED, methods, unable
from .values import configuration, ipv4, ipv6

FOLDER = "/net/connman/service"
NAME = "net.connman.Service"

NO_ADDRESSES = (
    "mpathd configures no addresses, name servers or proxies",
    "change it where the link is configured: systemd-networkd, NetworkManager, ifupdown",
)


def service_path(identifier: str) -> str:
    """Give the path of a service.

    Args:
        identifier: its id.
    """
    return f"{FOLDER}/{fit(identifier)}"


async def _change(row: Setting, call: Call, value: Any) -> None:
    await call.agent.change(Edit({row.field: wish(row, value)}, call.object.subject.id))


def _setting(row: Setting) -> Property:
    return Property(
        row.property, row.signature, lambda service: getattr(service.settings, row.field), partial(_change, row)
    )


def _fixed(name: str, signature: str, value: Any) -> tuple[Property, Property]:
    """A property of which mpathd knows nothing, and its configuration."""

    def get(_service: Service) -> Any:
        return value

    return (
        Property(name, signature, get),
        Property(f"{name}.Configuration", signature, get, partial(unable, *NO_ADDRESSES)),
    )


ROWS = (
    Property("Type", "s", lambda service: str(service.technology)),
    Property("Security", "as", lambda _service: []),
    Property("State", "s", lambda service: str(service.state)),
    Property("Favorite", "b", lambda _service: True),
    Property("Immutable", "b", lambda _service: True),  # ConnMan's word for "only AutoConnect can be set"
    *(_setting(row) for row in SETTINGS),
    Property("Name", "s", lambda service: service.name),
    Property("Ethernet", "a{sv}", ethernet),
    Property("IPv4", "a{sv}", ipv4),
    Property(
        "IPv4.Configuration",
        "a{sv}",
        lambda service: configuration(ipv4(service)),
        partial(unable, *NO_ADDRESSES),
    ),
    Property("IPv6", "a{sv}", ipv6),
    Property(
        "IPv6.Configuration",
        "a{sv}",
        lambda service: configuration(ipv6(service)),
        partial(unable, *NO_ADDRESSES),
    ),
    *_fixed("Nameservers", "as", []),
    *_fixed("Timeservers", "as", []),
    *_fixed("Domains", "as", []),
    *_fixed("Proxy", "a{sv}", {}),
    *_fixed("mDNS", "b", value=False),
    Property("Provider", "a{sv}", lambda _service: {}),
)


async def _clear(call: Call) -> list[Any]:
    if call.args[0] != "Error":
        raise InvalidProperty(f"property {quoted(call.args[0])} cannot be cleared", "only Error can be")
    return []


async def _connect(call: Call) -> list[Any]:
    service: Service = call.object.subject
    if service.settings.autoconnect and service.state.connected:
        raise AlreadyConnected(f"Already connected: '{service.id}' is in use", "nothing needs to be done")
    await call.agent.change(Edit({"autoconnect": True}, service.id, lasting=False))
    state = next((one.state for one in call.agent.view.services if one.id == service.id), ServiceState.IDLE)
    hint = "sessions use it as soon as it is ready"
    if state is ServiceState.CONFIGURATION:
        raise InProgress(f"In progress: '{service.id}' has no address or no gateway yet", hint)
    if not state.connected:
        raise NoCarrier(f"No carrier: '{service.id}' has no far end", hint)
    return []


async def _disconnect(call: Call) -> list[Any]:
    service: Service = call.object.subject
    if not service.settings.autoconnect:
        raise NotConnected(f"Not connected: '{service.id}' is not in use", "nothing needs to be done")
    await call.agent.change(Edit({"autoconnect": False}, service.id, lasting=False))
    return []


async def _move(call: Call, *, before: bool) -> list[Any]:
    path = call.args[0]
    services = {at: thing for at, thing in call.tree.objects.items() if SERVICE in thing.interfaces}
    others = listing("others", (at for at in services if at != call.path))
    if path == call.path:
        raise InvalidService(f"{path} cannot stand {'before' if before else 'after'} itself", others)
    if path not in services:
        raise InvalidService(f"no service at {quoted(path)}", others)
    await call.agent.move(call.object.subject.id, services[path].subject.id, before=before)
    return []


SERVICE = Interface(
    NAME,
    methods=(
        *methods(ROWS),
        Method("ClearProperty", _clear, (Arg("name", "s"),), may=trusted),
        Method("Connect", _connect, may=trusted),
        Method("Disconnect", _disconnect, may=trusted),
        Method(
            "Remove",
            partial(unable, "a service of mpathd's is a link, and goes with it", "to leave it out: [uplinks] exclude"),
        ),
        Method("MoveBefore", partial(_move, before=True), (Arg("service", "o"),), may=trusted),
        Method("MoveAfter", partial(_move, before=False), (Arg("service", "o"),), may=trusted),
        Method(
            "ResetCounters",
            partial(unable, "mpathd does not count what services carry", "see: ip -s link"),
        ),
    ),
    signals=(CHANGED,),
)
