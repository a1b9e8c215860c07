"""Clients that own something here: whether they are still on the bus, and what ends with them."""

from __future__ import annotations

from collections.abc import Iterable

from mpathd.model.agent import Agent
from mpathd.model.errors import MpathError

from .credentials import departure
from .wire import DRIVER, BusLost, BusRefusal, Wire

# Clients whose departure has a match rule of its own. A connection may have 512, and credentials take 128; the
# departures of further clients are heard by one rule for everybody's.
OWN_RULES = 256

EVERYBODY = f"type='signal',sender='{DRIVER}',member='NameOwnerChanged',arg2=''"


class Clients:
    """The clients of one connection whose sessions end when they leave the bus.

    Args:
        wire: the connection.
        agent: keeps their sessions.
    """

    def __init__(self, wire: Wire, agent: Agent) -> None:
        self.bus = ""
        self._wire = wire
        self._agent = agent
        self._rules: dict[str, str] = {}

    @property
    def names(self) -> frozenset[str]:
        """Those that are watched."""
        return frozenset(self._rules)

    async def settle(self, earlier: Iterable[str]) -> None:
        """End the sessions whose owners are not on this bus; called before anybody can find us by name.

        Args:
            earlier: clients that were watched by the connection before.

        Raises:
            BusLost, BusRefusal, TimeoutError: the bus does not say; all sessions stay.
        """
        self.bus = (await self._wire.ask("GetId"))[0]
        clients = {s.settings.owner: s.settings.client for s in self._agent.view.sessions if s.settings.client}
        for name in sorted({*clients, *earlier}):
            await self._watch(name)
        names = frozenset((await self._wire.ask("ListNames"))[0])
        for name in self.names - names:
            self._unwatch(name)
        self._agent.end_sessions(lambda owner, bus: bus != self.bus or owner not in names)
        if any(name not in names or client.bus != self.bus for name, client in clients.items()):
            await self._agent.refresh()  # nobody shall meet a session that has ended

    async def stay(self, name: str) -> str:
        """Hear from now on when a client leaves, and give the bus's GUID.

        Args:
            name: its unique name.

        Raises:
            MpathError: it has left, or the bus does not say.
        """
        if name in self._rules:  # whoever has been watched since an earlier call would have been heard
            return self.bus
        try:
            # First the match, then the question: whoever leaves in between is heard.
            await self._watch(name)
            there = (await self._wire.ask("NameHasOwner", "s", name))[0]
        except (BusLost, BusRefusal, TimeoutError) as error:
            msg = f"the bus does not say whether {name} is there: {error}"
            raise MpathError(msg, "try again") from error
        if not there:
            self._unwatch(name)
        self.here(name)
        return self.bus

    def here(self, name: str) -> None:
        """Make sure that a client has not left since it was watched.

        Args:
            name: its unique name.

        Raises:
            MpathError: it has.
        """
        if name not in self._rules:
            msg = f"{name} has left the bus"
            raise MpathError(msg, "stay connected for as long as the session is wanted")

    def left(self, name: str) -> bool:
        """End what a client that has left owns, and tell whether it was watched.

        Args:
            name: its unique name.
        """
        if name not in self._rules:
            return False
        self._unwatch(name)
        self._agent.end_sessions(lambda owner, bus: owner == name and bus == self.bus)
        return True

    async def _watch(self, name: str) -> None:
        if name in self._rules:
            return
        rule = departure(name) if len(self._rules) < OWN_RULES else EVERYBODY
        if rule not in self._rules.values():
            await self._wire.ask("AddMatch", "s", rule)
        self._rules[name] = rule

    def _unwatch(self, name: str) -> None:
        rule = self._rules.pop(name)
        if rule not in self._rules.values() and self._wire.connected:
            self._wire.tell("RemoveMatch", "s", rule)
