"""Which service a person means: an identifier, an interface, or a beginning of either that fits no other service."""

from __future__ import annotations

from collections.abc import Sequence

from .client import Service
from .errors import Answered

# An error names at most this many services.
NAMED = 8


def pick(word: str, services: Sequence[Service]) -> Service:
    """Find the service that a word means.

    Args:
        word: as typed.
        services: all that there are.

    Raises:
        Answered: none or several; the hint lists them.
    """
    exact = [service for service in services if word in {service.id, service.interface}]
    begun = [service for service in services if service.id.startswith(word) or service.interface.startswith(word)]
    # An identifier is exact before an interface that happens to have the same name.
    exact = [service for service in exact if service.id == word] or exact
    match exact or begun:
        case [service]:
            return service
        case []:
            raise Answered("NotFound", f"no service called '{word}'", _listing("services here", services))
        case several:
            text = f"'{word}' fits {len(several)} services"
            raise Answered("NotFound", text, _listing("write more of one of", several))


def _listing(label: str, services: Sequence[Service]) -> str:
    names = ", ".join(f"{service.id} ({service.interface})" for service in services[:NAMED])
    more = f" and {len(services) - NAMED} more" if len(services) > NAMED else ""
    return f"{label}: {names or 'none'}{more}"
