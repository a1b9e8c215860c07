"""One lab for the tests of a file, and the engine by which mpathd knows a session's traffic in each of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from kernel.helpers_cgroup import Cgroup, programs, tree
from kernel.helpers_sessions import FLOW, OTHER, Case
from labkit import Echo
from labkit.agent import eventually

OFF = "\n[sessions]\nsocket_engine = false\n"
# For tests of what both engines promise: with "packets" the socket engine is off. The session is the same both times.
both_engines = pytest.mark.parametrize("engine", ["packets", "sockets"], indirect=True)
keeping = partial(Case, args=("--mpathrouting", "--keep"))


def answers(case: Case) -> None:
    """Have a server at the client.

    Args:
        case: the case.
    """
    case.enter(Echo(case.lab, case.client, OTHER))


def lab(make: Callable[[], Case] = Case, furnish: Callable[[Any], None] = lambda _case: None) -> Any:
    """Make the fixture `shared` of a file.

    Args:
        make: makes the lab, with mpathd.
        furnish: puts more into it.
    """

    @pytest.fixture(scope="module")
    def shared() -> Iterator[Case]:
        with make() as made:
            furnish(made)
            yield made

    return shared


class Engine:
    """How mpathd knows the traffic of a test's sessions: this process is in their control group, and sends what their
    selectors say. With the socket engine the group decides; when that is off, the selectors are all that is left.

    Args:
        case: the case.
        name: "packets", "sockets", or "" for sessions that say all by themselves.
    """

    def __init__(self, case: Case, name: str) -> None:
        self._case, self.name = case, name
        self._group = Cgroup()
        words = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
        self._home = tree() / next(path for number, _, path in words if number == "0").lstrip("/")

    def __enter__(self) -> Self:
        if self.name:
            self._group.__enter__()
            self._move(self._group.folder)
        self._config = self._case.agent.config.read_text()
        if self.name == "packets":
            self._configure(self._config + OFF)
        return self

    def __exit__(self, *error: object) -> None:
        if self.name:
            for pid in (self._group.folder / "cgroup.procs").read_text().split():  # mpathd too, if it was started here
                (self._home / "cgroup.procs").write_text(pid)
            self._group.remove()
        if self.name == "packets":
            self._configure(self._config)

    def session(self, name: str, **values: Any) -> None:
        """Have a session of this process, and see that the right engine serves it.

        Args:
            name: of the session.
            values: its settings; `flow_selectors` if others than FLOW.
        """
        if not {"flow_selectors", "users"} & set(values):
            values["flow_selectors"] = FLOW
        if self.name:
            values["cgroup"] = self._group.path
        self._case.session(name, **values)
        if self.name:
            assert bool(programs(self._group.folder)) is (self.name == "sockets")

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Be in no session's group for a while."""
        if self.name:
            self._move(self._home)
        yield
        if self.name:
            self._move(self._group.folder)

    def _move(self, folder: Path) -> None:
        (folder / "cgroup.procs").write_text(str(os.getpid()))

    def _configure(self, text: str) -> None:
        agent = self._case.agent
        agent.config.write_text(text)
        if agent.running:
            before = self._reloads()
            agent.signal(signal.SIGHUP)
            eventually(lambda: self._reloads() > before, what="the configuration is read")

    def _reloads(self) -> int:
        return self._case.agent.log.read_text().count('"event": "reload"')
