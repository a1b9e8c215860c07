"""Links with their addresses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...model.world import Link, LinkAddress
from ..netlink import U32, attribute
from . import decode
from .listing import Listing
from .socket import Netlink
from .wire import GETADDR, GETLINK

SKIP_STATS = 1 << 3  # RTEXT_FILTER_SKIP_STATS in IFLA_EXT_MASK: counters would make every link message differ


class Links:
    """Them.

    Args:
        netlink: the socket.
    """

    def __init__(self, netlink: Netlink) -> None:
        self._addresses = Listing(netlink, GETADDR, bytes(8), _address)
        self._bare = Listing(netlink, GETLINK, bytes(16) + attribute(29, U32.pack(SKIP_STATS)), decode.link)
        self._whole: dict[int, tuple[Link, Link]] = {}  # without and with its addresses
        self.links: Mapping[int, Link] = {}
        self.names: dict[int, str] = {}

    def look(self, *, all_of_it: bool = True) -> bool:
        """Read them, and tell whether any is another than the last time.

        Args:
            all_of_it: the links too, not their addresses alone.
        """
        # Addresses first: a link that goes down loses its IPv6 addresses when it is down already (`Hand`). What it has
        # lost may be heard of before it is.
        changed = self._addresses.look()
        if not ((all_of_it or (changed and self._lost())) and self._bare.look()) and not changed:
            return False
        addresses: dict[int, list[LinkAddress]] = {}
        for found in self._addresses.values:
            if found is not None:
                addresses.setdefault(found[0], []).append(found[1])
        whole = {}
        for bare in self._bare.values:
            own = tuple(addresses.get(bare.index, ()))
            before = self._whole.get(bare.index)
            if before is not None and (before[0] is bare or before[0] == bare) and before[1].addresses == own:
                whole[bare.index] = before
            else:
                whole[bare.index] = (bare, replace(bare, addresses=own) if own else bare)
        if len(whole) == len(self._whole) and all(whole[index] is self._whole.get(index) for index in whole):
            return False  # lifetimes count down
        self._whole = whole
        self.links = {index: link for index, (_, link) in whole.items()}
        names = {index: link.name for index, link in self.links.items()}
        if names != self.names:
            self.names = names
        return True

    def _lost(self) -> bool:
        """Whether the last look has not found an address that was there."""
        here = {(index, one.address) for index, one in filter(None, self._addresses.values)}
        return any((index, one.address) not in here for index, one in filter(None, self._addresses.gone))


def _address(data: bytes, at: int, end: int) -> tuple[int, LinkAddress] | None:
    return decode.link_address(data, at, end) if data[at] in decode.FAMILIES else None
