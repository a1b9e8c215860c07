"""What may be done with a session on the bus: who may, and the calls that do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mpathd.model.errors import InvalidArguments, NotSupported, PermissionDenied
from mpathd.model.session import Origin
from mpathd.model.sessionsettings import CLIENT_SETTINGS, SessionSetting

from .errors import quoted
from .table import Call, Caller, Object, authorise
from .values import statistics

KINDS = {"as": "a list of strings", "s": "a string", "u": "a number from 0 up", "b": "a boolean"}
OWN = "or have a session while a command runs: mpathctl session exec --bearer B -- COMMAND; programs call CreateSession"
BY_PROPERTY = {row.property: row for row in CLIENT_SETTINGS}


def owner(caller: Caller, thing: Object) -> bool:
    """The right to change a session: its owner's, besides the usual one.

    Args:
        caller: who asks.
        thing: the session.

    Raises:
        PermissionDenied: the caller has it not.
    """
    settings = thing.subject.session.settings
    if caller.trusted or (settings.origin is Origin.DBUS and settings.owner == caller.sender):
        return True
    text, hint = caller.refusal
    raise PermissionDenied(f"session '{settings.name}' is not the caller's, and {text}", hint)


def maker(caller: Caller, _thing: Object) -> bool:
    """The right to make a session that stays; whoever has it not hears what anybody may do.

    Args:
        caller: who asks.
        _thing: the manager.

    Raises:
        PermissionDenied: the caller has it not.
    """
    if caller.trusted:
        return True
    text, hint = caller.refusal
    raise PermissionDenied(text, f"{hint}; {OWN}")


def _setting(name: str) -> SessionSetting:
    row = BY_PROPERTY.get(name)
    if row is None:
        msg = f"no session setting called {quoted(name)}"
        raise InvalidArguments(msg, f"settings: {', '.join(BY_PROPERTY)}")
    return row


def asked(given: Mapping[str, Any]) -> dict[str, object]:
    """Check names and types of settings, all or nothing; what they may hold is the agent's to say.

    Args:
        given: D-Bus name to variant.

    Raises:
        InvalidArguments: no such setting, or a value of another type.
    """
    found: dict[str, object] = {}
    for name, variant in given.items():
        row = _setting(name)
        if variant.signature != row.signature:
            kind = f"{KINDS[row.signature]} ({row.signature})"
            msg = f"{name} is {kind}, given was type {variant.signature}: {quoted(variant.value)}"
            raise InvalidArguments(msg, f"send a variant of type {row.signature}")
        found[row.field] = variant.value
    return found


async def destroy(call: Call) -> list[Any]:
    """End the session that was called.

    Args:
        call: the call.
    """
    await end(call, call.object)
    return []


async def end(call: Call, thing: Object) -> None:
    """End a session for who may.

    Args:
        call: the call.
        thing: the session.
    """
    await authorise(call, owner, thing)
    if thing.listener is not None and thing.listener.owner == (await call.caller()).sender:
        call.visit.hold(thing.path)  # it knows that the session ends
    await call.agent.destroy_session(name_of(thing))


async def change(call: Call) -> list[Any]:
    """Change one setting.

    Args:
        call: the call.
    """
    name, variant = call.args
    await call.agent.change_session(name_of(call.object), asked({name: variant}))
    return []


async def configure(call: Call) -> list[Any]:
    """Change several settings, all or none.

    Args:
        call: the call.
    """
    if not call.args[0]:
        raise InvalidArguments("no settings given", f"settings: {', '.join(BY_PROPERTY)}")
    await call.agent.change_session(name_of(call.object), asked(call.args[0]))
    return []


async def activate(call: Call, *, active: bool) -> list[Any]:
    """Make the session active or not.

    Args:
        call: the call.
        active: which.
    """
    await call.agent.connect_session(name_of(call.object), active=active)
    return []


async def set_setting(row: SessionSetting, call: Call, value: Any) -> None:
    """Change a setting by its property.

    Args:
        row: the setting.
        call: the call.
        value: of the right type.
    """
    await call.agent.change_session(name_of(call.object), {row.field: value})


def entrant(caller: Caller, thing: Object) -> bool:
    """The right to have one's process moved into a session: its owner's, and whoever it names.

    Args:
        caller: who asks.
        thing: the session.

    Raises:
        PermissionDenied: the caller has it not.
    """
    settings = thing.subject.session.settings
    named = settings.only_user is None and (
        caller.uid in settings.users or not caller.groups.isdisjoint(settings.groups)
    )
    return named or owner(caller, thing)


async def enter(call: Call) -> list[Any]:
    """Move the caller's process into the session.

    Args:
        call: the call.
    """
    caller = await call.caller()
    if not caller.pid:
        raise NotSupported("the bus does not know the caller's process", "call over a local Unix socket")
    return [await call.agent.enter_session(name_of(call.object), caller.pid, caller.uid)]


async def stats(call: Call) -> list[Any]:
    """Give what the session has sent and received.

    Args:
        call: the call.
    """
    return [statistics(call.agent.statistics(name_of(call.object), now=True))]


def name_of(thing: Object) -> str:
    """Give the name of a session.

    Args:
        thing: the session.
    """
    return str(thing.subject.session.name)
