"""The life of one face: connect, offer the objects, own the name, tell what changes, and come back for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog
from dbus_next import Message, MessageType
from dbus_next.constants import MessageFlag

from mpathd.model.agent import Agent
from mpathd.model.errors import ConfigError

from .credentials import Credentials
from .dispatch import answer, signature
from .senders import WAITING, Senders
from .table import Caller, Emission, Surface
from .wire import DRIVER, BusLost, BusRefusal, Wire, bus_address

log = structlog.get_logger()

# Seconds between attempts to connect: the first, and the longest.
FIRST, LONGEST = 0.1, 5.0

# Seconds that calls get to end when the daemon stops.
GOODBYE = 1.0

# RequestName's answers (D-Bus specification, message bus names).
OWNER, QUEUED, ALREADY = 1, 2, 4


class Face:
    """One bus name with its objects.

    Args:
        surface: the table.
        agent: the agent.
        address: bus address; empty means DBUS_SYSTEM_BUS_ADDRESS, or the system bus.
        group: members of this group may change settings, besides root; empty for none.
    """

    def __init__(self, surface: Surface, agent: Agent, address: str = "", group: str = "") -> None:
        self.trouble = ""
        self._surface = surface
        self._agent = agent
        self._address = bus_address(address)
        self._group = group
        self._wire: Wire | None = None
        self._credentials: Credentials | None = None
        self._senders: Senders | None = None
        self._owner = False
        self._shown = surface.tree()
        self._stopping = asyncio.Event()
        self._tried = asyncio.Event()

    async def serve(self) -> None:
        """Offer the objects until stop() or cancellation, over any number of buses that come and go."""
        async with asyncio.TaskGroup() as group:
            senders = self._senders = Senders(group, self._answer)
            news = group.create_task(self._follow(), name=f"news {self._surface.name}")
            try:
                await self._keep_connected()
            finally:
                news.cancel()
                if self._wire is not None:
                    self._wire.close("stopping")
                await senders.finish(0)

    async def stop(self) -> None:
        """Answer what waits, give the name back, close, and let serve() return."""
        wire = self._wire
        if wire is not None and self._senders is not None and wire.connected:
            self._owner = False
            try:
                await wire.ask("ReleaseName", "s", self._surface.name)
            except (BusLost, BusRefusal, TimeoutError) as error:
                log.info("bus.not_released", name=self._surface.name, error=str(error))
            await self._senders.finish(GOODBYE)
            try:
                async with asyncio.timeout(GOODBYE):
                    await wire.drained()
            except TimeoutError:
                log.info("bus.not_drained", name=self._surface.name)
        self._stopping.set()
        if wire is not None:
            wire.close("stopping")

    async def tried(self) -> None:
        """Wait until the name is owned, or the first attempt has failed; `trouble` then says which."""
        await self._tried.wait()

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        delay = FIRST
        while not self._stopping.is_set():
            began = loop.time()
            try:
                wire = self._wire = await Wire.open(self._address, self._take)
                await self._own(wire)
                why = await wire.gone()
            except (OSError, TimeoutError, BusLost, BusRefusal, ConfigError) as error:
                why = str(error) or type(error).__name__
            self._owner = False
            if self._wire is not None:
                self._wire.close(why)
            if self._stopping.is_set():
                return
            self._say(f"no bus at {self._address}: {why}")
            if loop.time() - began > LONGEST:
                delay = FIRST
            try:
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
            except TimeoutError:
                delay = min(2 * delay, LONGEST)

    async def _own(self, wire: Wire) -> None:
        """Take the name, now that the objects answer."""
        self._credentials = Credentials(wire, self._group)
        self._shown = self._surface.tree()
        try:
            result = (await wire.ask("RequestName", "su", self._surface.name, 0))[0]
        except BusRefusal as error:
            msg = f"it does not let us own {self._surface.name} ({error}); is conf/{self._surface.name}.conf installed?"
            raise BusLost(msg) from error
        if result in {OWNER, ALREADY}:
            self._owned()
        else:
            owner = (await wire.ask("GetNameOwner", "s", self._surface.name))[0]
            pid = (await wire.ask("GetConnectionUnixProcessID", "s", owner))[0]
            self._say(f"{self._surface.name} is owned by process {pid}; waiting until it gives the name up")

    def _owned(self) -> None:
        if not self._owner:
            self._owner = True
            self._shown = self._surface.tree()
            log.info("bus.owned", name=self._surface.name, address=self._address)
        self.trouble = ""
        self._tried.set()

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("bus.trouble", name=self._surface.name, trouble=trouble)
        self.trouble = trouble
        self._tried.set()

    def _take(self, message: Message) -> None:
        """Take what comes from the bus; called by the wire, in order."""
        match message.message_type:
            case MessageType.METHOD_CALL:
                if self._senders is not None and not self._senders.put(message):
                    text = f"{WAITING} calls of {message.sender} wait already\n  wait for answers before the next call"
                    self._reply(Message.new_error(message, self._surface.errors + "LimitsExceeded", text), message)
            case MessageType.SIGNAL if message.sender == DRIVER:
                self._heard(message)

    def _heard(self, message: Message) -> None:
        """Take a signal of the bus itself."""
        match message.member, message.body:
            case "NameAcquired", [self._surface.name]:
                self._owned()
            case "NameLost", [self._surface.name] if self._owner:
                self._owner = False
                self._say(f"{self._surface.name} was taken away by another process")
            case "NameOwnerChanged", [name, _, ""] if self._credentials is not None:
                self._credentials.forget(name)

    async def _answer(self, message: Message) -> None:
        credentials, wire = self._credentials, self._wire

        async def caller() -> Caller:
            if credentials is None or wire is not self._wire:
                msg = "the bus was lost"
                raise BusLost(msg)
            return await credentials.caller(message.sender)

        reply = await answer(message, self._surface, self._agent, caller)
        self._tell_changes()  # first the news, then the answer: nobody can read a value before its signal is out
        if wire is self._wire:
            self._reply(reply, message)

    def _reply(self, reply: Message, message: Message) -> None:
        if self._wire is not None and not message.flags & MessageFlag.NO_REPLY_EXPECTED:
            self._wire.send(reply)

    async def _follow(self) -> None:
        async for done in self._agent.passes():
            self._tell_changes()
            self._emit(self._surface.news(done))

    def _tell_changes(self) -> None:
        """Send what differs between what was told last and what is true now.

        The picture is compared as it is now, and not as each pass left it, so that a signal never tells a value
        that is no longer true, however far the news lag behind.
        """
        tree = self._surface.tree()
        if tree is not self._shown:
            old, self._shown = self._shown, tree
            self._emit(self._surface.changes(old, tree))

    def _emit(self, emissions: Iterable[Emission]) -> None:
        if not self._owner or self._wire is None:
            return
        try:
            for one in emissions:
                self._wire.send(
                    Message.new_signal(one.path, one.interface, one.signal.name, signature(one.signal.args), one.body)
                )
        except Exception:
            log.exception("bus.signal_failed", name=self._surface.name)
