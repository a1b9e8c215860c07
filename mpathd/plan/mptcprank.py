"""Which addresses come first where the kernel takes fewer endpoints than there are addresses; see docs/decisions/011.

Rule 1: each link has an endpoint before any link has a second one; those that carry come before those that wait.
Rule 2: of a link's two families the one that fewer links give so far: a connection joins by endpoints of its own family
only, so links that all gave IPv4 would leave IPv6 connections with the one link that they began on.
Rule 3: what is there stays as long as neither family has much more than the other, since a change of family closes the
subflows of the one that goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ..model.view import Service
from ..model.words import Address, Family, MptcpMode, family_of

SLACK = 1  # links by which a family may go beyond its half before one of them changes over


@dataclass(frozen=True, slots=True)
class Candidate:
    """An address that MPTCP may use.

    Args:
        service: its link.
        address: the address.
        nth: how many of its family come before it on the link.
    """

    service: Service
    address: Address
    nth: int

    @property
    def backup(self) -> bool:
        """Whether it only waits."""
        return self.service.mptcp is MptcpMode.BACKUP


def ranked(candidates: Iterable[Candidate], ours: Collection[Address], theirs: Collection[Address]) -> list[Candidate]:
    """Give the addresses, the most wanted first: one of each link, one of its other family, the rest.

    Args:
        candidates: by service, in the services' order.
        ours: addresses that have an endpoint of ours.
        theirs: addresses that have one of others, which serves.
    """
    every = sorted(candidates, key=lambda one: one.backup)  # sorting keeps the order otherwise
    firsts: dict[int, dict[Family, Candidate]] = {}
    for one in every:
        if one.nth == 0:
            firsts.setdefault(one.service.index, {})[family_of(one.address)] = one
    chosen = _families(firsts, ours, theirs)

    def round_(one: Candidate) -> int:
        if one.nth:
            return 1 + one.nth
        return 0 if chosen[one.service.index] is family_of(one.address) else 1

    return sorted(every, key=round_)


def _families(
    firsts: Mapping[int, Mapping[Family, Candidate]], ours: Collection[Address], theirs: Collection[Address]
) -> dict[int, Family]:
    """The family of each link's one endpoint."""
    # What nobody can choose: the only one, or the one that is there and not ours to move.
    out = {index: found for index, by in firsts.items() if (found := _only(by) or _only(by, theirs))}
    open_ = {index: by for index, by in firsts.items() if index not in out}
    # A family that one link alone has joins nothing.
    shared = [family for family in Family if sum(family in by for by in firsts.values()) > 1] or [Family.INET]
    count = {family: sum(one is family for one in out.values()) for family in Family}
    most = (len(firsts) + 1) // 2 + SLACK
    for index, by in open_.items():
        there = _only(by, ours)
        if there and count[there] < most:
            out[index] = there
            count[there] += 1
    for index in open_:
        if index not in out:
            out[index] = min(shared, key=lambda family: count[family])
            count[out[index]] += 1
    return out


def _only(by: Mapping[Family, Candidate], among: Collection[Address] | None = None) -> Family | None:
    """The one family of a link's first addresses, or of those among some; None if there are none or two."""
    found = [family for family, one in by.items() if among is None or one.address in among]
    return found[0] if len(found) == 1 else None
