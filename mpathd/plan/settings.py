"""Settings of services: text and D-Bus values to the right types, and which one is in effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..model.agent import Edit
from ..model.errors import InvalidArguments, InvalidProperty
from ..model.policy import Policy, ServiceSettings, Stored
from ..model.settings import BY_FIELD
from ..model.words import MptcpMode


def check(values: Mapping[str, object]) -> dict[str, bool | str]:
    """Check values by field name; all must fit.

    Args:
        values: field of SETTINGS to value.

    Raises:
        InvalidProperty: no such setting.
        InvalidArguments: a value of the wrong type, or not among the choices.
    """
    out: dict[str, bool | str] = {}
    for field, value in values.items():
        setting = BY_FIELD.get(field)
        if setting is None:
            raise InvalidProperty(f"no setting called '{field}'", f"settings: {', '.join(BY_FIELD)}")
        if setting.signature == "b":
            if not isinstance(value, bool):
                raise InvalidArguments(f"{setting.property}: {value!r} is no boolean", "expected true or false")
            out[field] = value
        elif value in setting.choices:
            out[field] = str(value)
        else:
            raise InvalidArguments(
                f"{setting.property}: {value!r} is not possible", f"expected one of: {', '.join(setting.choices)}"
            )
    return out


def apply(base: ServiceSettings, values: Mapping[str, bool | str]) -> ServiceSettings:
    """Lay values over settings.

    Args:
        base: what holds where values say nothing.
        values: checked values by field.
    """
    typed: dict[str, object] = {k: MptcpMode(v) if isinstance(v, str) else v for k, v in values.items()}
    return replace(base, **typed)  # type: ignore[arg-type]


def defaults(policy: Policy) -> ServiceSettings:
    """Give the settings of a service that has none stored.

    Args:
        policy: everything wished for.
    """
    return apply(policy.defaults, policy.stored.defaults)


def effective(configured: ServiceSettings, stored: Stored, service: str) -> ServiceSettings:
    """Give the settings of a service.

    Args:
        configured: from mpathd.conf and the command line.
        stored: what was saved.
        service: its identifier.
    """
    lasting = apply(apply(configured, stored.defaults), stored.services.get(service, {}))
    return apply(lasting, stored.passing.get(service, {}))


def edited(stored: Stored, edit: Edit) -> Stored:
    """Give what is stored after an edit.

    Args:
        stored: what is stored now.
        edit: the wish; without a service it sets the default and the stored values of all services are forgotten
            (those of the settings that it names: others stay). What is to last ends what was to pass.
    """
    if edit.service is None:
        services, passing = (_without(kept, edit.values) for kept in (stored.services, stored.passing))
        return replace(stored, defaults={**stored.defaults, **edit.values}, services=services, passing=passing)
    one = {edit.service: {**(stored.services if edit.lasting else stored.passing).get(edit.service, {}), **edit.values}}
    if not edit.lasting:
        return replace(stored, passing={**stored.passing, **one})
    mine = {edit.service: stored.passing.get(edit.service, {})}
    others = {service: values for service, values in stored.passing.items() if service != edit.service}
    return replace(stored, services={**stored.services, **one}, passing={**others, **_without(mine, edit.values)})


def _without(
    kept: Mapping[str, Mapping[str, bool | str]], values: Mapping[str, bool | str]
) -> dict[str, dict[str, bool | str]]:
    """Settings of services without those that are named; a service that has none left goes."""
    left = {
        service: {field: value for field, value in own.items() if field not in values} for service, own in kept.items()
    }
    return {service: own for service, own in left.items() if own}
