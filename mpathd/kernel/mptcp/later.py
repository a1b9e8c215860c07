"""A thread for writes that take long: the kernel closes an endpoint's subflows, and then waits for 4 to 25 ms.

Generic netlink has one lock: whoever asks the kernel about endpoints in that time waits as long (seen on 6.18). So
while something is under way here, nobody asks, and further writes queue up behind it.
"""

from __future__ import annotations

import threading
from _thread import start_new_thread
from collections.abc import Callable, Iterable

from ...model.mptcp import Change

Answer = tuple[int, str]  # errno (0: done) and the kernel's words
Pause = Callable[[], float | None]


class Later:
    """Writes in their order, one after the other.

    Args:
        write: does one of them.
        finished: called in the thread when nothing is left to do; nobody may be asked before.
    """

    def __init__(self, write: Callable[[Change], Answer], finished: Callable[[], None]) -> None:
        self._write, self._finished = write, finished
        self._lock = threading.Condition()
        self._waiting: list[tuple[tuple[Change, ...], Pause]] = []
        self._hurry = False
        self._answers: list[tuple[Change, Answer]] = []
        self._busy, self._threads = False, 0  # one that has nothing left to do may still be telling so

    @property
    def busy(self) -> bool:
        """Whether something is under way."""
        with self._lock:
            return self._busy

    def put(self, changes: Iterable[Change], pause: Pause = lambda: 0.0) -> None:
        """Have writes done.

        Args:
            changes: in their order.
            pause: asked in the thread, right before the first of them: seconds between any two, None for not at all.
                Whatever else is put here ends a pause: a link that is lost waits for nobody.
        """
        with self._lock:
            self._waiting.append((tuple(changes), pause))
            self._lock.notify_all()
            if not self._busy:
                self._busy = True
                self._threads += 1
                start_new_thread(self._work, ())  # threading.Thread waits until the other one has got under way: 1 ms

    def answers(self) -> tuple[tuple[Change, Answer], ...]:
        """Take the answers that have come since the last time."""
        with self._lock:
            out, self._answers = tuple(self._answers), []
        return out

    def join(self) -> None:
        """Wait until nothing is left to do, without any more pauses."""
        with self._lock:
            self._hurry = True
            self._lock.notify_all()
            self._lock.wait_for(lambda: not self._threads)
            self._hurry = False

    def _work(self) -> None:
        try:
            while self._one():
                pass
            self._finished()
        finally:
            with self._lock:
                self._threads -= 1
                self._lock.notify_all()

    def _one(self) -> bool:
        """Do what was put first, and tell whether there was something."""
        with self._lock:
            if not self._waiting:
                self._busy = False
                return False
            changes, pause = self._waiting.pop(0)
        seconds = pause()
        for place, change in enumerate(changes if seconds is not None else ()):
            if place and seconds:
                with self._lock:
                    self._lock.wait_for(lambda: self._waiting or self._hurry, seconds)
            answer = self._write(change)
            with self._lock:
                self._answers.append((change, answer))
        return True
