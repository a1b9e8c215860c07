"""Addresses of services as ConnMan writes them: one address a family, with a netmask in IPv4."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

from mpathd.bus.values import bag
from mpathd.model.view import Service
from mpathd.model.words import Family
from mpathd.model.world import LinkAddress


def _first(service: Service, family: Family) -> tuple[LinkAddress | None, list[tuple[str, str, Any]]]:
    """The first address of a family, and its most trusted gateway, which is left out where there is none."""
    address = next((address for address in service.addresses if address.family is family), None)
    ways = (way.address for way in service.gateways if way.family is family and way.address)
    return address, [("Gateway", "s", way) for way in list(ways)[:1]]


def ipv4(service: Service) -> dict[str, Any]:
    """Show the first IPv4 address; empty for none.

    Args:
        service: the service.
    """
    address, gateway = _first(service, Family.INET)
    if address is None:
        return {}
    mask = str(IPv4Network((0, address.bits)).netmask)
    method = "manual" if address.permanent else "dhcp"
    return bag(("Method", "s", method), ("Address", "s", address.address), ("Netmask", "s", mask), *gateway)


def ipv6(service: Service) -> dict[str, Any]:
    """Show the first IPv6 address; empty for none.

    Args:
        service: the service.
    """
    address, gateway = _first(service, Family.INET6)
    if address is None:
        return {}
    return bag(
        ("Method", "s", "manual" if address.permanent else "auto"),
        ("Address", "s", address.address),
        ("PrefixLength", "y", address.bits),
        *gateway,
        ("Privacy", "s", _privacy(service)),
    )


def _privacy(service: Service) -> str:
    return "enabled" if any(address.temporary for address in service.addresses) else "disabled"


def configuration(shown: dict[str, Any]) -> dict[str, Any]:
    """Show what was configured: what is there, where it was set by hand, and the method alone otherwise.

    Args:
        shown: an address, as above.
    """
    if not shown:
        return bag(("Method", "s", "off"))
    return shown if shown["Method"].value == "manual" else {"Method": shown["Method"]}
