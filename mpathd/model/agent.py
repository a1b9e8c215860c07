"""What the doors (D-Bus, command line) know of the agent: its picture, its news, and how to ask for a change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .errors import Refusal
from .policy import ServiceSettings
from .routing import Step
from .session import Client, Origin
from .sight import EventSeen, Seeing
from .statistics import Statistics
from .view import View


@dataclass(frozen=True, slots=True)
class Edit:
    """A wish for other settings, already of the right types.

    Args:
        values: field of SETTINGS to value.
        service: identifier of the service; None sets the default and forgets the stored values of all services.
        lasting: it is saved; else it holds until the next start, or until the same is set to last (one service only).
    """

    values: Mapping[str, bool | str]
    service: str | None = None
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class SessionWish:
    """A wish for a session; its values are still as they came.

    Args:
        name: unique among all sessions.
        origin: NAMED or DBUS.
        owner: the unique bus name, or the user's name.
        user: id of the user who asks.
        trusted: root or the configured group; anybody else's session catches only that user's traffic.
        values: field of CLIENT_SETTINGS to value: lists of texts, texts, a number, a boolean.
        client: of a D-Bus session.
    """

    name: str
    origin: Origin
    owner: str
    user: int
    trusted: bool
    values: Mapping[str, object]
    client: Client | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass did; the news of the agent.

    Args:
        number: counts from 1.
        reasons: what made the agent look ("link vethc2", "setting MultipathRouting").
        before: the picture until now.
        after: the picture from now on.
        steps: what was written, in order.
        refused: what the kernel refused.
        milliseconds: how long it took.
        counted: sessions whose statistics are to be told; a pass that tells of them did nothing else.
        heard: what the kernel told of MPTCP connections, likewise.
    """

    number: int
    reasons: tuple[str, ...]
    before: View
    after: View
    steps: tuple[Step, ...] = ()
    refused: tuple[Refusal, ...] = ()
    milliseconds: float = 0.0
    counted: tuple[str, ...] = ()
    heard: tuple[EventSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """How the agent is.

    Args:
        passes: number of passes so far.
        settled: nothing is refused and nothing is waiting.
        age: seconds since the last pass.
        routes, rules: objects of ours in the kernel.
        refused: what the kernel refuses at present.
        version: mpathd's version.
        pid: its process id.
        config: the configuration file in force, empty for none.
        extra: more lines for `status`, label to text.
    """

    passes: int
    settled: bool
    age: float
    routes: int
    rules: int
    refused: tuple[Refusal, ...]
    version: str
    pid: int
    config: str
    extra: Mapping[str, str] = field(default_factory=dict)


class Agent(Protocol):
    """The agent, seen from a door."""

    @property
    def view(self) -> View:
        """The picture after the last pass."""

    @property
    def defaults(self) -> ServiceSettings:
        """The settings of a service that has none of its own stored."""

    @property
    def status(self) -> Status:
        """How the agent is."""

    @property
    def seeing(self) -> Seeing:
        """Who looks at MPTCP connections."""

    async def change(self, edit: Edit) -> None:
        """Save other settings and wait until the kernel has them.

        Args:
            edit: the wish.

        Raises:
            NotFound: no such service.
            NotApplied: saved, but the kernel refused; the text lists the refused commands.
        """

    async def move(self, service: str, other: str, *, before: bool) -> None:
        """Put a service directly before or behind another, save it, and wait until the kernel has it.

        Args:
            service: identifier of the one that is moved.
            other: identifier of the one that it is moved to.
            before: before it, else behind it.

        Raises:
            NotFound: one of them is not here; the text lists those that are.
            InvalidArguments: both are the same.
            NotApplied: saved, but the kernel refused; the text lists the refused commands.
        """

    async def create_session(self, wish: SessionWish) -> None:
        """Make a session and wait until the kernel has it.

        Args:
            wish: what it is to be.

        Raises:
            AlreadyExists: the name is taken; the text names both.
            InvalidArguments: a value does not fit; nothing was made.
            LimitsExceeded: the user has as many as [sessions] max_per_user allows, or too many selectors.
            NotApplied: it is made, but the kernel refused; the text lists the refused commands.
        """

    async def change_session(self, name: str, values: Mapping[str, object]) -> None:
        """Change settings of a session, all or none, and wait until the kernel has them.

        Args:
            name: the session.
            values: field of CLIENT_SETTINGS to value; an empty text or list sets the default again.

        Raises:
            NotFound, InvalidArguments, LimitsExceeded, NotApplied: as above.
            NotSupported: a session of a policy file is changed in its file.
        """

    async def connect_session(self, name: str, *, active: bool) -> None:
        """Make a session active or inactive, which sticks, and wait until the kernel has it.

        Args:
            name: the session.
            active: whether its traffic is routed.
        """

    async def destroy_session(self, name: str) -> None:
        """End a session and wait until nothing of it is in the kernel.

        Args:
            name: the session.

        Raises:
            NotFound: no such session.
            NotSupported: a session of a policy file lives as long as its file.
        """

    async def enter_session(self, name: str, pid: int, user: int) -> str:
        """Move a process into a session's control group, and give its path.

        Args:
            name: the session.
            pid: the process.
            user: whose it is.

        Raises:
            NotFound: no such session, or process.
            NotSupported: this machine cannot do it.
            NotApplied: the kernel refuses; the process was not moved.
        """

    def end_sessions(self, gone: Callable[[str, str], bool]) -> None:
        """End the D-Bus sessions of bus connections that are gone.

        Args:
            gone: tells of a unique bus name and of its bus's GUID whether its owner is gone.
        """

    def statistics(self, name: str, *, now: bool = False) -> Statistics:
        """Give what a session has sent and received; all zero for one that is not here.

        Args:
            name: the session.
            now: as the kernel has it at this moment; else a reading may be a tenth of a second old.
        """

    async def refresh(self) -> None:
        """Look again, also at what has no kernel events, and wait for that pass."""

    async def reload(self) -> None:
        """Read the configuration again and wait for the pass that obeys it.

        Raises:
            ConfigError: it cannot be used; the old one stays in force.
        """

    def passes(self) -> AsyncIterator[Pass]:
        """Every pass from now on that changed or wrote something."""
