"""net.connman.Manager: services, technologies and sessions in ConnMan's calls; the rest says that it is not here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mpathd.bus.table import Arg, Call, Emission, Interface, Method, Property, Signal, Tree

from . import service, technology
from .properties import CHANGED, methods, told, unable
from .service import SERVICE
from .session import create_session, destroy_session
from .technology import NO_SWITCH, NO_TETHERING, TECHNOLOGY

ROOT = "/"
NAME = "net.connman.Manager"

NO_VPN = ("mpathd makes no VPN connections, and uses those that are there", "start it with its own tools")
NO_PEERS = ("mpathd knows no peers", "see: wpa_cli")


@dataclass(frozen=True, slots=True)
class ManagerShown:
    """What the Manager's properties are read from.

    Args:
        state: "idle", "ready" or "online".
    """

    state: str


async def _set_offline(_call: Call, value: Any) -> None:
    if value:
        await unable(*NO_SWITCH)


async def _set_session_mode(_call: Call, _value: Any) -> None:
    """Accept it: it has had no effect in ConnMan since 2013, and clients set it all the same."""


ROWS = (
    Property("State", "s", lambda shown: shown.state),
    Property("OfflineMode", "b", lambda _shown: False, _set_offline),
    Property("SessionMode", "b", lambda _shown: False, _set_session_mode),
)


async def _list(interface: Interface, rows: Sequence[Property], call: Call) -> list[Any]:
    found = (thing for thing in call.tree.objects.values() if interface in thing.interfaces)
    return [[[thing.path, told(rows, thing.subject)] for thing in found]]


async def _nothing(_call: Call) -> list[Any]:
    """Answer that there is none."""
    return [[]]


async def _accept(_call: Call) -> list[Any]:
    """Take note of nothing: mpathd never has a question for an agent, since it sets up no connections."""
    return []


TECHNOLOGY_ADDED = Signal("TechnologyAdded", (Arg("path", "o"), Arg("properties", "a{sv}")))
TECHNOLOGY_REMOVED = Signal("TechnologyRemoved", (Arg("path", "o"),))
SERVICES_CHANGED = Signal("ServicesChanged", (Arg("changed", "a(oa{sv})"), Arg("removed", "ao")))
PEERS_CHANGED = Signal("PeersChanged", (Arg("changed", "a(oa{sv})"), Arg("removed", "ao")))
TETHERING_CHANGED = Signal("TetheringClientsChanged", (Arg("registered", "as"), Arg("removed", "as")))

MANAGER = Interface(
    NAME,
    methods=(
        *methods(ROWS),
        Method(
            "GetTechnologies",
            partial(_list, TECHNOLOGY, technology.ROWS),
            gives=(Arg("technologies", "a(oa{sv})"),),
        ),
        Method("GetServices", partial(_list, SERVICE, service.ROWS), gives=(Arg("services", "a(oa{sv})"),)),
        Method("GetPeers", _nothing, gives=(Arg("peers", "a(oa{sv})"),)),
        Method("GetTetheringClients", _nothing, gives=(Arg("tethering_clients", "as"),)),
        Method("RegisterAgent", _accept, (Arg("path", "o"),)),
        Method("UnregisterAgent", _accept, (Arg("path", "o"),)),
        Method("RegisterCounter", _accept, (Arg("path", "o"), Arg("accuracy", "u"), Arg("period", "u"))),
        Method("UnregisterCounter", _accept, (Arg("path", "o"),)),
        Method(
            "CreateSession",
            create_session,
            (Arg("settings", "a{sv}"), Arg("notifier", "o")),
            (Arg("session", "o"),),
        ),
        Method("DestroySession", destroy_session, (Arg("session", "o"),)),
        Method(
            "RequestPrivateNetwork",
            partial(unable, *NO_TETHERING),
            gives=(Arg("path", "o"), Arg("settings", "a{sv}"), Arg("socket", "h")),
        ),
        Method("ReleasePrivateNetwork", partial(unable, *NO_TETHERING), (Arg("path", "o"),)),
        Method(
            "RegisterPeerService",
            partial(unable, *NO_PEERS),
            (Arg("specification", "a{sv}"), Arg("master", "b")),
        ),
        Method("UnregisterPeerService", partial(unable, *NO_PEERS), (Arg("specification", "a{sv}"),)),
        Method("ConnectProvider", partial(unable, *NO_VPN), (Arg("provider", "a{sv}"),), (Arg("path", "o"),)),
        Method("RemoveProvider", partial(unable, *NO_VPN), (Arg("provider", "o"),)),
    ),
    signals=(CHANGED, TECHNOLOGY_ADDED, TECHNOLOGY_REMOVED, SERVICES_CHANGED, PEERS_CHANGED, TETHERING_CHANGED),
)


def lists_changed(old: Tree, new: Tree) -> Iterator[Emission]:
    """Tell what has come, gone, or another place.

    Args:
        old: what was told last.
        new: what is true now.
    """
    before, after = ([path for path, t in tree.objects.items() if TECHNOLOGY in t.interfaces] for tree in (old, new))
    for path in after:
        if path not in before:
            properties = told(technology.ROWS, new.objects[path].subject)
            yield Emission(ROOT, NAME, TECHNOLOGY_ADDED, [path, properties])
    before, after = ([path for path, t in tree.objects.items() if SERVICE in t.interfaces] for tree in (old, new))
    if before != after:
        fresh = set(after).difference(before)
        listed = [[path, told(service.ROWS, new.objects[path].subject) if path in fresh else {}] for path in after]
        yield Emission(ROOT, NAME, SERVICES_CHANGED, [listed, [path for path in before if path not in after]])
    for path, thing in old.objects.items():
        if TECHNOLOGY in thing.interfaces and path not in new.objects:
            yield Emission(ROOT, NAME, TECHNOLOGY_REMOVED, [path])
