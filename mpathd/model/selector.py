"""Flow selectors: which packets are a session's, as ConnMan's multipath patches wrote them."""

from __future__ import annotations

from dataclasses import dataclass

from .words import Family, Prefix, family_of

# Names that a selector may use, with their numbers (/etc/protocols); those that have ports; those of one family.
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "dccp": 33, "icmpv6": 58, "sctp": 132, "udplite": 136}
NAMES = {number: name for name, number in PROTOCOLS.items()}
WITH_PORTS = frozenset(PROTOCOLS[name] for name in ("tcp", "udp", "udplite", "sctp", "dccp"))
FAMILIES = {PROTOCOLS["icmp"]: Family.INET, PROTOCOLS["icmpv6"]: Family.INET6}

Ports = tuple[int, int]


@dataclass(frozen=True, slots=True, order=True)
class FlowSelector:
    """A five-tuple in which each field may be open.

    Args:
        source: prefix of the packet's source address; None is any.
        destination: prefix of its destination address; None is any.
        protocol: number of the transport protocol; None is any.
        sport: first and last source port; None is any.
        dport: first and last destination port; None is any.
    """

    source: Prefix | None = None
    destination: Prefix | None = None
    protocol: int | None = None
    sport: Ports | None = None
    dport: Ports | None = None

    @property
    def family(self) -> Family | None:
        """The one family that it can match, None if both."""
        for prefix in (self.source, self.destination):
            if prefix is not None:
                return family_of(prefix)
        return FAMILIES.get(self.protocol) if self.protocol is not None else None

    def __str__(self) -> str:
        protocol = "*" if self.protocol is None else NAMES.get(self.protocol, str(self.protocol))
        fields = [_address(self.source), _address(self.destination), protocol, _ports(self.sport), _ports(self.dport)]
        while len(fields) > 3 and fields[-1] == "*":
            fields.pop()
        return "-".join(fields)


def _address(prefix: Prefix | None) -> str:
    if prefix is None:
        return "*"
    address, _, bits = prefix.partition("/")
    return address if int(bits) == family_of(prefix).bits else prefix


def _ports(ports: Ports | None) -> str:
    if ports is None:
        return "*"
    low, high = ports
    return str(low) if low == high else f"{low}:{high}"
