"""What sessions have sent lately: sets that packets fill (plan/packets.py, LATE). What still lives when its session
ends is taken out of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...model.packet import LATE
from ..netlink import ATTR, NESTED, attribute
from .encode import DELSETELEM, TABLE_OF
from .listing import GETSETELEM, SET_ATTRIBUTE
from .netlink import NFT_SUBSYS, Netfilter

SIZES = dict(zip(LATE, (16, 28), strict=True))  # bytes of a key: an address, the protocol and two ports
AT_ONCE = 1000  # elements in one message; an attribute takes 65,535 bytes
TRIES = 3  # an element may come to its end between the look and the deletion, all of which is refused then


def _keys(netfilter: Netfilter, name: str) -> list[bytes]:
    """The keys in a set."""
    size = SIZES[name]
    # NFTA_SET_ELEM_KEY and its NFTA_DATA_VALUE
    element = re.compile(re.escape(_front(size)) + b"(.{%d})" % size, re.DOTALL)
    asked = TABLE_OF + attribute(SET_ATTRIBUTE, name.encode() + b"\0")
    parts = netfilter.dump(NFT_SUBSYS | GETSETELEM, asked)
    return [found[1] for part in parts for found in element.finditer(part)]


def _front(size: int) -> bytes:
    return ATTR.pack(8 + size, 1) + ATTR.pack(4 + size, 1)


def _deletions(name: str, keys: list[bytes]) -> Iterator[tuple[int, int, bytes]]:
    named = TABLE_OF + attribute(2, name.encode() + b"\0")
    front = _front(SIZES[name])
    for first in range(0, len(keys), AT_ONCE):
        elements = b"".join(attribute(1 | NESTED, front + key) for key in keys[first : first + AT_ONCE])
        yield NFT_SUBSYS | DELSETELEM, 0, named + attribute(3 | NESTED, elements)


def said(netfilter: Netfilter) -> frozenset[bytes]:
    """Give the keys of all that was sent lately.

    Args:
        netfilter: the socket.
    """
    return frozenset(key for name in LATE for key in _keys(netfilter, name))


def forget(netfilter: Netfilter, keys: frozenset[bytes]) -> int:
    """Delete keys, and give the generation that came of it; -1: none of them was there.

    Args:
        netfilter: the socket.
        keys: some that `said` has given; those that have come to their end since are passed over.
    """
    for _ in range(TRIES):
        split = ((name, [key for key in keys if len(key) == size]) for name, size in SIZES.items())
        parts = [part for name, some in split for part in _deletions(name, some)]
        if not parts:
            break
        before = netfilter.generation()
        if before >= 0 and not netfilter.batch(before, parts):
            return before + 1
        keys &= said(netfilter)
    return -1
