"""The life of one face: connect, offer the objects, own the name, tell what changes, and come back for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial

import structlog
from dbus_next import Message, MessageType
from dbus_next.constants import MessageFlag

from mpathd.model.agent import Agent
from mpathd.model.errors import ConfigError

from .address import bus_address
from .credentials import Credentials
from .dispatch import answer, failed, signature
from .senders import WAITING, Senders
from .table import Emission, Surface
from .wire import DRIVER, BusLost, BusRefusal, Wire

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
        self._senders: Senders | None = None
        self._owner = False
        self._shown = surface.tree()
        self._tried = asyncio.Event()
        self._life = asyncio.timeout(None)

    async def serve(self) -> None:
        """Offer the objects until stop() or cancellation, over any number of buses that come and go."""
        async with asyncio.TaskGroup() as group:
            senders = self._senders = Senders(group)
            news = group.create_task(self._follow(), name=f"news {self._surface.name}")
            try:
                async with self._life:
                    await self._keep_connected()
            except TimeoutError:
                pass  # stop() was called
            finally:
                self._senders = None
                news.cancel()
                if self._wire is not None:
                    self._wire.close("stopping")
                await senders.finish(0)

    async def stop(self) -> None:
        """Answer what waits, give the name back, close, and let serve() return."""
        wire, senders = self._wire, self._senders
        if senders is None:
            self._life = asyncio.timeout(0)  # serve() has ended, or ends as soon as it begins
            return
        if wire is not None and wire.connected:
            self._owner = False
            try:
                await wire.ask("ReleaseName", "s", self._surface.name)
            except (BusLost, BusRefusal, TimeoutError) as error:
                log.info("bus.not_released", name=self._surface.name, error=str(error))
            await senders.finish(GOODBYE)
            try:
                async with asyncio.timeout(GOODBYE):
                    await wire.drained()
            except TimeoutError:
                log.info("bus.not_drained", name=self._surface.name)
        if self._senders is not None and not self._life.expired():
            self._life.reschedule(asyncio.get_running_loop().time())

    async def tried(self) -> None:
        """Wait until the name is owned, or the first attempt has failed; `trouble` then says which."""
        await self._tried.wait()

    async def _keep_connected(self) -> None:
        """Connect again and again; each time that it fails or ends soon, wait twice as long."""
        loop = asyncio.get_running_loop()
        delay = FIRST
        while True:
            began = loop.time()
            try:
                wire = self._wire = await Wire.open(self._address)
                await self._own(wire)
                why = await wire.gone()
            except OSError as error:  # includes TimeoutError
                why = error.strerror or "no answer"
            except (BusLost, BusRefusal, ConfigError) as error:
                why = str(error)
            except Exception as error:
                log.exception("bus.failed", name=self._surface.name)
                why = f"unexpected: {error}"
            self._owner = False
            if self._wire is not None:
                self._wire.close(why)
            self._say(f"bus {self._address}: {why}")
            if loop.time() - began > LONGEST:
                delay = FIRST
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST)

    async def _own(self, wire: Wire) -> None:
        """Take the name, now that the objects answer."""
        wire.take = partial(self._take, wire, Credentials(wire, self._group))
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

    def _take(self, wire: Wire, credentials: Credentials, message: Message) -> None:
        """Take what comes from the bus; called by the wire, in order."""
        match message.message_type:
            case MessageType.METHOD_CALL:
                job = partial(self._answer, wire, credentials, message)
                if self._senders is not None and not self._senders.put((wire, message.sender), job):
                    name = self._surface.errors + "LimitsExceeded"
                    text = f"{WAITING} calls of {message.sender} wait already\n  wait for answers before the next"
                    _reply(wire, message, Message.new_error(message, name, text))
            case MessageType.SIGNAL if message.sender == DRIVER:
                self._heard(credentials, message)

    def _heard(self, credentials: Credentials, message: Message) -> None:
        """Take a signal of the bus itself."""
        match message.member, message.body:
            case "NameAcquired", [self._surface.name]:
                self._owned()
            case "NameLost", [self._surface.name] if self._owner:
                self._owner = False
                self._say(f"{self._surface.name} was taken away by another process")
            case "NameOwnerChanged", [name, _, ""]:
                credentials.forget(name)

    async def _answer(self, wire: Wire, credentials: Credentials, message: Message) -> None:
        if not wire.connected:
            return  # the caller knows that its call was lost, and may have made it again
        caller = partial(credentials.caller, message.sender)
        reply = await answer(message, self._surface, self._agent, caller)
        self._tell_changes()  # first the news, then the answer: nobody can read a value before its signal is out
        try:
            _reply(wire, message, reply)
        except Exception as error:  # a row gave another type than the table promises
            _reply(wire, message, failed(message, self._surface, error))

    async def _follow(self) -> None:
        async for done in self._agent.passes():
            self._tell_changes()
            try:
                self._emit(self._surface.news(done))
            except Exception:
                log.exception("bus.signal_failed", name=self._surface.name)

    def _tell_changes(self) -> None:
        """Send what differs between what was told last and what is true now.

        The picture is compared as it is now, and not as each pass left it, so that a signal never tells a value
        that is no longer true, however far the news lag behind.
        """
        try:
            tree = self._surface.tree()
            if tree is not self._shown:
                old, self._shown = self._shown, tree
                self._emit(self._surface.changes(old, tree))
        except Exception:
            log.exception("bus.signal_failed", name=self._surface.name)

    def _emit(self, emissions: Iterable[Emission]) -> None:
        if not self._owner or self._wire is None:
            return
        for one in emissions:
            types = signature(one.signal.args)
            self._wire.send(Message.new_signal(one.path, one.interface, one.signal.name, types, one.body))


def _reply(wire: Wire, message: Message, reply: Message) -> None:
    if not message.flags & MessageFlag.NO_REPLY_EXPECTED:
        wire.send(reply)
