"""A thread that lives in a namespace and does there what it is told, and mpathd's own eyes in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from labkit.netns import step_in
from mpathd import app
from mpathd.kernel.machine import Machine
from mpathd.model.routing import Step
from mpathd.plan.desire import desire
from mpathd.plan.diff import diff

T = TypeVar("T")


class Inside:
    """One thread in a namespace.

    Args:
        ns: the namespace.
    """

    def __init__(self, ns: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"inside {ns}", initializer=lambda: step_in(ns))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def do(self, work: Callable[[], T]) -> T:
        """Do the work there and give its result.

        Args:
            work: what to do.
        """
        return self._pool.submit(work).result()


class Eyes:
    """Reads a namespace anew and tells what mpathd would still have to write.

    Args:
        inside: the thread in the namespace.
        argv: arguments of the mpathd that works there.
    """

    def __init__(self, inside: Inside, argv: Sequence[str]) -> None:
        self._inside = inside
        opts = app.options(argv)
        self._machine = inside.do(Machine)
        self._machine.watch.close()
        self._loop = inside.do(lambda: app.reconciler(opts, app.setup(opts), self._machine))

    def missing(self) -> tuple[Step, ...]:
        """What is not as it should be; empty: everything is in place."""

        def look() -> tuple[Step, ...]:
            world = self._loop.look()
            return diff(desire(world, self._loop.policy).kernel, world.have, world.rules)

        return self._inside.do(look)
