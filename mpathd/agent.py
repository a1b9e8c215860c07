"""The agent as its doors use it: what is asked of it, and when it answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from time import monotonic

from . import __version__
from .model.agent import Edit, Pass, SessionWish, Status
from .model.errors import ConfigError, InvalidArguments, NotApplied, NotFound, NotSupported
from .model.marking import home
from .model.mptcp import Change
from .model.packet import Connections, Load
from .model.policy import Policy, ServiceSettings, Stored
from .model.routing import Step
from .model.sight import Blind, EventSeen, Seeing
from .model.statistics import Count, Statistics
from .model.view import Finding, Service
from .model.words import Severity
from .plan.order import moved
from .plan.picked import check as check_services
from .plan.settings import check, defaults, edited
from .ports import Bookkeeping
from .reconcile import Loop

NOTHING: tuple[Count, Count, Count] = ((0, 0), (0, 0), (0, 0))


class LiveAgent(Loop):
    """The loop, with everything that doors may ask of it.

    Attributes:
        notes: gives further lines for status, label to text.
    """

    notes: Callable[[], Mapping[str, str]] = staticmethod(dict)

    seeing: Seeing = Blind()
    _unhealthy: tuple[Finding, ...] = ()
    _defaults: tuple[Policy | None, ServiceSettings] = (None, ServiceSettings())

    @property
    def defaults(self) -> ServiceSettings:
        """The settings of a service that has none of its own stored; the same object as long as nobody changes them."""
        policy, known = self._defaults
        if policy is not self._policy:
            self._defaults = self._policy, (known := defaults(self._policy))
        return known

    @property
    def status(self) -> Status:
        """How the agent is."""
        return Status(
            passes=self._number,
            settled=not self._refused and not self._reasons and self._contest.next_settle is None,
            age=monotonic() - self._last,
            routes=len(self._have.routes),
            rules=len(self._have.rules),
            refused=tuple(refusal for _, refusal in self._refused),
            version=__version__,
            pid=os.getpid(),
            config=self.config.path,
            extra={**({} if self.endpoints is None else {"MPTCP": self.endpoints.words}), **self.notes()},
        )

    async def change(self, edit: Edit) -> None:
        """Save other settings and wait until the kernel has them.

        Args:
            edit: the wish.

        Raises:
            NotFound: no such service.
            InvalidArguments: a value does not fit; nothing was saved.
            NotApplied: saved, but the kernel refused; the text lists the refused commands.
        """
        values = check(edit.values)
        services = self._services_here(*filter(None, [edit.service]))
        self._save(edited(self._stored, replace(edit, values=values)), lasting=edit.lasting)
        service = services.get(edit.service or "")
        done = await self._passed(f"setting {', '.join(values)} of {service.interface if service else 'all'}")
        tables = {service.table} if service else {s.table for s in services.values()}
        sources = {f"{a.address}/" for s in services.values() if s.table in tables for a in s.addresses}
        self._judge(
            done,
            lambda step: (
                getattr(step.what, "table", None) in tables
                or str(getattr(step.what, "source", "") or "").startswith(tuple(sources))
                or (isinstance(step.what, Change) and f"{getattr(step.what.what, 'address', '')}/" in sources)
            ),
        )

    async def move(self, service: str, other: str, *, before: bool) -> None:
        """Put a service directly before or behind another, save it, and wait until the kernel has it.

        Args:
            service: identifier of the one that is moved.
            other: identifier of the one that it is moved to.
            before: before it, else behind it.

        Raises:
            NotFound: one of them is not here; nothing was saved.
            InvalidArguments: both are the same.
            NotApplied: saved, but the kernel refused; the text lists the refused commands.
        """
        services = self._services_here(service, other)
        word = "before" if before else "after"
        if service == other:
            text = f"service '{service}' cannot stand {word} itself"
            rest = ", ".join(name for name in services if name != service) or "none"
            raise InvalidArguments(text, f"name two services; others here: {rest}")
        order = moved(self._stored.order, services.values(), service, other, before=before)
        self._save(replace(self._stored, order=order))
        done = await self._passed(f"{services[service].interface} goes {word} {services[other].interface}")
        marks = {session.mark for session in self._view.sessions}
        self._judge(
            done,
            lambda step: (
                isinstance(step.what, Load | Connections)
                or not marks.isdisjoint({getattr(step.what, "table", None), getattr(step.what, "mark", None)})
            ),
        )

    def _services_here(self, *names: str) -> dict[str, Service]:
        """All services by identifier; each of the names must be one."""
        services = {service.id: service for service in self._view.services}
        for name in names:
            if name not in services:
                raise NotFound(f"no service called '{name}'", f"services here: {', '.join(services) or 'none'}")
        return services

    def _save(self, stored: Stored, *, lasting: bool = True) -> None:
        if lasting:
            self._memory.save(stored)
        self._stored = stored
        self._policy = replace(self._policy, stored=stored)

    def _judge(self, done: Pass, concerns: Callable[[Step], bool]) -> None:
        """Tell who asked what the kernel refused of it."""
        refused = [refusal for step, refusal in self._refused if concerns(step)]
        if refused:
            count, lines = len(refused), "\n  ".join(str(refusal) for refusal in refused[:5])
            of = len(done.steps) + count
            raise NotApplied(f"saved, but the kernel refused {count} of {of} steps; mpathd will retry\n  {lines}")

    async def create_session(self, wish: SessionWish) -> None:
        """Make a session and wait until the kernel has it.

        Args:
            wish: what it is to be.

        Raises:
            MpathError: it does not fit, or the name is taken, or there are too many; nothing was made.
            NotApplied: it is made, but the kernel refused; the text lists the refused commands.
        """
        book = self._book_of_sessions()
        check_services(wish.values.get("services"), self._view.services)
        book.create(wish)
        await self._obeyed(wish.name, f"session {wish.name} is new")

    async def change_session(self, name: str, values: Mapping[str, object]) -> None:
        """Change settings of a session, all or none, and wait until the kernel has them.

        Args:
            name: the session.
            values: field to value; an empty one sets the default again.
        """
        book = self._book_of_sessions()
        check_services(values.get("services"), self._view.services)
        book.change(name, values)
        await self._obeyed(name, f"session {name} is changed")

    async def connect_session(self, name: str, *, active: bool) -> None:
        """Make a session active or inactive, and wait until the kernel has it.

        Args:
            name: the session.
            active: whether its traffic is routed.
        """
        self._book_of_sessions().connect(name, active=active)
        await self._obeyed(name, f"session {name} is {'connected' if active else 'disconnected'}")

    async def destroy_session(self, name: str) -> None:
        """End a session and wait until nothing of it is in the kernel.

        Args:
            name: the session.
        """
        self._book_of_sessions().destroy(name)
        await self._obeyed(name, f"session {name} has ended")

    async def enter_session(self, name: str, pid: int, user: int) -> str:
        """Move a process into a session's control group, and give its path.

        Args:
            name: the session.
            pid: the process.
            user: whose it is.

        Raises:
            NotFound: no such session, or process.
            NotSupported: the socket engine is off, or this machine has no cgroup v2, or mpathd may not use it.
            NotApplied: the kernel refuses programs on the group; the process was not moved.
        """
        if all(session.name != name for session in self._view.sessions):
            raise NotFound(f"no session called '{name}'", "see: mpathctl session list")
        if not self.policy.socket_engine:
            raise NotSupported("sockets are not marked: socket_engine is off", "set it to true in [sessions]")
        group = home(name)
        try:
            self._kernel.make_home(group)
        except OSError as error:
            text = f"control group {group} cannot be made: {error.strerror}"
            raise NotSupported(text, "sockets are marked in groups of cgroup v2, by root") from error
        await self._obeyed(name, f"session {name} is entered")
        try:
            return self._kernel.enter(group, pid, user)
        except OSError as error:
            raise NotFound(
                f"process {pid} cannot be moved: {error.strerror}", "it must run, and be the caller's"
            ) from error

    def end_sessions(self, gone: Callable[[str, str], bool]) -> None:
        """End the D-Bus sessions of bus connections that are gone; the next pass takes them out of the kernel.

        Args:
            gone: tells of a unique bus name and of its bus's GUID whether its owner is gone.
        """
        if self._book is not None and self._book.end(gone):
            self.sessions_asked()
            self.poke("client gone", whole=False, paths=False)

    def _book_of_sessions(self) -> Bookkeeping:
        if self._book is None:
            raise NotSupported("this agent keeps no sessions", "start mpathd with a state folder")
        return self._book

    async def _obeyed(self, name: str, reason: str) -> None:
        before = self._view.sessions
        self.sessions_asked()
        done = await self._passed(reason, whole=False, paths=False)
        if not self._refused:
            return
        mark = next((s.mark for s in (*self._view.sessions, *before) if s.name == name), 0)
        concerns = (Load, Connections)
        self._judge(
            done,
            lambda step: (
                isinstance(step.what, concerns)
                or mark in {getattr(step.what, "table", None), getattr(step.what, "mark", None)}
            ),
        )

    def statistics(self, name: str, *, now: bool = False) -> Statistics:
        """Give what a session has sent and received.

        Args:
            name: the session.
            now: as the kernel has it at this moment; else a reading may be a tenth of a second old.
        """
        return self._meter.statistics(name, self._view, now=now) if self._meter is not None else Statistics()

    async def count(self) -> None:
        """Tell of statistics at the pace of [sessions] stats_interval, as long as there is one."""
        told: dict[str, tuple[Count, Count, Count]] = {}
        while True:
            self._paced.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._paced.wait(), self.config.stats_interval or None)
                continue  # there is another pace
            counts = {session.name: self.statistics(session.name) for session in self._view.sessions}
            fresh = {name: (count.received, count.sent, count.dropped) for name, count in counts.items()}
            moved = tuple(name for name, sums in fresh.items() if told.get(name, NOTHING) != sums)
            told = fresh
            if moved:
                self.tell(Pass(self._number, ("statistics",), self._view, self._view, counted=moved))

    def heard(self, told: tuple[EventSeen, ...]) -> None:
        """Tell what the kernel told of MPTCP connections.

        Args:
            told: the events.
        """
        self.tell(Pass(self._number, ("mptcp",), self._view, self._view, heard=told))

    def _troubles(self) -> tuple[Finding, ...]:
        return (*super()._troubles(), *self._unhealthy)

    async def refresh(self) -> None:
        """Look again, also at what has no kernel events, and wait for that pass."""
        self._unhealthy = self.seeing.findings()
        await self._passed("status")

    async def reload(self) -> None:
        """Read the configuration again and wait for the pass that obeys it.

        Raises:
            ConfigError: it cannot be used; the old one stays in force.
        """
        try:
            fresh = self._load()
            if fresh.config.policy.numbers.protocol != self.policy.numbers.protocol:
                raise ConfigError("[numbers] protocol cannot change while mpathd runs", "restart mpathd without --keep")
        except ConfigError as error:
            cure = f"{error.hint}; then: systemctl reload mpathd" if error.hint else "then: systemctl reload mpathd"
            self._reload_trouble = (Finding("config", Severity.HIGH, f"{error.text}; the old one is in force", cure),)
            self.poke("reload")
            raise
        self._reload_trouble = ()
        self._setup = fresh
        self._policy = replace(fresh.config.policy, stored=self._stored)
        self._obey(fresh)
        self._paced.set()
        self.read_policies()
        await self._passed("reload")
