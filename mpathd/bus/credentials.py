"""Who calls, and whether they may change things: the bus is asked once per caller, and the answer is kept."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
from collections import OrderedDict
from dataclasses import replace

from mpathd.model.errors import MpathError

from .table import Caller
from .wire import DRIVER, BusLost, BusRefusal, Wire

# Callers that are remembered. Each costs one match rule, of which a connection may have 512.
REMEMBERED = 128

ROOT = 0


class Credentials:
    """The callers of one connection.

    Args:
        wire: the connection.
        group: name of the group whose members may change things; empty for none.
    """

    def __init__(self, wire: Wire, group: str) -> None:
        self._wire = wire
        self._group = group
        self._known: OrderedDict[str, Caller] = OrderedDict()

    async def caller(self, sender: str) -> Caller:
        """Tell who a sender is.

        Args:
            sender: its unique name.

        Raises:
            MpathError: the bus does not say.
        """
        known = self._known.get(sender)
        if known is not None:
            self._known.move_to_end(sender)
            return known
        try:
            # First the match, then the question: a caller that leaves in between is forgotten all the same.
            await self._wire.ask("AddMatch", "s", departure(sender))
            told = (await self._wire.ask("GetConnectionCredentials", "s", sender))[0]
            uid = told["UnixUserID"].value
        except (BusLost, BusRefusal, TimeoutError, KeyError) as error:
            # A caller that calls and leaves at once must not use up our match rules.
            self._unmatch(sender)
            msg = f"the bus does not say which user {sender} is: {error}"
            raise MpathError(msg, "try again, over a local Unix socket") from error
        groups = told["UnixGroupIDs"].value if "UnixGroupIDs" in told else None
        pid = told["ProcessID"].value if "ProcessID" in told else 0
        caller = replace(await self._judge(sender, uid, groups), pid=pid, groups=frozenset(groups or ()))
        self._known[sender] = caller
        while len(self._known) > REMEMBERED:
            self.forget(next(iter(self._known)))
        return caller

    def forget(self, sender: str) -> None:
        """Drop a caller that has left, or that has been silent for longest.

        Args:
            sender: its unique name.
        """
        if self._known.pop(sender, None) is not None:
            self._unmatch(sender)

    def _unmatch(self, sender: str) -> None:
        if self._wire.connected:
            self._wire.tell("RemoveMatch", "s", departure(sender))

    async def _judge(self, sender: str, uid: int, groups: list[int] | None) -> Caller:
        wanted = _group_id(self._group)
        trusted = uid in {ROOT, os.geteuid()}
        if not trusted and wanted is not None:
            # An account database may live in the network, so it is asked in a thread.
            member = groups if groups is not None else await asyncio.to_thread(_groups_of, uid)
            trusted = wanted in member
        return Caller(sender, uid, trusted, self._refusal(uid, exists=wanted is not None), _user_name(uid))

    def _refusal(self, uid: int, *, exists: bool) -> tuple[str, str]:
        who = f"root and members of group {self._group}" if exists else "root"
        name = _user_name(uid)
        text = f"only {who} may change settings; the caller is user {name} ({uid})"
        if exists:
            return text, f"become root, or let root run: adduser {name} {self._group}; then log in again"
        if not self._group:
            return text, "become root"
        return text, f"become root, or let root make the group: addgroup --system {self._group}"


def departure(sender: str) -> str:
    """Give the match for a client's departure; one a client, since a general one would wake us for everybody's.

    Args:
        sender: its unique name.
    """
    return f"type='signal',sender='{DRIVER}',member='NameOwnerChanged',arg0='{sender}',arg2=''"


def _group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid if name else None
    except KeyError:
        return None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _groups_of(uid: int) -> list[int]:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return []
    return os.getgrouplist(entry.pw_name, entry.pw_gid)
