"""What a lab consists of, as values: hosts, links, bridges, routes, router advertisements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .errors import TopologyError

FOLDER = Path(__file__).resolve().parent.parent / "topologies"
SERVER4, SERVER6 = "192.0.2.9", "2001:db8:9::9"  # documentation prefixes: nobody's real addresses
UPLINKS_MAX = 4000

Kind = Literal["veth", "tun"]


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link: an interface in a host.

    Args:
        host: host that has it.
        dev: interface name.
        mac: Ethernet address; empty: the kernel's choice (none on tun).
        addresses: as after `ip addr add` ("10.0.1.2/24", "10.9.0.2 peer 10.9.0.1/32").
        index: interface index; 0: the lab picks one. Both ends of a wire never have the same one.
        mtu: 0 leaves the kernel's.
        rate: tbf rate of what this end sends ("10mbit"); empty: unlimited.
        slaac: `up` waits until router advertisements gave it an address and a default route.
    """

    host: str
    dev: str
    mac: str = ""
    addresses: tuple[str, ...] = ()
    index: int = 0
    mtu: int = 0
    rate: str = ""
    slaac: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """A wire between two ends.

    Args:
        a, b: its ends.
        kind: "veth" (Ethernet), "tun" (point-to-point, carried by the keeper process).
    """

    a: End
    b: End
    kind: Kind = "veth"


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge in a host.

    Args:
        host: host that has it.
        dev: its name.
        ports: interfaces of that host which are its ports.
        addresses: addresses of the bridge itself.
        mac: Ethernet address; empty: the kernel's choice.
    """

    host: str
    dev: str
    ports: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Advert:
    """A router's advertisement on one of its interfaces.

    Args:
        host, dev: the router and its interface.
        prefix: announced /64, for stateless address configuration; empty: none.
        lifetime: seconds the router stays a default router; 0 takes the default route away.
        valid, preferred: lifetimes of the addresses formed from the prefix, in seconds.
        preference: "low", "medium" or "high".
    """

    host: str
    dev: str
    prefix: str = ""
    lifetime: int = 1800
    valid: int = 86400
    preferred: int = 14400
    preference: str = "medium"


@dataclass(frozen=True, slots=True)
class Host:
    """A host: one network namespace.

    Args:
        name: its name in the topology.
        addresses: addresses on its loopback interface.
        routes: routes of its main table as after `ip route add`, in the order in which they are added.
        sysctls: (key, value) in the order in which they are set, before any interface exists.
    """

    name: str
    addresses: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Topology:
    """A whole lab on paper.

    Args:
        name: what `lab up` calls it.
        description: one line.
        drawing: a picture in ASCII.
        hosts, links, bridges, adverts: its parts.
    """

    name: str
    description: str
    drawing: str
    hosts: tuple[Host, ...]
    links: tuple[Link, ...] = ()
    bridges: tuple[Bridge, ...] = ()
    adverts: tuple[Advert, ...] = ()

    def ends(self, host: str | None = None) -> Iterator[End]:
        """All ends of links, or those of one host."""
        for link in self.links:
            yield from (end for end in (link.a, link.b) if host in {None, end.host})

    def kept(self) -> bool:
        """Whether the keeper process is needed: for point-to-point links and router advertisements."""
        return bool(self.adverts) or any(link.kind == "tun" for link in self.links)

    def host(self, name: str) -> Host:
        """The host of that name.

        Raises:
            TopologyError: there is none.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        names = " ".join(host.name for host in self.hosts)
        raise TopologyError(f"topology {self.name} has no host {name!r}", f"its hosts: {names}")


def names() -> tuple[str, ...]:
    """The topologies that ship as files, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load(name: str) -> Topology:
    """Reads a topology: the name of a shipped one, `uplinks-N`, `bond-N[-RATE]`, or a path to a TOML file.

    Raises:
        TopologyError: there is no such topology, or its file is wrong.
    """
    from . import bonding, reading  # both know this module's values

    if made := re.fullmatch(r"uplinks-(\d+)", name):
        return uplinks(int(made[1]))
    if made := re.fullmatch(rf"bond-(\d+)(?:-({reading.RATE.pattern}))?", name):
        return bonding.bond(int(made[1]), made[2] or bonding.RATE)
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if ("/" in name and not name.endswith(".toml")) or not path.is_file():
        raise TopologyError(
            "no such topology", name, f"there are: {' '.join(names())} uplinks-N bond-N, or a file.toml"
        )
    return reading.read(path)


def uplinks(count: int) -> Topology:
    """A client with `count` uplinks to one far host, `net`, which sees each way on a device of its own.

    Args:
        count: number of uplinks; up1 is preferred in main, then up2, and so on.
    """
    if not 1 <= count <= UPLINKS_MAX:
        raise TopologyError("uplinks-N needs N within limits", str(count), f"give 1 to {UPLINKS_MAX}")
    links: list[Link] = []
    routes: list[str] = []
    for number in range(1, count + 1):
        net4, net6 = f"10.{64 + (number >> 8)}.{number & 255}", f"fd00:64:{number:x}:"
        mac = f"{number >> 8:02x}:{number & 255:02x}"
        links.append(
            Link(
                End("client", f"up{number}", f"02:c0:00:00:{mac}", (f"{net4}.2/24", f"{net6}:2/64")),
                End("net", f"net{number}", f"02:50:00:00:{mac}", (f"{net4}.1/24", f"{net6}:1/64")),
            ),
        )
        routes += (
            f"default via {net4}.1 dev up{number} metric {100 + number}",
            f"default via {net6}:1 dev up{number} metric {100 + number}",
        )
    sysctls = (
        ("net.ipv4.conf.all.rp_filter", "0"),
        ("net.ipv4.conf.default.rp_filter", "0"),
        ("net.ipv6.conf.default.accept_dad", "0"),
    )
    return Topology(
        name=f"uplinks-{count}",
        description=f"a client with {count} uplinks to one far host",
        drawing=f"""\
           up1 10.64.1.2 ------------ net1 10.64.1.1
 client    up2 10.64.2.2 ------------ net2 10.64.2.1    net   lo {SERVER4} {SERVER6}
           ...      up to up{count}; IPv6 fd00:64:N::2 and ::1, N in hexadecimal
""",
        hosts=(
            Host("client", routes=tuple(routes), sysctls=sysctls),
            Host("net", (f"{SERVER4}/32", f"{SERVER6}/128"), sysctls=sysctls),
        ),
        links=tuple(links),
    )
