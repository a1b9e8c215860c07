"""Properties in ConnMan's way: GetProperties, SetProperty and PropertyChanged, instead of the standard's interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from mpathd.bus.errors import listing, quoted
from mpathd.bus.table import Arg, Call, Emission, Method, Object, Property, Signal, authorise
from mpathd.codec import Variant
from mpathd.model.errors import InvalidArguments, InvalidProperty, NotSupported

CHANGED = Signal("PropertyChanged", (Arg("name", "s"), Arg("value", "v")))


def told(rows: Sequence[Property], subject: Any) -> dict[str, Any]:
    """Read properties, as variants; those that are None are not there.

    Args:
        rows: the properties.
        subject: what they are read from.
    """
    found = ((row, row.get(subject)) for row in rows)
    return {row.name: Variant(row.signature, value) for row, value in found if value is not None}


def methods(rows: Sequence[Property]) -> tuple[Method, Method]:
    """Give GetProperties and SetProperty.

    Args:
        rows: the properties.
    """
    return (
        Method("GetProperties", partial(_get, rows), gives=(Arg("properties", "a{sv}"),)),
        Method("SetProperty", partial(_set, rows), takes=(Arg("name", "s"), Arg("value", "v"))),
    )


async def _get(rows: Sequence[Property], call: Call) -> list[Any]:
    return [told(rows, call.object.subject)]


async def _set(rows: Sequence[Property], call: Call) -> list[Any]:
    name, given = call.args
    row = next((row for row in rows if row.name == name), None)
    if row is None or row.set is None:
        text = f"no property called {quoted(name)}" if row is None else f"property {name} cannot be set"
        raise InvalidProperty(text, listing("those that can be set", (row.name for row in rows if row.set)))
    await authorise(call, row.may)
    if given.signature != row.signature:
        text = f"property {name} has type {row.signature}, given was type {given.signature}: {quoted(given.value)}"
        raise InvalidArguments(text, f"send a variant of type {row.signature}")
    await row.set(call, given.value)
    return []


async def unable(text: str, hint: str, *_: Any) -> Any:
    """Answer a call, or a property's change, that mpathd cannot serve.

    Args:
        text: why.
        hint: what to do instead.

    Raises:
        NotSupported: always.
    """
    raise NotSupported(f"Not supported: {text}", hint)


def changed(interface: str, rows: Sequence[Property], old: Object, new: Object) -> Iterator[Emission]:
    """Tell which properties have changed.

    Args:
        interface: its name.
        rows: its properties.
        old: as it was told last.
        new: as it is.
    """
    for row in rows:
        value = row.get(new.subject)
        if value != row.get(old.subject):
            yield Emission(new.path, interface, CHANGED, [row.name, Variant(row.signature, value)])
