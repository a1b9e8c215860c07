"""A connection to the bus: socket, frames, and calls to the bus itself.

dbus-next's own MessageBus does not hold the socket, because each of these can take the daemon down (0.2.3, tried):
a bus that hangs up during authentication makes it spin without ever yielding, so that no timeout can fire; a
full socket buffer (EAGAIN) while writing counts as a lost bus; connecting blocks the loop while the bus's backlog
is full, and never returns if Hello is unanswered; one frame that it cannot read ends the connection; and it reads
for as long as there is something to read, so one flooding peer starves everything else in the process.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import structlog

from mpathd import codec
from mpathd.codec import FIXED, Kind, Message, Unreadable
from mpathd.model.busaddress import places

from .errors import STANDARD

log = structlog.get_logger()

DRIVER = "org.freedesktop.DBus"
DRIVER_PATH = "/org/freedesktop/DBus"

# Seconds until a call, or all of connecting, counts as failed. The bus answers in less than a millisecond.
PATIENCE = 5.0

# Reading takes up to 0.3 us a byte, so a message has bounds in bytes, header included: up to SHORT it is read at
# once, which is what one caller can delay us by; up to COMMON it is read in a thread (1,000 flow selectors of the
# longest form, what an unprivileged user may ask for, have 130,000); up to LONGEST it is read in a thread if the caller
# may change settings (10,000 selectors).
SHORT = 64 * 1024
COMMON = 256 * 1024
LONGEST = 16 * 1024 * 1024

# Frames that are taken before the loop gets its turn again: about 2 ms.
TURN = 8

# Bytes that may wait for a bus that does not read; more than any burst of signals of 1,000 services.
BACKLOG = 16 * 1024 * 1024

LITTLE = ord("l")


class BusLost(Exception):
    """The connection is gone, or was refused."""


class BusRefusal(Exception):
    """The bus answered with an error.

    Args:
        name: the error's name.
        text: its text.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name


class Wire:
    """One connection, from Hello until it is lost.

    Args:
        sock: connected and authenticated.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.unique = ""
        self.take: Callable[[Message], None] = _ignore  # gets each call and signal, in order; must not raise
        self.take_long: Callable[[Message, bytes], None] = _ignore_long  # gets calls over SHORT: head, and all of it
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._serial = 0
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._in = bytearray()
        self._skip = 0
        self._out = bytearray()
        self._held = self._blocked = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._gone = asyncio.Event()
        self._why = ""
        self._loop.add_reader(sock, self._readable)

    @classmethod
    async def open(cls, address: str) -> Wire:
        """Connect, authenticate and say Hello.

        Args:
            address: a bus address.

        Raises:
            OSError: no such socket, refused, or it hung up.
            TimeoutError: no answer.
            BusLost, BusRefusal: the bus does not want us.
        """
        failure: Exception = BusLost("no address")
        for place in places(address):
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            wire = None
            try:
                sock.connect(place)  # a Unix socket connects at once or not at all: a full backlog is EAGAIN
                async with asyncio.timeout(PATIENCE):
                    await _authenticate(sock)
                    wire = cls(sock)
                    wire.unique = (await wire.ask("Hello"))[0]
            except (OSError, TimeoutError, BusLost, BusRefusal) as error:
                failure = error
                if wire is not None:
                    wire.close(str(error))
                sock.close()
            except BaseException:
                if wire is not None:
                    wire.close("interrupted")
                sock.close()
                raise
            else:
                return wire
        raise failure

    async def ask(self, member: str, signature: str = "", *args: Any) -> list[Any]:
        """Call a method of the bus itself and give its results.

        Args:
            member: the method.
            signature: types of the arguments.
            args: the arguments.

        Raises:
            BusRefusal: the bus answered with an error.
            BusLost: the connection went.
            TimeoutError: no answer.
        """
        future: asyncio.Future[Message] = self._loop.create_future()
        serial = self.tell(member, signature, *args)
        self._waiting[serial] = future
        try:
            async with asyncio.timeout(PATIENCE):
                reply = await future
        finally:
            self._waiting.pop(serial, None)
        if reply.kind == Kind.ERROR:
            raise BusRefusal(str(reply.fields[codec.ERROR]), str(reply.body[0]) if reply.body else "")
        return list(reply.body)

    def tell(self, member: str, signature: str = "", *args: Any) -> int:
        """Call a method of the bus itself without waiting for its answer; give the call's serial.

        Args:
            member: the method.
            signature: types of the arguments.
            args: the arguments.

        Raises:
            BusLost: the connection is gone.
        """
        fields = {codec.DESTINATION: DRIVER, codec.PATH: DRIVER_PATH, codec.INTERFACE: DRIVER, codec.MEMBER: member}
        return self.send(Message(Kind.CALL, 0, {**fields, codec.SIGNATURE: signature} if signature else fields, args))

    def send(self, message: Message) -> int:
        """Send a message, at once as far as the socket takes it; give its serial.

        Args:
            message: anything; what is sent after the connection is gone is dropped.

        Raises:
            BusLost: only for a call, whose answer could never come.
            Unfit: a value is not of its type.
        """
        if self._gone.is_set():
            if message.kind == Kind.CALL:
                raise BusLost(self._why)
            return 0
        self._serial = serial = self._serial % 0xFFFFFFFF + 1
        self._out += codec.pack(message, serial)
        if not (self._held or self._blocked):
            self._writable()
        if len(self._out) > BACKLOG:
            self.close("the bus does not read any more")
        return serial

    @contextmanager
    def together(self) -> Iterator[None]:
        """Send what is sent within at its end, and in one piece, so that the bus wakes up once for it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            if self._out and not (self._blocked or self._gone.is_set()):
                self._writable()

    async def drained(self) -> None:
        """Wait until everything is written, or the connection is gone."""
        await self._empty.wait()

    async def gone(self) -> str:
        """Wait until the connection is gone and say why."""
        await self._gone.wait()
        return self._why

    @property
    def connected(self) -> bool:
        """Whether messages still go out."""
        return not self._gone.is_set()

    def close(self, why: str) -> None:
        """End the connection; calls that wait for an answer fail.

        Args:
            why: for those who wait.
        """
        if self._gone.is_set():
            return
        self._why = why
        self._gone.set()
        self._empty.set()
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        self._sock.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(BusLost(why))

    def _writable(self) -> None:
        try:
            while self._out:
                sent = self._sock.send(self._out)
                del self._out[:sent]
        except BlockingIOError:
            if not self._blocked:
                self._blocked = True
                self._empty.clear()
                self._loop.add_writer(self._sock, self._writable)
            return
        except OSError as error:
            self.close(f"writing: {error.strerror}")
            return
        if self._blocked:
            self._blocked = False
            self._empty.set()
            self._loop.remove_writer(self._sock)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(SHORT)
        except BlockingIOError:
            return
        except OSError as error:
            self.close(f"reading: {error.strerror}")
            return
        if not data:
            self.close("the bus hung up")
            return
        self._in += data
        if not self._taken():
            # Nothing more is read before this is worked off, so a flood waits in the bus and not in our memory.
            self._loop.remove_reader(self._sock)
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        if not self._taken():
            self._loop.call_soon(self._work)
        elif not self._gone.is_set():
            self._loop.add_reader(self._sock, self._readable)

    def _taken(self) -> bool:
        """Take as many frames as one turn may; tell whether that was all that was read."""
        return any(self._gone.is_set() or not self._frame() for _ in range(TURN))

    def _frame(self) -> bool:
        """Take one frame out of what was read; False when there is no whole one."""
        if self._skip:
            dropped = min(self._skip, len(self._in))
            del self._in[:dropped]
            self._skip -= dropped
        if self._skip or len(self._in) < FIXED:
            return False
        order: Literal["little", "big"] = "little" if self._in[0] == LITTLE else "big"
        body = int.from_bytes(self._in[4:8], order)
        head = FIXED + -(-int.from_bytes(self._in[12:16], order) // 8) * 8
        whole = head + body <= LONGEST
        if head > SHORT:
            self._skip = head + body
            log.warning("bus.message_dropped", bytes=head + body)
            return True
        size = head + body if whole else head
        if len(self._in) < size:
            return False
        frame = self._in[:size]
        del self._in[:size]
        if not whole:
            self._skip = body
            frame[4:8] = bytes(4)
        if whole and size > SHORT:
            self._long(frame, head)
        else:
            self._read(frame, body, whole=whole)
        return True

    def _long(self, frame: bytearray, head: int) -> None:
        first = frame[:head]
        first[4:8] = bytes(4)
        message = _unmarshalled(first)
        if message is None:
            return
        if message.kind == Kind.CALL:
            self.take_long(message, bytes(frame))
        elif message.sender == DRIVER:
            self._read(frame, 0, whole=True)
        else:
            log.warning("bus.message_dropped", bytes=len(frame))

    def _read(self, frame: bytearray, size: int, *, whole: bool) -> None:
        message = _unmarshalled(frame)
        if message is None:
            return
        match message.kind:
            case Kind.ANSWER | Kind.ERROR:
                future = self._waiting.get(message.fields[codec.REPLY])
                if future is not None and not future.done() and message.sender == DRIVER:
                    future.set_result(message)
            case Kind.CALL if not whole:
                text = f"the message has {size} bytes of arguments\n  at most {LONGEST} are taken"
                self.send(codec.refusal(message, STANDARD + "LimitsExceeded", text))
            case _:
                self.take(message)


def _ignore(_message: Message) -> None:
    """Nobody can know our name yet."""


def _ignore_long(_head: Message, _frame: bytes) -> None:
    """Nobody can know our name yet."""


def unmarshal(frame: bytes) -> Message:
    """Read a message; may run in a thread.

    Args:
        frame: all of it.

    Raises:
        Unreadable: it is no message.
    """
    return codec.unpack(frame, typed=True)


def _unmarshalled(frame: bytearray) -> Message | None:
    try:
        return unmarshal(bytes(frame))
    except Unreadable as error:
        log.warning("bus.message_unreadable", error=str(error))
        return None


async def _authenticate(sock: socket.socket) -> None:
    """Prove by the socket's credentials who we are (mechanism EXTERNAL).

    No number is sent: the bus takes the one that the kernel tells it, which is right in user namespaces too.

    Args:
        sock: just connected.
    """
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, b"\0AUTH EXTERNAL\r\nDATA\r\n")
    answer = b""
    while b"\r\nOK " not in b"\r\n" + answer or not answer.endswith(b"\r\n"):
        data = await loop.sock_recv(sock, 512)
        answer += data
        if not data or len(answer) > 4096:
            raise BusLost("the bus hung up before it said who we are")
        if answer.startswith((b"REJECTED", b"ERROR")) or b"\r\nREJECTED" in answer:
            raise BusLost("the bus does not know us (EXTERNAL was rejected)")
    await loop.sock_sendall(sock, b"BEGIN\r\n")
