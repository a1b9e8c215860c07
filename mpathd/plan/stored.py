"""Stored settings to text and back."""

from __future__ import annotations

import json

from ..model.errors import ConfigError, MpathError
from ..model.policy import Stored
from .settings import check

VERSION = 1


def dump(stored: Stored) -> str:
    """Write stored settings as JSON.

    Args:
        stored: the settings.
    """
    data = {
        "version": VERSION,
        "defaults": stored.defaults,
        "services": stored.services,
        "order": stored.order,
    }
    return json.dumps(data, indent=1, sort_keys=True) + "\n"


def load(text: str) -> Stored:
    """Read stored settings.

    Args:
        text: what dump() wrote.

    Raises:
        ConfigError: it is something else.
    """
    try:
        data = json.loads(text)
        if data["version"] != VERSION:
            raise ConfigError(f"version {data['version']!r} is not known", f"expected {VERSION}")
        services = {str(name): check(values) for name, values in data["services"].items()}
        return Stored(check(data["defaults"]), services, _order(data.get("order", [])))
    except ConfigError:
        raise
    except MpathError as error:
        raise ConfigError(error.text, error.hint) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ConfigError(f"not stored settings: {error!r}", 'expected {"version": 1, ...}') from None


def _order(value: object) -> tuple[str, ...]:
    """Files of earlier versions have none."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"order is {value!r}", "expected a list of service identifiers")
    return tuple(dict.fromkeys(value))
