"""Gateways from DHCP lease files: systemd-networkd's and dhclient's.

A lease counts only while its address is on the link that it names: the files outlive their leases, and in a network
namespace they may be those of another one.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path

from ..model.words import Address, Family
from ..model.world import Gateway, Link, World
from . import Gateways

NETWORKD = Path("/run/systemd/netif/leases")
DHCLIENT = (Path("/var/lib/dhcp"), Path("/var/lib/dhclient"))


def _addresses(texts: Iterable[str]) -> tuple[Address, ...]:
    out = []
    for text in texts:
        try:
            address = ipaddress.IPv4Address(text.strip())
        except ValueError:
            continue
        if not address.is_unspecified:
            out.append(Address(str(address)))
    return tuple(out)


def _has(link: Link, address: str) -> bool:
    return any(own.address == address for own in link.addresses)


def _names(folder: Path) -> frozenset[str]:
    """What is in a folder: in every pass, where a Path of each costs more than the call."""
    try:
        return frozenset(os.listdir(folder))  # noqa: PTH208
    except OSError:
        return frozenset()


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


class Networkd:
    """systemd-networkd's leases, one file an interface index, KEY=value lines (sd-network's dhcp-lease-internal).

    Args:
        folder: where they lie.
    """

    name = "networkd"

    def __init__(self, folder: Path = NETWORKD) -> None:
        self._folder = folder
        self.folders: tuple[Path, ...] = (folder,)

    def look(self, world: World) -> Gateways:
        """Give the routers of leases that are in force.

        Args:
            world: the links.
        """
        out: dict[int, tuple[Gateway, ...]] = {}
        there = _names(self._folder)
        if not there:
            return out
        for link in world.links.values():
            if str(link.index) not in there:
                continue
            lease = dict(
                line.split("=", 1) for line in _read(self._folder / str(link.index)).splitlines() if "=" in line
            )
            if _has(link, lease.get("ADDRESS", "")):
                routers = _addresses(lease.get("ROUTER", "").split())
                out[link.index] = tuple(Gateway(Family.INET, router, self.name) for router in routers)
        return out


class Dhclient:
    """dhclient's lease files: blocks `lease { interface "eth0"; fixed-address ...; option routers ...; }`.

    With ifupdown the kernel refuses the second uplink's default (same metric), so only this file knows its router.

    Args:
        folders: where they lie.
    """

    name = "dhclient"

    def __init__(self, folders: tuple[Path, ...] = DHCLIENT) -> None:
        self.folders = folders

    def look(self, world: World) -> Gateways:
        """Give the routers of leases that are in force; the last lease of a file is the newest.

        Args:
            world: the links.
        """
        out: dict[int, tuple[Gateway, ...]] = {}
        files = [(name, folder) for folder in self.folders for name in _names(folder) if "lease" in name]
        if not files:
            return out
        names = {link.name: link for link in world.links.values()}
        for name, folder in sorted(files, key=itemgetter(0)):
            for block in re.findall(r"lease\s*\{(.*?)\n?\}", _read(folder / name), re.DOTALL):
                link = names.get(_field(block, r'interface\s+"([^"]+)"'))
                if link and _has(link, _field(block, r"fixed-address\s+([\d.]+)")):
                    routers = _addresses(_field(block, r"option\s+routers\s+([\d.,\s]+)").split(","))
                    out[link.index] = tuple(Gateway(Family.INET, router, self.name) for router in routers)
        return out


def _field(block: str, pattern: str) -> str:
    found = re.search(pattern, block)
    return found[1].strip() if found else ""
