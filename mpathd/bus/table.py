"""The form of the one table that calls are answered from: objects, interfaces, methods, properties, signals.

Nothing here knows services. A face is a Surface: a tree of objects, each with a subject (a value of the model)
and interfaces whose rows say how to read the subject. Introspection, Properties, ObjectManager, signals, permission
and errors all follow from the rows, so another object or another face is more rows, and no other code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from mpathd.model.agent import Agent, Pass
from mpathd.model.errors import PermissionDenied


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Args:
        sender: unique name on the bus.
        uid: user number, as the bus knows it.
        user: the user's name, or the number where there is none.
        pid: its process, 0 where the bus does not know.
        groups: numbers of the groups that it is in.
        trusted: root, the daemon's own user, or a member of the group that may change settings.
        refusal: whom to tell what, when the caller is not trusted; text and hint.
    """

    sender: str
    uid: int
    trusted: bool
    refusal: tuple[str, str] = ("", "")
    user: str = ""
    pid: int = 0
    groups: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Arg:
    """An argument.

    Args:
        name: for introspection.
        signature: one complete D-Bus type.
    """

    name: str
    signature: str


class Visit(Protocol):
    """What the face does for a call while it is being answered."""

    async def caller(self) -> Caller:
        """Ask the bus who calls; not asked unless somebody needs to know."""

    async def stay(self) -> str:
        """Hear from now on when the caller leaves the bus, and give the bus's GUID.

        Raises:
            MpathError: it has left.
        """

    def here(self) -> None:
        """Make sure that the caller has not left since stay().

        Raises:
            MpathError: it has.
        """

    def hold(self, path: str) -> None:
        """Tell an object's listener nothing until this call is answered; then everything, if it is there.

        Args:
            path: of the object.
        """


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is being answered.

    Args:
        agent: the agent.
        tree: what the face shows at this moment.
        path: the object that was called; it may be a folder.
        args: in the method's order; with variants.
        visit: what the face does for it.
    """

    agent: Agent
    tree: Tree
    path: str
    args: list[Any]
    visit: Visit

    async def caller(self) -> Caller:
        """Ask the bus who calls."""
        return await self.visit.caller()

    @property
    def object(self) -> Object:
        """The object that was called."""
        return self.tree.objects[self.path]


# Says whether a caller may, or refuses in words of its own; None in a row means that anyone may and the bus is not
# asked.
May = Callable[[Caller, "Object"], bool]


def trusted(caller: Caller, _thing: Object) -> bool:
    """The usual right to change things.

    Args:
        caller: who asks.
        _thing: what would be changed.
    """
    return caller.trusted


async def authorise(call: Call, may: May, thing: Object | None = None) -> None:
    """Ask the bus who calls, and refuse those who may not.

    Args:
        call: the call.
        may: the row's judge.
        thing: what would be changed; None for the object that was called.

    Raises:
        PermissionDenied: the caller may not.
    """
    caller = await call.caller()
    if not may(caller, thing or call.object):
        raise PermissionDenied(*caller.refusal)


@dataclass(frozen=True, slots=True)
class Method:
    """A method.

    Args:
        name: its name.
        run: answers a call with the values of `gives`, in order.
        takes: arguments.
        gives: results.
        may: who may call it.
    """

    name: str
    run: Callable[[Call], Awaitable[list[Any]]]
    takes: tuple[Arg, ...] = ()
    gives: tuple[Arg, ...] = ()
    may: May | None = None


@dataclass(frozen=True, slots=True)
class Property:
    """A property.

    Args:
        name: its name.
        signature: one complete D-Bus type.
        get: reads it from the object's subject; pure, so that changes are found by comparing subjects.
        set: changes it and returns when that has been done; None makes it read-only.
        may: who may set it.
        hint: how else to change it, for those who try to set a read-only one.
        quiet: changes all the time, so differences do not tell of it.
    """

    name: str
    signature: str
    get: Callable[[Any], Any]
    set: Callable[[Call, Any], Awaitable[None]] | None = None
    may: May = trusted
    hint: str = ""
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal.

    Args:
        name: its name.
        args: what it carries.
    """

    name: str
    args: tuple[Arg, ...] = ()


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface.

    Args:
        name: its name.
        methods, properties, signals: its rows.
    """

    name: str
    methods: tuple[Method, ...] = ()
    properties: tuple[Property, ...] = ()
    signals: tuple[Signal, ...] = ()

    def method(self, name: str) -> Method | None:
        """Find a method.

        Args:
            name: its name.
        """
        return next((row for row in self.methods if row.name == name), None)

    def property(self, name: str) -> Property | None:
        """Find a property.

        Args:
            name: its name.
        """
        return next((row for row in self.properties if row.name == name), None)


@dataclass(frozen=True, slots=True)
class Listener:
    """One client that is told of an object by calls that want no answer, besides the signals to everybody.

    Args:
        owner: its unique name.
        path: of its own object.
        interface: of the calls; its rows are UPDATE and RELEASE.
        properties: those that it is told.
    """

    owner: str
    path: str
    interface: str
    properties: tuple[Property, ...] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Object:
    """An object on the bus.

    Args:
        path: where it is.
        subject: the value that its properties are read from.
        interfaces: its own; Peer, Introspectable and, where there are some, Properties come by themselves.
        listener: whom it is told to by calls.
    """

    path: str
    subject: Any
    interfaces: tuple[Interface, ...]
    listener: Listener | None = None


@dataclass(frozen=True)
class Tree:
    """Everything that a face shows at one moment.

    Args:
        objects: by path, in the order in which they are to be listed.
        fixed: folders that are there even while they are empty.
    """

    objects: Mapping[str, Object]
    fixed: tuple[str, ...] = field(default=())

    @cached_property
    def children(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the nodes below each node, folders included; every path that exists is a key."""
        below: dict[str, dict[str, None]] = {}
        for path in (*self.fixed, *self.objects):
            at = path
            while at not in below:
                below[at] = {}
                at = parent(at)
        for path in sorted(below.keys() - {"/"}, key=len):
            below[parent(path)][path.rpartition("/")[2]] = None
        return {path: tuple(sorted(names)) for path, names in below.items()}


def kept(known: Mapping[str, Object], thing: Object) -> Object:
    """Give the object that is known already, if nothing of it has changed: everybody sees at once that it is the same.

    Args:
        known: objects by path.
        thing: what is true now.
    """
    before = known.get(thing.path)
    return before if before is not None and before == thing else thing


def parent(path: str) -> str:
    """Give the path of the node above.

    Args:
        path: an object path; the root is its own parent.
    """
    return path.rpartition("/")[0] or "/"


@dataclass(frozen=True, slots=True)
class Emission:
    """A signal to be sent.

    Args:
        path: the object it comes from.
        interface: its interface's name.
        signal: its row.
        body: its values, in order.
    """

    path: str
    interface: str
    signal: Signal
    body: list[Any]


class Surface(Protocol):
    """What one face shows; the machinery asks, and never remembers."""

    @property
    def name(self) -> str:
        """The bus name."""

    def error(self, name: str) -> str:
        """Give the full name of an error.

        Args:
            name: the model's own, such as NotFound.
        """

    def tree(self) -> Tree:
        """All objects as they are now; the tree, and each object, is the same (by identity) while nothing changed."""

    def changes(self, old: Tree, new: Tree) -> Iterable[Emission]:
        """Tell what has changed.

        Args:
            old: what was told last.
            new: what is true now.
        """

    def news(self, done: Pass) -> Iterable[Emission]:
        """Tell of a pass.

        Args:
            done: the pass.
        """
