"""Gateways that mpathd.conf names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ..model.words import Address, Family, family_of
from ..model.world import Gateway, Link, World
from . import Gateways


class Static:
    """The [sources] static table.

    Args:
        table: interface name, pattern, hardware address or service identifier to gateways; None is "on the link".
        matches: tells whether a name means a link.
    """

    name = "static"
    folders: tuple[Path, ...] = ()

    def __init__(self, table: Mapping[str, tuple[Address | None, ...]], matches: Callable[[Link, str], bool]) -> None:
        self._table = table
        self._matches = matches

    def look(self, world: World) -> Gateways:
        """Give the named gateways of links that are here.

        Args:
            world: the links.
        """
        out: dict[int, tuple[Gateway, ...]] = {}
        for name, addresses in self._table.items():
            for link in world.links.values():
                if self._matches(link, name):
                    found = tuple(gateway for address in addresses for gateway in _gateways(address))
                    out[link.index] = out.get(link.index, ()) + found
        return out


def _gateways(address: Address | None) -> tuple[Gateway, ...]:
    families = tuple(Family) if address is None else (family_of(address),)
    return tuple(Gateway(family, address, Static.name) for family in families)
