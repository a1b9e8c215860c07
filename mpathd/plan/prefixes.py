"""Arithmetic on prefixes: what lies in what."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton

from ..model.words import Address, Family, Prefix, family_of


@lru_cache(maxsize=65536)
def span(prefix: Prefix) -> tuple[int, int, int]:
    """Give a prefix as numbers: first address, last address, length in bits.

    Args:
        prefix: canonical text.
    """
    network, _, bits = prefix.partition("/")
    family = family_of(prefix)
    first = int.from_bytes(inet_pton(AF_INET if family is Family.INET else AF_INET6, network), "big")
    return first, first | ((1 << (family.bits - int(bits))) - 1), int(bits)


def holds(prefix: Prefix, address: Address) -> bool:
    """Tell whether an address is in a prefix of its family.

    Args:
        prefix: the prefix.
        address: the address.
    """
    first, last, _ = span(prefix)
    value = span(Prefix(f"{address}/{family_of(address).bits}"))[0]
    return first <= value <= last


class Index:
    """Prefixes of one family, sorted, to find those inside another quickly.

    Args:
        prefixes: any number, in any order.
    """

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        self._spans = sorted((span(prefix)[0], span(prefix)[2], prefix) for prefix in set(prefixes))

    def inside(self, prefix: Prefix) -> Sequence[Prefix]:
        """Give the prefixes that are longer than one and inside it.

        Args:
            prefix: the one.
        """
        first, last, bits = span(prefix)
        out = []
        for start, length, found in self._spans[bisect_left(self._spans, (first, -1, Prefix(""))) :]:
            if start > last:
                break
            if length > bits:
                out.append(found)
        return out
