"""The face as a whole: its objects at one moment, and what is told of changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mpathd.bus.face import Face
from mpathd.bus.native import overall
from mpathd.bus.sessions import Sessions
from mpathd.bus.standard import OBJECT_MANAGER, differences
from mpathd.bus.table import Emission, Object, Tree, kept
from mpathd.model.agent import Agent, Pass
from mpathd.model.view import View

from . import errors, manager, service, technology
from .clock import CLOCK
from .manager import MANAGER, ROOT, ManagerShown, lists_changed
from .properties import changed
from .service import SERVICE, service_path
from .session import FACE, FOLDER, sessions
from .technology import technologies

# The interfaces that tell of their properties.
ROWS = {manager.NAME: manager.ROWS, service.NAME: service.ROWS, technology.NAME: technology.ROWS}


class ConnmanSurface:
    """What net.connman shows of an agent.

    Args:
        agent: the agent.
    """

    name = FACE
    error = staticmethod(errors.error)

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._view: View | None = None
        self._sessions = Sessions()
        self._tree = Tree({})

    def tree(self) -> Tree:
        """Everything as it is now; made anew only when the picture is new."""
        view, old = self._agent.view, self._view
        if view is not old:
            self._view = view
            if old is None or view.services != old.services or view.sessions != old.sessions:
                made = {thing.path: kept(self._tree.objects, thing) for thing in self._objects(view)}
                self._tree = Tree(made, (technology.FOLDER, service.FOLDER, FOLDER))
        return self._tree

    def _objects(self, view: View) -> Iterator[Object]:
        yield Object(ROOT, ManagerShown(overall(view)), (OBJECT_MANAGER, MANAGER, CLOCK))
        yield from technologies(view)
        for one in view.services:
            yield Object(service_path(one.id), one, (SERVICE,))
        yield from sessions(self._sessions, view)

    @staticmethod
    def changes(old: Tree, new: Tree) -> Iterator[Emission]:
        """Tell what has changed, in ConnMan's signals.

        Args:
            old: what was told last.
            new: what is true now.
        """
        yield from differences(old, new, ROOT)
        yield from lists_changed(old, new)
        for path, thing in new.objects.items():
            before = old.objects.get(path)
            if before is not None and before is not thing and before.subject != thing.subject:
                for interface in thing.interfaces:
                    yield from changed(interface.name, ROWS.get(interface.name, ()), before, thing)

    @staticmethod
    def news(_done: Pass) -> Iterable[Emission]:
        """Tell nothing of passes: ConnMan has none.

        Args:
            _done: the pass.
        """
        return ()


def connman_face(agent: Agent, address: str = "", group: str = "netdev") -> Face:
    """Make ConnMan's face of an agent.

    Args:
        agent: the agent.
        address: bus address; empty means DBUS_SYSTEM_BUS_ADDRESS, or the system bus.
        group: members of this group may change settings, besides root; empty for none.
    """
    return Face(ConnmanSurface(agent), agent, address, group)
