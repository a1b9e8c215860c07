"""Gateways from the main table: the defaults that somebody else set there, of any metric."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..model.world import World
from . import Gateways


class Main:
    """The main table; its events are the kernel's.

    Args:
        sort: gives the gateways of main's defaults by link index.
    """

    name = "main"
    folders: tuple[Path, ...] = ()

    def __init__(self, sort: Callable[[World], Gateways]) -> None:
        self._sort = sort

    def look(self, world: World) -> Gateways:
        """Give the gateways of main.

        Args:
            world: its routes.
        """
        return self._sort(world)
