"""What one look at the machine found: links, addresses, routes of main, gateways, rules of others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .routing import KernelState, Route, Rule
from .words import Address, Family, Prefix


@dataclass(frozen=True, slots=True)
class LinkAddress:
    """An address on a link.

    Args:
        family: its family.
        address: the machine's own address.
        bits: length of its prefix.
        peer: the far end's address on a point-to-point link.
        universal: global scope (not link-local, not host).
        temporary: IPv6 privacy address (RFC 8981).
        deprecated: old, kept for connections that use it.
        tentative: IPv6 duplicate detection is not over; sockets cannot use it yet.
        failed: IPv6 duplicate detection found another owner.
        secondary: IPv4, depends on another address of its subnet.
        permanent: made by a person or program without lifetime.
    """

    family: Family
    address: Address
    bits: int
    peer: Address | None = None
    universal: bool = True
    temporary: bool = False
    deprecated: bool = False
    tentative: bool = False
    failed: bool = False
    secondary: bool = False
    permanent: bool = True

    @property
    def usable(self) -> bool:
        """Whether a socket may have it as its source, now or soon."""
        return self.universal and not self.failed


@dataclass(frozen=True, slots=True)
class Link:
    """An interface.

    Args:
        index: the kernel's number.
        name: the name of today.
        mac: hardware address, empty on links that have none.
        hardware: the kernel's ARPHRD number (1 Ethernet, 772 loopback, 65534 none ...).
        kind: the kernel's kind of virtual device ("veth", "vlan", "tun"), empty for hardware.
        devtype: the driver's own word for hardware ("wlan", "wwan", "bluetooth", "gadget"), or empty.
        up: set up by somebody (IFF_UP).
        carrier: the far end is there (IFF_LOWER_UP and operationally up).
        loopback: it is lo.
        point_to_point: no neighbours, one far end: no gateway needed.
        master: index of the bridge, bond or VRF that it belongs to, 0 for none.
        vlan: VLAN id, None unless kind is vlan.
        mtu: in bytes.
        rp_filter: reverse path filter of this link (0 off, 1 strict, 2 loose).
        arp_ignore: 0 means that the link answers ARP for addresses of other links too.
        addresses: in the kernel's order.
    """

    index: int
    name: str
    mac: bytes = b""
    hardware: int = 1
    kind: str = ""
    devtype: str = ""
    up: bool = True
    carrier: bool = True
    loopback: bool = False
    point_to_point: bool = False
    master: int = 0
    vlan: int | None = None
    mtu: int = 1500
    rp_filter: int = 0
    arp_ignore: int = 0
    addresses: tuple[LinkAddress, ...] = ()


@dataclass(frozen=True, slots=True)
class Gateway:
    """A way out by a link, and who said so.

    Args:
        family: which destinations it serves.
        address: the router; None means that everything is on the link.
        source: where it was learned ("main", "static", "networkd", "dhclient").
        metric: the metric it has there.
    """

    family: Family
    address: Address | None
    source: str
    metric: int = 0


@dataclass(frozen=True, slots=True)
class Uncopied:
    """A route of main that mpathd cannot copy.

    Args:
        family: its family.
        indexes: the links that it leaves by.
        destination: its prefix.
        why: the attribute that stands in the way.
    """

    family: Family
    indexes: tuple[int, ...]
    destination: Prefix
    why: str


@dataclass(frozen=True, slots=True)
class Stranger:
    """A chain of another nft table that uses bits of marks.

    Args:
        chain: family, table and chain, as nft prints them.
        bits: those that its rules ask for, or set.
    """

    chain: str
    bits: int


@dataclass(frozen=True, slots=True)
class World:
    """Everything that decisions are made from.

    Args:
        links: all interfaces of the namespace, by index.
        main: unicast routes of the main table.
        uncopied: those of main that cannot be expressed here.
        gateways: by link index, what the sources say.
        lent: by family and link, the address that the kernel gives to unbound sockets which leave by a default of main
            on a link that has no address of its own.
        rules: rules that are not ours.
        have: what is ours in the kernel now.
        digest: of our nft table, where only that is known ("" for no table).
        had: rules that the last pass made true; somebody may have taken them away since.
        foreign: routes of others in tables that are neither main nor the kernel's own.
        dead_ends: by family, the lowest metric of a default of main that is an error route (unreachable, blackhole).
        strangers: chains of other nft tables that use bits of marks.
        walls: such routes in other tables: family, table, and the route in the words of `ip`.
        rp_filter_all: net.ipv4.conf.all.rp_filter; the kernel takes the greater of it and the link's.
        arp_ignore_all: the same for arp_ignore.
        forwarding: this machine passes on what is not for it, in one family at least.
        homes: control groups that are there: of sessions that are entered, and of users.
        no_sockets: why sockets cannot be marked here; empty if they can.
        next_expiry: seconds until the first route of main runs out, None if none does.
    """

    links: Mapping[int, Link]
    main: tuple[Route, ...] = ()
    uncopied: tuple[Uncopied, ...] = ()
    gateways: Mapping[int, tuple[Gateway, ...]] = field(default_factory=dict)
    lent: Mapping[tuple[int, int], Address] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    have: KernelState = KernelState()
    digest: str = ""
    had: frozenset[Rule] = frozenset()
    foreign: tuple[Route, ...] = ()
    dead_ends: Mapping[int, int] = field(default_factory=dict)
    strangers: tuple[Stranger, ...] = ()
    walls: tuple[tuple[Family, int, str], ...] = ()
    rp_filter_all: int = 0
    arp_ignore_all: int = 0
    forwarding: bool = False
    homes: frozenset[str] = frozenset()
    no_sockets: str = ""
    next_expiry: float | None = None
