"""From a link to a service's technology, identifier and name, in ConnMan's manner."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..model.words import Technology
from ..model.world import Link

# The kernel's hardware types (include/uapi/linux/if_arp.h) that IP uplinks have, beside Ethernet's 1.
PPP, RAWIP, NONE = 512, 519, 65534
TUNNELS = {768, 769, 776, 778, 823}  # ipip, ip6tnl, sit, gre, ip6gre
IP_HARDWARE = {1, PPP, RAWIP, NONE, 32} | TUNNELS  # 32: infiniband

# Kinds of virtual devices (IFLA_INFO_KIND) that never are an uplink's own device.
NEVER = {"bridge", "dummy", "ifb", "nlmon", "vcan", "can", "vrf"}
VPNS = {
    "tun", "wireguard", "ipip", "ip6tnl", "sit", "gre", "gretap", "ip6gre", "ip6gretap", "erspan", "ip6erspan",
    "vti", "vti6", "xfrm", "vxlan", "geneve", "ovpn", "l2tp", "amt", "gtp",
}  # fmt: skip
CELLULARS = {"wwan", "rmnet", "ppp"}

LONGEST = 15  # bytes of a link's name

# Devices that a tunnel module makes in every namespace for packets that no other tunnel takes.
FALLBACKS = {
    "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0", "teql0",
}  # fmt: skip

DEVTYPES = {
    "wlan": Technology.WIFI,
    "wwan": Technology.CELLULAR,
    "bluetooth": Technology.BLUETOOTH,
    "gadget": Technology.GADGET,
}

# What ConnMan puts behind the address: the group of the network.
SUFFIX = {
    Technology.ETHERNET: "_cable",
    Technology.WIFI: "_managed",
    Technology.CELLULAR: "_context",
    Technology.BLUETOOTH: "_nap",
    Technology.GADGET: "_usb",
    Technology.VPN: "",
}


def technology(link: Link) -> Technology:
    """Tell what a link is made of.

    Args:
        link: the link.
    """
    if link.devtype in DEVTYPES:
        return DEVTYPES[link.devtype]
    if link.kind in CELLULARS or link.hardware in {PPP, RAWIP}:
        # PPP may be DSL or a modem; the kernel does not say. Metered is the safer guess.
        return Technology.CELLULAR
    if link.kind in VPNS or link.hardware in TUNNELS or link.hardware == NONE:
        return Technology.VPN
    return Technology.ETHERNET


def capable(link: Link) -> bool:
    """Tell whether a link can be an uplink at all.

    Args:
        link: the link.
    """
    return (
        not link.loopback
        and not link.master
        and link.kind not in NEVER
        and link.hardware in IP_HARDWARE
        and link.name not in FALLBACKS
    )


def unsayable(name: str) -> bool:
    """Tell whether nft has no words for a link's name: its strings know no escapes but that of a last *.

    Args:
        name: of the link; what is not UTF-8 in it has been replaced.
    """
    star = name.endswith("*") and (name.endswith("\\*") or len(name.encode()) > LONGEST - 1)
    return star or '"' in name or "\ufffd" in name


def mac_text(mac: bytes) -> str:
    """Write a hardware address as ConnMan does ("36:E0:BD:EE:60:14").

    Args:
        mac: 6 bytes, or none.
    """
    return mac.hex(":").upper()


def _plain(link: Link) -> str:
    kind = technology(link)
    # Tunnels have no address, or a random one that is new every time: their name is what stays.
    stem = link.mac.hex() if link.mac and kind is not Technology.VPN else re.sub(r"[^A-Za-z0-9]", "_", link.name)
    # A VLAN has the address of its parent; ConnMan tells them apart by the VLAN number in three hex digits.
    vlan = f"_{link.vlan:03x}" if link.vlan is not None else ""
    return f"{kind}_{stem}{vlan}{SUFFIX[kind]}"


def identifiers(links: Iterable[Link]) -> Mapping[int, str]:
    """Give each link's service identifier, by index; no two are alike.

    Args:
        links: links that are services.
    """
    out: dict[int, str] = {}
    taken: set[str] = set()
    for link in sorted(links, key=lambda link: link.index):
        name = _plain(link)
        if name in taken:
            name = f"{name}_{re.sub(r'[^A-Za-z0-9]', '_', link.name)}"
        while name in taken:
            name += "_"
        taken.add(name)
        out[link.index] = name
    return out
