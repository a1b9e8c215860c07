"""One queue for each sender: its calls are answered in their order, and nobody else waits for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from dbus_next import Message

# Calls of one sender that may wait; the next is refused. A client that waits for answers has one.
WAITING = 64


class Senders:
    """The calls that wait to be answered.

    Args:
        group: owns the task of each sender that has calls.
        answer: answers one call and never raises.
    """

    def __init__(self, group: asyncio.TaskGroup, answer: Callable[[Message], Awaitable[None]]) -> None:
        self._group = group
        self._answer = answer
        self._queues: dict[str, deque[Message]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, message: Message) -> bool:
        """Let a call wait for its turn; False when its sender has too many.

        Args:
            message: the call.
        """
        queue = self._queues.get(message.sender)
        if queue is None:
            self._queues[message.sender] = queue = deque((message,))
            task = self._group.create_task(self._work(message.sender, queue), name=f"bus {message.sender}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return True
        if len(queue) >= WAITING:
            return False
        queue.append(message)
        return True

    async def finish(self, patience: float) -> None:
        """Let the calls that wait be answered; those that take too long are given up.

        Args:
            patience: seconds.
        """
        if self._tasks:
            _, late = await asyncio.wait(tuple(self._tasks), timeout=patience)
            for task in late:
                task.cancel()

    async def _work(self, sender: str, queue: deque[Message]) -> None:
        try:
            while queue:
                await self._answer(queue[0])
                queue.popleft()
                await asyncio.sleep(0)  # also between calls that need no waiting, others get their turn
        finally:
            del self._queues[sender]
