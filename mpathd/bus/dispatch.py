"""Answers one call from the table: finds the row, checks types and rights, runs it, names what went wrong."""

from __future__ import annotations

import structlog

from mpathd import codec
from mpathd.codec import Message
from mpathd.model.agent import Agent
from mpathd.model.errors import InvalidArguments, MpathError

from .errors import UnknownInterface, UnknownMethod, UnknownObject, error_name, listing, quoted
from .standard import PEER, interfaces
from .table import Arg, Call, Interface, Method, Surface, Tree, Visit, authorise, parent

log = structlog.get_logger()


async def answer(message: Message, surface: Surface, agent: Agent, visit: Visit) -> Message:
    """Answer a method call; whatever happens, there is an answer, and it is never a traceback.

    Args:
        message: the call.
        surface: the table.
        agent: the agent.
        visit: what the face does for the call.
    """
    try:
        tree = surface.tree()
        row = find(tree, message.path, message.interface, message.member)
        check(row, message)
        call = Call(agent, tree, message.path, list(message.body), visit)
        if row.may is not None:
            await authorise(call, row.may)
        results = await row.run(call)
        return codec.answer(message, signature(row.gives), results)
    except MpathError as error:
        return codec.refusal(message, error_name(error, surface.error), str(error))
    except Exception as error:
        return failed(message, surface, error)


def failed(message: Message, surface: Surface, error: Exception) -> Message:
    """Log what nobody expected, and answer without its details.

    Args:
        message: the call.
        surface: the table.
        error: what happened.
    """
    log.error("bus.call_failed", path=message.path, member=message.member, exc_info=error)
    text = f"mpathd failed while answering {message.member}\n  its log has the details"
    return codec.refusal(message, surface.error("Failed"), text)


def find(tree: Tree, path: str, interface: str | None, member: str) -> Method:
    """Find the row of a method.

    Args:
        tree: what the face shows.
        path: the object.
        interface: its interface; None takes the first that has the method, as the specification allows.
        member: the method.

    Raises:
        UnknownObject, UnknownInterface, UnknownMethod: what it says.
    """
    known: tuple[Interface, ...] = (PEER,)  # every path answers a ping, as in the reference implementation
    if path in tree.objects or path in tree.children:
        known = interfaces(tree, path)
    elif interface != PEER.name:
        raise _no_object(tree, path)
    candidates = known if interface is None else tuple(row for row in known if row.name == interface)
    if not candidates:
        msg = f"{path} has no interface {quoted(interface)}"
        raise UnknownInterface(msg, listing("interfaces here", (row.name for row in known)))
    for candidate in candidates:
        method = candidate.method(member)
        if method is not None:
            return method
    msg = f"no method called {quoted(member)} in {interface or path}"
    known_methods = (method.name for candidate in candidates for method in candidate.methods)
    raise UnknownMethod(msg, listing("methods", known_methods))


def _no_object(tree: Tree, path: str) -> UnknownObject:
    above = parent(path)
    while above not in tree.children:
        above = parent(above)
    return UnknownObject(f"no object at {path}", listing(f"objects below {above}", tree.children[above]))


def check(row: Method, message: Message) -> None:
    """Refuse arguments of other types than the row's.

    Args:
        row: the method.
        message: the call.

    Raises:
        InvalidArguments: they differ.
    """
    wanted = signature(row.takes)
    if message.signature != wanted:
        msg = f"method {row.name} takes {wanted or 'nothing'}, given was {message.signature or 'nothing'}"
        names = ", ".join(f"{arg.name} ({arg.signature})" for arg in row.takes)
        raise InvalidArguments(msg, f"arguments: {names or 'none'}")


def signature(args: tuple[Arg, ...]) -> str:
    """Join the types of arguments.

    Args:
        args: the arguments.
    """
    return "".join(arg.signature for arg in args)
