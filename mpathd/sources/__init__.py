"""Where gateways are learned. A source is one class with a name, the folders to watch, and look()."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ..model.world import Gateway, World

Gateways = Mapping[int, tuple[Gateway, ...]]


class Source(Protocol):
    """A place where gateways are learned."""

    @property
    def name(self) -> str:
        """What `services -l` and [sources] order call it."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """Folders whose changes mean "look again"; none for a source that has kernel events."""

    def look(self, world: World) -> Gateways:
        """Give the gateways it knows, by link index.

        Args:
            world: links, addresses and routes as just found.
        """
