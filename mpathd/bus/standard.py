"""The interfaces of D-Bus itself, as rows of the table: Peer, Introspectable, Properties, ObjectManager."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dbus_next import ArgDirection, PropertyAccess
from dbus_next import introspection as xml

from mpathd.codec import Bag, Variant
from mpathd.model.errors import InvalidArguments, InvalidProperty, NotSupported

from .errors import UnknownInterface, listing, quoted
from .table import Arg, Call, Emission, Interface, Method, Object, Property, Signal, Tree, authorise

MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")


async def _ping(_call: Call) -> list[Any]:
    return []


async def _machine_id(_call: Call) -> list[Any]:
    for place in MACHINE_IDS:
        try:
            return [Path(place).read_text("ascii").strip()]  # noqa: ASYNC240  # 33 bytes of a local file
        except OSError:
            continue
    msg = f"this machine has no id in {' or '.join(MACHINE_IDS)}"
    raise NotSupported(msg, "make one with: systemd-machine-id-setup")


async def _introspect(call: Call) -> list[Any]:
    node = xml.Node(interfaces=[_describe(interface) for interface in interfaces(call.tree, call.path)])
    node.nodes = [xml.Node(name, is_root=False) for name in call.tree.children[call.path]]
    return [node.tostring()]


def _describe(interface: Interface) -> Any:
    def args(rows: tuple[Arg, ...], direction: Any) -> list[Any]:
        return [xml.Arg(row.signature, direction, row.name) for row in rows]

    access = {True: PropertyAccess.READWRITE, False: PropertyAccess.READ}
    return xml.Interface(
        interface.name,
        methods=[
            xml.Method(row.name, args(row.takes, ArgDirection.IN), args(row.gives, ArgDirection.OUT))
            for row in interface.methods
        ],
        signals=[xml.Signal(row.name, args(row.args, ArgDirection.OUT)) for row in interface.signals],
        properties=[xml.Property(row.name, row.signature, access[row.set is not None]) for row in interface.properties],
    )


async def _get(call: Call) -> list[Any]:
    row = _property(call, *call.args)
    return [Variant(row.signature, row.get(call.object.subject))]


async def _get_all(call: Call) -> list[Any]:
    found: dict[str, Any] = {}
    for interface in _named(call, call.args[0]):
        found |= values(interface, call.object)
    return [found]


async def _set(call: Call) -> list[Any]:
    interface, name, given = call.args
    row = _property(call, interface, name)
    if row.set is None:
        msg = f"property {name} cannot be set"
        raise InvalidProperty(msg, row.hint or "it tells what is, and changes by itself")
    await authorise(call, row.may)
    if given.signature != row.signature:
        msg = f"property {name} has type {row.signature}, given was type {given.signature}: {quoted(given.value)}"
        raise InvalidArguments(msg, f"send a variant of type {row.signature}")
    await row.set(call, given.value)
    return []


async def _managed(call: Call) -> list[Any]:
    below = call.path.rstrip("/") + "/"
    return [
        {
            path: {interface.name: values(interface, thing) for interface in thing.interfaces}
            for path, thing in call.tree.objects.items()
            if path.startswith(below) and path != call.path  # the root begins with itself
        }
    ]


PEER = Interface(
    "org.freedesktop.DBus.Peer",
    methods=(
        Method("Ping", _ping),
        Method("GetMachineId", _machine_id, gives=(Arg("machine_uuid", "s"),)),
    ),
)

INTROSPECTABLE = Interface(
    "org.freedesktop.DBus.Introspectable",
    methods=(Method("Introspect", _introspect, gives=(Arg("xml_data", "s"),)),),
)

CHANGED = Signal(
    "PropertiesChanged",
    (Arg("interface_name", "s"), Arg("changed_properties", "a{sv}"), Arg("invalidated_properties", "as")),
)

PROPERTIES = Interface(
    "org.freedesktop.DBus.Properties",
    methods=(
        Method("Get", _get, (Arg("interface_name", "s"), Arg("property_name", "s")), (Arg("value", "v"),)),
        Method("GetAll", _get_all, (Arg("interface_name", "s"),), (Arg("properties", "a{sv}"),)),
        Method("Set", _set, (Arg("interface_name", "s"), Arg("property_name", "s"), Arg("value", "v"))),
    ),
    signals=(CHANGED,),
)

ADDED = Signal("InterfacesAdded", (Arg("object_path", "o"), Arg("interfaces_and_properties", "a{sa{sv}}")))
REMOVED = Signal("InterfacesRemoved", (Arg("object_path", "o"), Arg("interfaces", "as")))

OBJECT_MANAGER = Interface(
    "org.freedesktop.DBus.ObjectManager",
    methods=(Method("GetManagedObjects", _managed, gives=(Arg("objects", "a{oa{sa{sv}}}"),)),),
    signals=(ADDED, REMOVED),
)


def interfaces(tree: Tree, path: str) -> tuple[Interface, ...]:
    """Give all interfaces of a node, the standard ones first.

    Args:
        tree: what the face shows.
        path: an object, or a folder, which can only be looked at.
    """
    thing = tree.objects.get(path)
    if thing is None:
        return (PEER, INTROSPECTABLE)
    properties = (PROPERTIES,) if any(interface.properties for interface in thing.interfaces) else ()
    return (PEER, INTROSPECTABLE, *properties, *thing.interfaces)


def values(interface: Interface, thing: Object) -> Bag:
    """Read all properties of an interface, as variants.

    Args:
        interface: one of the object's.
        thing: the object.
    """
    return Bag({row.name: Variant(row.signature, row.get(thing.subject)) for row in interface.properties})


def _named(call: Call, name: str) -> tuple[Interface, ...]:
    """The interface of that name; an empty name means all of the object's own, as the specification allows."""
    if not name:
        return call.object.interfaces
    known = interfaces(call.tree, call.path)
    for interface in known:
        if interface.name == name:
            return (interface,)
    msg = f"{call.path} has no interface {quoted(name)}"
    raise UnknownInterface(msg, listing("interfaces here", (interface.name for interface in known)))


def _property(call: Call, interface: str, name: str) -> Property:
    candidates = _named(call, interface)
    for candidate in candidates:
        row = candidate.property(name)
        if row is not None:
            return row
    msg = f"no property called {quoted(name)} in {interface or call.path}"
    known = (row.name for candidate in candidates for row in candidate.properties)
    raise InvalidProperty(msg, listing("properties", known))


def differences(old: Tree, new: Tree, manager: str) -> Iterator[Emission]:
    """Tell what has changed between two trees, in the standard's signals.

    Args:
        old: what was told last.
        new: what is true now.
        manager: path of the object with the ObjectManager.
    """
    for path, thing in old.objects.items():
        if path not in new.objects:
            names = [interface.name for interface in thing.interfaces]
            yield Emission(manager, OBJECT_MANAGER.name, REMOVED, [path, names])
    for path, thing in new.objects.items():
        before = old.objects.get(path)
        if before is thing:
            continue
        if before is None:
            shown = {interface.name: values(interface, thing) for interface in thing.interfaces}
            yield Emission(manager, OBJECT_MANAGER.name, ADDED, [path, shown])
        elif before.subject != thing.subject:
            yield from _changed(before, thing)


def _changed(before: Object, thing: Object) -> Iterator[Emission]:
    for interface in thing.interfaces:
        changed = {
            row.name: Variant(row.signature, value)
            for row in interface.properties
            if not row.quiet and (value := row.get(thing.subject)) != row.get(before.subject)
        }
        if changed:
            yield Emission(thing.path, PROPERTIES.name, CHANGED, [interface.name, changed, []])
