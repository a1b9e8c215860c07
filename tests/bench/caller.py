"""A D-Bus client in a thread of its own: calls that are timed, and when it was told of its session."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from dbus_next import Message, MessageType
from dbus_next.aio import MessageBus

from labkit import LabError

T = TypeVar("T")
PATIENCE = 20.0  # seconds for an answer


class Caller:
    """One connection.

    Args:
        address: of the bus.
        name: whom to call.

    Attributes:
        told: when an Update came, in nanoseconds of the monotonic clock, and what it said.
        sent: when the last call was sent, likewise.
    """

    def __init__(self, address: str, name: str) -> None:
        self._address, self._name = address, name
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"caller of {name}", daemon=True)
        self._bus: MessageBus | None = None
        self.told: list[tuple[int, dict[str, Any]]] = []
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._connect())
        return self

    def __exit__(self, *error: object) -> None:
        self._do(self._disconnect())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _connect(self) -> None:
        self._bus = await MessageBus(bus_address=self._address).connect()
        self._bus.add_message_handler(self._hear)

    async def _disconnect(self) -> None:
        assert self._bus is not None
        self._bus.disconnect()
        await asyncio.gather(self._bus.wait_for_disconnect(), return_exceptions=True)

    def _hear(self, message: Message) -> Message | bool:
        at = time.monotonic_ns()
        if message.message_type is not MessageType.METHOD_CALL or message.member not in {"Update", "Release"}:
            return False
        if message.member == "Update":
            self.told.append((at, {key: variant.value for key, variant in message.body[0].items()}))
        return Message.new_method_return(message)

    def call(self, path: str, interface: str, member: str, types: str = "", *body: Any) -> tuple[Any, float]:
        """Call; give the first result, None if there is none, and milliseconds from sending to the answer.

        Args:
            path: the object.
            interface: its interface.
            member: the method.
            types: of the arguments.
            body: the arguments.

        Raises:
            LabError: an error came back.
        """
        message = Message(self._name, path, interface, member, signature=types, body=list(body))
        reply, took = self._do(self._timed(message))
        if reply.message_type is MessageType.ERROR:
            raise LabError(f"{member} failed: {reply.error_name}", str(reply.body))
        return (reply.body[0] if reply.body else None), took

    async def _timed(self, message: Message) -> tuple[Message, float]:
        assert self._bus is not None
        self.sent = start = time.monotonic_ns()
        reply = await self._bus.call(message)
        assert reply is not None
        return reply, (time.monotonic_ns() - start) / 1e6
