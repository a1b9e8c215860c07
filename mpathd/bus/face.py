"""The life of one face: connect, offer the objects, own the name, tell what changes, and come back for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

import structlog

from mpathd import codec
from mpathd.codec import Kind, Message
from mpathd.model.agent import Agent
from mpathd.model.errors import ConfigError, MpathError

from .address import bus_address
from .clients import Clients
from .credentials import Credentials
from .dispatch import answer, failed, signature
from .errors import STANDARD, error_name
from .notices import Notice, Notices
from .senders import WAITING, Senders
from .table import Caller, Emission, Signal, Surface
from .wire import COMMON, DRIVER, BusLost, BusRefusal, Wire, unmarshal
from .wire import LONGEST as BYTES

log = structlog.get_logger()

# Seconds between attempts to connect: the first, and the longest.
FIRST, LONGEST = 0.1, 5.0

# Seconds that calls get to end when the daemon stops.
GOODBYE = 1.0

# Bytes of long messages that may wait to be read.
LONG_WAITING = 2 * BYTES

# RequestName's answers (D-Bus specification, message bus names).
OWNER, QUEUED, ALREADY = 1, 2, 4


class Line:
    """One connection, and what the face knows of those at the other end.

    Args:
        wire: the connection.
        agent: the agent.
        group: whose members may change settings.
    """

    def __init__(self, wire: Wire, agent: Agent, group: str) -> None:
        self.wire = wire
        self.credentials = Credentials(wire, group)
        self.clients = Clients(wire, agent)
        self.notices = Notices()
        self.long = 0  # bytes of long messages that wait

    def left(self, name: str) -> None:
        """Forget a client that has left the bus.

        Args:
            name: its unique name.
        """
        self.credentials.forget(name)
        if self.clients.left(name):
            self.notices.left(name)


class Visit:
    """What the face does for one call (table.Visit).

    Args:
        line: where it came from.
        sender: whose it is.
    """

    def __init__(self, line: Line, sender: str) -> None:
        self._line = line
        self._sender = sender
        self._held: set[str] = set()

    async def caller(self) -> Caller:
        """Ask the bus who calls."""
        return await self._line.credentials.caller(self._sender)

    async def stay(self) -> str:
        """Hear from now on when the caller leaves the bus, and give the bus's GUID."""
        return await self._line.clients.stay(self._sender)

    def here(self) -> None:
        """Make sure that the caller has not left since stay()."""
        self._line.clients.here(self._sender)

    def hold(self, path: str) -> None:
        """Tell an object's listener nothing until this call is answered.

        Args:
            path: of the object.
        """
        self._held.add(path)
        self._line.notices.hold(path)

    def done(self) -> bool:
        """Let listeners hear again, now that the call is answered; tell whether there were any."""
        for path in self._held:
            self._line.notices.go_on(path)
        return bool(self._held)


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
        self._line: Line | None = None
        self._senders: Senders | None = None
        self._owner = False
        self._shown = surface.tree()
        self._tried = asyncio.Event()
        self._life = asyncio.timeout(None)

    @property
    def name(self) -> str:
        """The bus name."""
        return self._surface.name

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

    async def stop(self, *, release: bool = False) -> None:
        """Answer what waits, give the name back, close, and let serve() return.

        Args:
            release: for good: sessions of clients end, and their clients are told.
        """
        wire, senders = self._wire, self._senders
        if senders is None:
            self._life = asyncio.timeout(0)  # serve() has ended, or ends as soon as it begins
            return
        if wire is not None and wire.connected:
            owner, self._owner = self._owner, False
            if release and owner and self._line is not None and self._line.wire is wire:
                self._call(self._line.notices.farewell())  # a client that sees the name go listens no longer
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
        if release:
            self._agent.end_sessions(lambda _owner, _bus: True)
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
        """Take the name, now that the objects answer and no session is left whose owner has gone."""
        earlier = self._line.clients.names if self._line is not None else ()
        line = self._line = Line(wire, self._agent, self._group)
        wire.take = partial(self._take, line)
        wire.take_long = partial(self._take_long, line)
        await line.clients.settle(earlier)
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
            self._notify()
        self.trouble = ""
        self._tried.set()

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("bus.trouble", name=self._surface.name, trouble=trouble)
        self.trouble = trouble
        self._tried.set()

    def _take(self, line: Line, message: Message) -> None:
        """Take what comes from the bus; called by the wire, in order."""
        match message.kind:
            case Kind.CALL:
                self._put(line, message, partial(self._answer, line, message))
            case Kind.SIGNAL if message.sender == DRIVER:
                self._heard(line, message)

    def _take_long(self, line: Line, head: Message, frame: bytes) -> None:
        """Take a call that is too long to be read before it is known who sends it; called by the wire, in order.

        Args:
            line: where it came from.
            head: the call without its arguments.
            frame: the call.
        """
        if line.long + len(frame) > LONG_WAITING:
            text = "other long messages are being read\n  try again"
            _reply(line.wire, head, codec.refusal(head, STANDARD + "LimitsExceeded", text))
        elif self._put(line, head, partial(self._answer_long, line, head, frame)):
            line.long += len(frame)

    def _put(self, line: Line, message: Message, job: Callable[[], Awaitable[None]]) -> bool:
        if self._senders is None or self._senders.put((line, message.sender), job):
            return self._senders is not None
        name = self._surface.error("LimitsExceeded")
        text = f"{WAITING} calls of {message.sender} wait already\n  wait for answers before the next"
        _reply(line.wire, message, codec.refusal(message, name, text))
        return False

    def _heard(self, line: Line, message: Message) -> None:
        """Take a signal of the bus itself."""
        match message.member, message.body:
            case "NameAcquired", [self._surface.name]:
                self._owned()
            case "NameLost", [self._surface.name] if self._owner:
                self._owner = False
                self._say(f"{self._surface.name} was taken away by another process")
            case "NameOwnerChanged", [name, _, ""]:
                line.left(name)

    async def _answer_long(self, line: Line, head: Message, frame: bytes) -> None:
        """Read a long call in a thread, so that nobody else waits for it, and answer it."""
        try:
            if len(frame) > COMMON and not (await line.credentials.caller(head.sender)).trusted:
                text = f"the message has {len(frame)} bytes\n  at most {COMMON} are taken from those without rights"
                _reply(line.wire, head, codec.refusal(head, STANDARD + "LimitsExceeded", text))
                return
            message = await asyncio.to_thread(unmarshal, frame)
        except MpathError as error:
            _reply(line.wire, head, codec.refusal(head, error_name(error, self._surface.error), str(error)))
            return
        except Exception as error:
            log.warning("bus.message_unreadable", error=str(error))
            name = self._surface.error("InvalidArguments")
            _reply(line.wire, head, codec.refusal(head, name, "the message cannot be read\n  send it again"))
            return
        finally:
            line.long -= len(frame)
        await self._answer(line, message)

    async def _answer(self, line: Line, message: Message) -> None:
        wire = line.wire
        if not wire.connected:
            return  # the caller knows that its call was lost, and may have made it again
        visit = Visit(line, message.sender)
        reply = await answer(message, self._surface, self._agent, visit)
        with wire.together():
            self._tell_changes()  # first the news, then the answer: nobody can read a value before its signal is out
            try:
                _reply(wire, message, reply)
            except Exception as error:  # a row gave another type than the table promises
                _reply(wire, message, failed(message, self._surface, error))
            if visit.done():
                self._notify()

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
                self._notify()
        except Exception:
            log.exception("bus.signal_failed", name=self._surface.name)

    def _emit(self, emissions: Iterable[Emission]) -> None:
        if not self._owner or self._wire is None:
            return
        for one in emissions:
            fields = {codec.PATH: one.path, codec.INTERFACE: one.interface, codec.MEMBER: one.signal.name}
            self._wire.send(Message(Kind.SIGNAL, 0, {**fields, **_types(one.signal)}, one.body))

    def _notify(self) -> None:
        """Tell listeners what they do not know yet; a burst of passes is one Update."""
        if self._owner and self._line is not None:
            try:
                self._call(self._line.notices.news(self._shown))
            except Exception:
                log.exception("bus.notice_failed", name=self._surface.name)

    def _call(self, notices: Iterable[Notice]) -> None:
        for one in notices:
            to = one.listener
            fields = {
                codec.DESTINATION: to.owner,
                codec.PATH: to.path,
                codec.INTERFACE: to.interface,
                codec.MEMBER: one.row.name,
                **_types(one.row),
            }
            if self._wire is None or not self._wire.connected:
                return
            self._wire.send(Message(Kind.CALL, 0, fields, one.body, codec.NO_ANSWER | codec.NO_START))


def _types(row: Signal) -> dict[int, str]:
    return {codec.SIGNATURE: signature(row.args)} if row.args else {}


def _reply(wire: Wire, message: Message, reply: Message) -> None:
    if not message.flags & codec.NO_ANSWER:
        wire.send(reply)
