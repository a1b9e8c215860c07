"""One queue for each sender: its calls are answered in their order, and nobody else waits for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable

# Calls of one sender that may wait; the next is refused. As many as dbus-daemon lets a connection wait for, so
# that only those who do not want answers meet this bound.
WAITING = 128

# Answers one call, and never raises.
Job = Callable[[], Awaitable[None]]


class Senders:
    """The calls that wait to be answered.

    Args:
        group: owns the task of each sender that has calls.
    """

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._queues: dict[Hashable, deque[Job]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, sender: Hashable, job: Job) -> bool:
        """Let a call wait for its turn; False when its sender has too many.

        Args:
            sender: whose call it is.
            job: answers it.
        """
        queue = self._queues.get(sender)
        if queue is None:
            self._queues[sender] = queue = deque((job,))
            task = self._group.create_task(self._work(sender, queue), name=f"bus {sender}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return True
        if len(queue) >= WAITING:
            return False
        queue.append(job)
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

    async def _work(self, sender: Hashable, queue: deque[Job]) -> None:
        try:
            while queue:
                await queue[0]()
                queue.popleft()
                if queue:
                    await asyncio.sleep(0)  # also between calls that need no waiting, others get their turn
        finally:
            del self._queues[sender]
