"""The native face, net.mpathd: Manager and Service, row by row; sessions are in sessions.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mpathd.model.agent import Agent, Edit, Pass
from mpathd.model.errors import NotFound
from mpathd.model.path import fit
from mpathd.model.policy import ServiceSettings
from mpathd.model.settings import SETTINGS, Setting
from mpathd.model.sight import Blind, Seeing
from mpathd.model.view import Service, View
from mpathd.model.words import Family, ServiceState

from .errors import listing, quoted
from .face import Face
from .mptcp import MPTCP, heard
from .sessions import ADDED, CREATE, REMOVED, SESSIONS, Sessions, counted, told
from .standard import OBJECT_MANAGER, differences, values
from .table import Arg, Call, Emission, Interface, Method, Object, Property, Signal, Tree, kept, trusted
from .values import addresses, bag, ethernet, findings, gateways, setting_values, wish, wishes

NAME = "net.mpathd"
ROOT = "/net/mpathd"
SERVICES = ROOT + "/service"


@dataclass(frozen=True, slots=True)
class ManagerView:
    """What the Manager's properties are read from.

    Args:
        version: mpathd's version.
        state: "idle", "ready" or "online".
        defaults: settings of a service that has none of its own.
        seeing: who looks at MPTCP.
    """

    version: str
    state: str
    defaults: ServiceSettings
    seeing: Seeing = field(default=Blind(), compare=False)


def service_path(identifier: str) -> str:
    """Give the path of a service.

    Args:
        identifier: its id; what cannot stand in a path becomes _ and its code, as ConnMan does it.
    """
    return f"{SERVICES}/{fit(identifier)}"


def overall(view: View) -> str:
    """Give the state of the whole machine: the best of its services'.

    Args:
        view: the picture.
    """
    states = {service.state for service in view.services}
    if ServiceState.ONLINE in states:
        return ServiceState.ONLINE
    return ServiceState.READY if any(state.connected for state in states) else ServiceState.IDLE


async def _get_services(call: Call) -> list[Any]:
    return [
        [[path, values(SERVICE, thing)] for path, thing in call.tree.objects.items() if SERVICE in thing.interfaces]
    ]


async def _get_status(call: Call) -> list[Any]:
    await call.agent.refresh()
    status = call.agent.status
    return [
        bag(
            ("Passes", "u", status.passes),
            ("Settled", "b", status.settled),
            ("Age", "d", status.age),
            ("Routes", "u", status.routes),
            ("Rules", "u", status.rules),
            ("Refused", "as", [str(refusal) for refusal in status.refused]),
            ("Version", "s", status.version),
            ("Pid", "u", status.pid),
            ("Config", "s", status.config),
            ("Extra", "a{ss}", dict(status.extra)),
            ("Findings", "aa{sv}", findings(call.agent.view.findings)),
        )
    ]


async def _set_defaults(call: Call) -> list[Any]:
    await call.agent.change(Edit(wishes(call.args[0])))
    return []


async def _move(call: Call, *, before: bool) -> list[Any]:
    service, other = (_service_at(call.tree, path) for path in call.args)
    await call.agent.move(service, other, before=before)
    return []


def _service_at(tree: Tree, path: str) -> str:
    services = {at: thing for at, thing in tree.objects.items() if SERVICE in thing.interfaces}
    if path not in services:
        raise NotFound(f"no service at {quoted(path)}", listing("services here", services))
    return str(services[path].subject.id)


async def _reload(call: Call) -> list[Any]:
    await call.agent.reload()
    return []


async def _configure(call: Call) -> list[Any]:
    await call.agent.change(Edit(wishes(call.args[0]), call.object.subject.id))
    return []


async def _set_setting(row: Setting, call: Call, value: Any) -> None:
    await call.agent.change(Edit({row.field: wish(row, value)}, call.object.subject.id))


def _setting(row: Setting) -> Property:
    def get(service: Service) -> Any:
        return getattr(service.settings, row.field)

    change: Callable[[Call, Any], Awaitable[None]] = partial(_set_setting, row)
    return Property(row.property, row.signature, get, change)


PASS = Signal("Pass", (Arg("pass", "a{sv}"),))

MANAGER = Interface(
    "net.mpathd.Manager",
    methods=(
        Method("GetServices", _get_services, gives=(Arg("services", "a(oa{sv})"),)),
        *CREATE,
        Method("GetStatus", _get_status, gives=(Arg("status", "a{sv}"),)),
        Method("SetDefaults", _set_defaults, takes=(Arg("settings", "a{sv}"),), may=trusted),
        Method("MoveBefore", partial(_move, before=True), takes=(Arg("service", "o"), Arg("other", "o")), may=trusted),
        Method("MoveAfter", partial(_move, before=False), takes=(Arg("service", "o"), Arg("other", "o")), may=trusted),
        Method("Reload", _reload, may=trusted),
    ),
    properties=(
        Property("Version", "s", lambda manager: manager.version),
        Property("State", "s", lambda manager: manager.state),
        Property(
            "Defaults",
            "a{sv}",
            lambda manager: setting_values(manager.defaults),
            hint="call SetDefaults; it also forgets what single services have stored",
        ),
    ),
    signals=(ADDED, REMOVED, PASS),
)

SERVICE = Interface(
    "net.mpathd.Service",
    methods=(Method("Configure", _configure, takes=(Arg("settings", "a{sv}"),), may=trusted),),
    properties=(
        *(_setting(row) for row in SETTINGS),
        Property("State", "s", lambda service: str(service.state)),
        Property("Type", "s", lambda service: str(service.technology)),
        Property("Name", "s", lambda service: service.name),
        Property("Interface", "s", lambda service: service.interface),
        Property("Table", "u", lambda service: service.table),
        Property("Routed", "b", lambda service: service.routed),
        Property("Because", "s", lambda service: service.because),
        Property("Letters", "s", lambda service: service.letters),
        Property("Ethernet", "a{sv}", ethernet),
        Property("IPv4", "aa{sv}", lambda service: addresses(service, Family.INET)),
        Property("IPv6", "aa{sv}", lambda service: addresses(service, Family.INET6)),
        Property("Gateways", "aa{sv}", gateways),
    ),
)


class NativeSurface:
    """What net.mpathd shows of an agent.

    Args:
        agent: the agent.
    """

    name = NAME

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._view = View()
        self._defaults: ServiceSettings | None = None
        self._services: dict[str, Object] = {}  # and the manager
        self._sessions = Sessions()
        self._tree = Tree({})

    @staticmethod
    def error(name: str) -> str:
        """Give the full name of an error.

        Args:
            name: the model's own.
        """
        return f"{NAME}.Error.{name}"

    def tree(self) -> Tree:
        """Manager, services and sessions as they are now; only what has changed is made anew."""
        view, defaults = self._agent.view, self._agent.defaults
        if view is self._view and defaults == self._defaults:
            return self._tree
        old, self._view = self._view, view
        same = view.services == old.services and defaults == self._defaults
        if same and view.sessions == old.sessions:
            return self._tree
        if not same:
            known, self._defaults = self._services, defaults
            manager = ManagerView(self._agent.status.version, overall(view), defaults, self._agent.seeing)
            self._services = {ROOT: kept(known, Object(ROOT, manager, (OBJECT_MANAGER, MANAGER, MPTCP)))}
            for service in view.services:
                path = service_path(service.id)
                self._services[path] = kept(known, Object(path, service, (SERVICE,)))
        sessions = {thing.path: thing for thing in self._sessions.objects(view, self._agent.statistics)}
        self._tree = Tree({**self._services, **sessions}, (SERVICES, SESSIONS))
        return self._tree

    def changes(self, old: Tree, new: Tree) -> Iterator[Emission]:
        """Tell what has changed, in the standard's signals.

        Args:
            old: what was told last.
            new: what is true now.
        """
        general = tuple(differences(old, new, ROOT))
        yield from general
        yield from told(general, ROOT, MANAGER.name)

    def news(self, done: Pass) -> Iterable[Emission]:
        """Tell of a pass that did something, for those who watch.

        Args:
            done: the pass.
        """
        if done.counted:
            return counted(self.tree(), done.counted)
        if done.heard:
            return heard(done.heard, ROOT)
        if not (done.steps or done.refused or done.before != done.after):
            return ()
        told = bag(
            ("Number", "u", done.number),
            ("Reasons", "as", list(done.reasons)),
            ("Steps", "as", [str(step) for step in done.steps]),
            ("Refused", "as", [str(refusal) for refusal in done.refused]),
            ("Milliseconds", "d", done.milliseconds),
        )
        return (Emission(ROOT, MANAGER.name, PASS, [told]),)


def native_face(agent: Agent, address: str = "", group: str = "netdev") -> Face:
    """Make the native face of an agent.

    Args:
        agent: the agent.
        address: bus address; empty means DBUS_SYSTEM_BUS_ADDRESS, or the system bus.
        group: members of this group may change settings, besides root; empty for none.
    """
    return Face(NativeSurface(agent), agent, address, group)
