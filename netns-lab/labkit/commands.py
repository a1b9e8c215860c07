"""What has to be typed to raise a topology: pure, in the order in which it is run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from .topology import Bridge, End, Host, Topology


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines for one `ip -batch` or `tc -batch`.

    Args:
        tool: "ip" or "tc".
        ns: namespace in which they work; empty: none is entered (`ip netns add`).
        lines: what stands after the tool and its namespace.
    """

    tool: str
    ns: str
    lines: tuple[str, ...]

    @property
    def head(self) -> tuple[str, ...]:
        """The tool and its namespace, as the start of a command."""
        return (self.tool, "-n", self.ns) if self.ns else (self.tool,)


def make(topology: Topology, name: str) -> Batch:
    """The namespaces."""
    return Batch("ip", "", tuple(f"netns add {name}-{host.name}" for host in topology.hosts))


def remove(names: tuple[str, ...]) -> Batch:
    """The way back; everything inside goes with the namespaces."""
    return Batch("ip", "", tuple(f"netns del {name}" for name in names))


def wire(topology: Topology, name: str) -> tuple[Batch, ...]:
    """The interfaces of every host: both ends of a veth are born in their namespaces.

    Every interface gets an index of its own: to a veth whose peer, in another namespace, has the same index the
    kernel reports carrier up to a second late (it takes the two for one device and does not hurry).
    """
    taken = {end.index for end in topology.ends()}
    free = (index for index in count(2) if index not in taken)
    batches: list[Batch] = []
    for host in topology.hosts:
        lines = [
            f"link add {_named(link.a, free)} type veth peer {_named(link.b, free)} netns {name}-{link.b.host}"
            for link in topology.links
            if link.kind == "veth" and link.a.host == host.name
        ]
        lines += [
            f"link add {_named(bridge, free)} type bridge" for bridge in topology.bridges if bridge.host == host.name
        ]
        if lines:
            batches.append(Batch("ip", f"{name}-{host.name}", tuple(lines)))
    return tuple(batches)


def configure(topology: Topology, name: str) -> tuple[Batch, ...]:
    """Addresses, bridge ports, rates; everything up."""
    batches: list[Batch] = []
    for host in topology.hosts:
        ends = tuple(topology.ends(host.name))
        batches.append(Batch("ip", f"{name}-{host.name}", tuple(_links(topology, host, ends))))
        rates = tuple(
            f"qdisc add dev {end.dev} root tbf rate {end.rate} burst 64kb latency 50ms" for end in ends if end.rate
        )
        if rates:
            batches.append(Batch("tc", f"{name}-{host.name}", rates))
    return tuple(batches)


def route(topology: Topology, name: str) -> tuple[Batch, ...]:
    """The routes; IPv6 takes them only once the links have carrier."""
    return tuple(
        Batch("ip", f"{name}-{host.name}", tuple(f"route add {words}" for words in host.routes))
        for host in topology.hosts
        if host.routes
    )


def keep(topology: Topology, name: str, owner: int) -> tuple[str, ...]:
    """Arguments of the keeper process."""
    words = ["--until", str(owner)] if owner else []
    for link in topology.links:
        if link.kind == "tun":
            words += ["--wire", *(f"{name}-{end.host}:{end.dev}" for end in (link.a, link.b))]
    for advert in topology.adverts:
        numbers = (str(number) for number in (advert.lifetime, advert.valid, advert.preferred))
        words += ["--advert", f"{name}-{advert.host}", advert.dev, advert.prefix, *numbers, advert.preference]
    return tuple(words)


def _links(topology: Topology, host: Host, ends: tuple[End, ...]) -> list[str]:
    lines = [f"addr add {address} dev lo" for address in host.addresses]
    lines.append("link set lo up")
    for bridge in topology.bridges:
        if bridge.host == host.name:
            lines += [f"addr add {address} dev {bridge.dev}" for address in bridge.addresses]
            lines.append(f"link set {bridge.dev} up")
            lines += [f"link set {port} master {bridge.dev}" for port in bridge.ports]
    for end in ends:
        lines.append(f"link set {end.dev}{f' mtu {end.mtu}' if end.mtu else ''} up")
        lines += [
            f"addr add {address} dev {end.dev}" for address in end.addresses
        ]  # before up, IPv6 loses peers' routes
    return lines


def _named(end: End | Bridge, free: Iterator[int]) -> str:
    index = end.index if isinstance(end, End) and end.index else next(free)
    return f"name {end.dev} index {index}{f' address {end.mac}' if end.mac else ''}"
