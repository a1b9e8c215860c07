"""Rules: which are ours, and which are others'."""

from __future__ import annotations

from ...model.routing import Rule
from . import decode
from .decode import FAMILIES
from .listing import Listing
from .ours import Ours, Twins
from .socket import Netlink
from .wire import GETRULE


class Rules:
    """Them.

    Args:
        netlink: the socket.
    """

    def __init__(self, netlink: Netlink) -> None:
        # Both families at once, and those of multicast routing, which are passed over.
        self._listing: Listing[Rule | None] = Listing(netlink, GETRULE, bytes(12), self._decode)
        self._ours: Ours[Rule] = Ours()
        self._twins: Twins[Rule] = Twins()
        self._protocol = -1
        self.foreign: tuple[Rule, ...] = ()

    @property
    def ours(self) -> frozenset[Rule]:
        """Those of our protocol."""
        return self._ours.values

    def look(self, protocol: int) -> bool:
        """Read them, and tell whether any has come or gone.

        Args:
            protocol: what marks ours.
        """
        if protocol != self._protocol:
            self._protocol, self._ours, self.foreign = protocol, Ours(), ()
            self._listing.forget()
        listing = self._listing
        changed = listing.look()
        self._twins.clear()
        if not changed:
            return False
        gone, come = self._mine(listing.gone), self._mine(listing.come)
        self._ours.follow(gone, come, lambda: self._mine(listing.values))
        if len(gone) < len(listing.gone) or len(come) < len(listing.come):
            self.foreign = tuple(rule for rule in listing.values if rule is not None and rule.protocol != protocol)
        return True

    def wrote(self, rule: Rule, body: bytes) -> None:
        """Take note of a rule that was written.

        Args:
            rule: the rule.
            body: as the kernel will tell of it.
        """
        self._listing.expect(body, rule)
        self._twins.put(rule)

    def _mine(self, rules: list[Rule | None]) -> list[Rule]:
        return [rule for rule in rules if rule is not None and rule.protocol == self._protocol]

    def _decode(self, data: bytes, at: int, end: int) -> Rule | None:
        if data[at] not in FAMILIES:
            return None
        rule = decode.rule(data, at, end)
        twin = self._twins.find(rule)
        return twin if twin is not None and twin.protocol == rule.protocol else rule
