"""Values of the model as D-Bus values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mpathd.codec import Variant
from mpathd.model.errors import InvalidArguments, InvalidProperty
from mpathd.model.policy import ServiceSettings
from mpathd.model.settings import BY_PROPERTY, SETTINGS, Setting
from mpathd.model.statistics import Count, Statistics
from mpathd.model.view import Finding, Service
from mpathd.model.words import Family
from mpathd.model.world import LinkAddress

from .errors import listing, quoted

MTU_MAX = 0xFFFF  # the property is a 16 bit number, as ConnMan's; some virtual devices go higher

TYPES = {"b": (bool, "a boolean"), "s": (str, "a string")}


def bag(*rows: tuple[str, str, Any]) -> dict[str, Any]:
    """Make an a{sv}.

    Args:
        rows: key, signature and value.
    """
    return {key: Variant(signature, value) for key, signature, value in rows}


def ethernet(service: Service) -> dict[str, Any]:
    """Show a service's link.

    Args:
        service: the service.
    """
    return bag(
        ("Method", "s", "auto"),
        ("Interface", "s", service.interface),
        ("Address", "s", service.mac),
        ("MTU", "q", min(service.mtu, MTU_MAX)),
    )


def addresses(service: Service, family: Family) -> list[dict[str, Any]]:
    """Show a service's addresses of one family.

    Args:
        service: the service.
        family: the family.
    """
    routers = (gateway.address for gateway in service.gateways if gateway.family is family)
    best = next(routers, None) or ""
    return [
        bag(
            ("Method", "s", _method(address)),
            ("Address", "s", address.address),
            ("PrefixLength", "y", address.bits),
            ("Gateway", "s", best),
        )
        for address in service.addresses
        if address.family is family
    ]


def _method(address: LinkAddress) -> str:
    """How an address came to be: one without lifetime was set by hand."""
    if address.permanent:
        return "manual"
    return "dhcp" if address.family is Family.INET else "auto"


def gateways(service: Service) -> list[dict[str, Any]]:
    """Show a service's gateways, most trusted first.

    Args:
        service: the service.
    """
    return [
        bag(
            ("Address", "s", gateway.address or ""),
            ("Source", "s", gateway.source),
            ("Metric", "u", gateway.metric),
        )
        for gateway in service.gateways
    ]


def statistics(counts: Statistics) -> dict[str, Any]:
    """Show what a session has sent and received.

    Args:
        counts: packets and bytes.
    """

    def both(received: Count, sent: Count) -> tuple[tuple[str, str, int], ...]:
        names = ("PacketsIn", "BytesIn", "PacketsOut", "BytesOut")
        return tuple((name, "t", value) for name, value in zip(names, (*received, *sent), strict=True))

    services = [
        bag(("Service", "s", one.service), ("Interface", "s", one.interface), *both(one.received, one.sent))
        for one in counts.services
    ]
    packets, octets = counts.dropped
    return bag(
        *both(counts.received, counts.sent),
        ("PacketsDropped", "t", packets),
        ("BytesDropped", "t", octets),
        ("Services", "aa{sv}", services),
    )


def findings(rows: tuple[Finding, ...]) -> list[dict[str, Any]]:
    """Show findings.

    Args:
        rows: the findings.
    """
    return [
        bag(
            ("Code", "s", row.code),
            ("Severity", "s", str(row.severity)),
            ("Text", "s", row.text),
            ("Cure", "s", row.cure),
        )
        for row in rows
    ]


def setting_values(settings: ServiceSettings) -> dict[str, Any]:
    """Show settings by their D-Bus names.

    Args:
        settings: all decided.
    """
    return bag(*((row.property, row.signature, getattr(settings, row.field)) for row in SETTINGS))


def wish(row: Setting, value: Any) -> bool | str:
    """Check a value for a setting, which has the right type already.

    Args:
        row: the setting.
        value: as it came.

    Raises:
        InvalidArguments: it is none of the choices.
    """
    if row.signature == "b":
        return bool(value)
    for choice in row.choices:
        if choice == value:
            return choice
    msg = f"{row.property} cannot be {quoted(value)}"
    raise InvalidArguments(msg, listing("it can be", row.choices))


def wishes(given: Mapping[str, Any]) -> dict[str, bool | str]:
    """Check several settings at once, all or nothing.

    Args:
        given: D-Bus name to variant.

    Raises:
        InvalidProperty: no such setting.
        InvalidArguments: a value of another type, or none of the choices, or nothing at all.
    """
    if not given:
        msg = "no settings given"
        raise InvalidArguments(msg, listing("settings", BY_PROPERTY))
    found = {}
    for name, variant in given.items():
        row = BY_PROPERTY.get(name)
        if row is None:
            msg = f"no setting called {quoted(name)}"
            raise InvalidProperty(msg, listing("settings", BY_PROPERTY))
        if variant.signature != row.signature:
            _, words = TYPES[row.signature]
            msg = f"{name} is {words} ({row.signature}), given was type {variant.signature}: {quoted(variant.value)}"
            raise InvalidArguments(msg, f"send a variant of type {row.signature}")
        found[row.field] = wish(row, variant.value)
    return found
