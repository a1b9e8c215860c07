"""What the loop needs of the world: hands, a memory, a configuration; app.py brings them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .model.agent import SessionWish
from .model.config import Config
from .model.errors import Refusal
from .model.mptcp import Change, Endpoint, Kept, Mptcp
from .model.packet import Ruleset
from .model.policy import Stored
from .model.routing import Step
from .model.session import SessionSettings
from .model.statistics import Count, Counted, Statistics
from .model.view import Finding, View
from .model.world import World
from .sources import Source


class Kernel(Protocol):
    """The hands, as the loop knows them."""

    def heard(self) -> set[str]:
        """Take what was heard, and tell which kinds of objects others have moved."""

    def look(self, protocol: int, *, whole: bool = True) -> World:
        """Read everything that decisions need."""

    def apply(self, steps: Sequence[Step]) -> tuple[tuple[Step, ...], tuple[tuple[Step, Refusal], ...]]:
        """Write steps: what was done, and what was refused and why."""

    def adopt(self, packets: Ruleset) -> None:
        """Take it that our nft table holds what its digest says."""

    def read(self, packets: Ruleset) -> Ruleset | None:
        """Give what our nft table holds as nft tells it, None if that is not understood."""

    def counters(self) -> Mapping[str, Count]:
        """Give what the counters in our nft table have counted, by name."""

    def suspects(self) -> tuple[str, ...]:
        """Name programs here that are known to undo what others write."""

    def make_home(self, group: str) -> None:
        """Make a session's control group, or raise OSError."""

    def enter(self, group: str, pid: int, user: int) -> str:
        """Move a user's process into a control group and give its path, or raise OSError."""


class Paths(Protocol):
    """The hand for MPTCP, as the loop knows it."""

    @property
    def busy(self) -> bool:
        """Whether writes are under way that `apply` did not wait for."""

    @property
    def words(self) -> str:
        """Say by what links are given to MPTCP, and why not."""

    def adopt(self, kept: Kept) -> None:
        """Take over what was known before this process began."""

    def look(self, names: Mapping[int, str] | None = None) -> Mptcp:
        """Read endpoints and limits."""

    def apply(self, changes: Sequence[Change]) -> tuple[tuple[Change, ...], tuple[tuple[Change, Refusal], ...]]:
        """Write changes; removals behind which nothing else comes are not waited for."""

    def renew(self, old: Endpoint, new: Endpoint, pause: Callable[[], float | None]) -> None:
        """Have an endpoint deleted, and added again with another id after so many seconds; None: not at all."""

    def late(self) -> tuple[tuple[Change, Refusal], ...]:
        """Take what was refused of the writes that were not waited for."""

    def settle(self) -> None:
        """Wait for them."""


class PathKeeper(Protocol):
    """What lasts of MPTCP over a restart."""

    def load(self) -> Kept | None:
        """Give what was kept, None if nothing was."""

    def save(self, kept: Kept) -> None:
        """Replace it."""


class Bookkeeping(Protocol):
    """The book of sessions."""

    def load(self) -> tuple[tuple[SessionSettings, ...], tuple[Finding, ...]]:
        """Read policy files again; give the sessions asked for, and what is wrong with the asking."""

    def asked(self) -> tuple[tuple[SessionSettings, ...], tuple[Finding, ...]]:
        """Give the same without reading files."""

    def inactive(self) -> frozenset[str]:
        """Give the names of sessions that are disconnected."""

    def create(self, wish: SessionWish) -> None:
        """Enter a session."""

    def change(self, name: str, given: Mapping[str, object]) -> None:
        """Change settings of a session, all or none."""

    def connect(self, name: str, *, active: bool) -> None:
        """Make a session active or not."""

    def destroy(self, name: str) -> None:
        """Strike a session out."""

    def end(self, gone: Callable[[str, str], bool]) -> bool:
        """Strike out clients' sessions whose owners are gone, and tell whether there were any."""


class Keeper(Protocol):
    """What lasts over a restart."""

    def numbers(self) -> Mapping[str, tuple[int, int]]:
        """Give name to number and birth of the sessions that were here."""

    def keep(self, numbers: Mapping[str, tuple[int, int]]) -> None:
        """Replace what is kept."""

    def counted(self) -> Counted:
        """Give what was counted by counters that are gone."""

    def count(self, counted: Counted) -> None:
        """Replace that."""


class Metering(Protocol):
    """What counts."""

    def statistics(self, name: str, view: View, *, now: bool = False) -> Statistics:
        """Give what a session has sent and received."""


class Memory(Protocol):
    """Where settings are kept."""

    def save(self, stored: Stored) -> None:
        """Replace what is stored."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a configuration means for the loop.

    Args:
        config: the configuration.
        sources: gateway sources in use.
    """

    config: Config
    sources: tuple[Source, ...]
