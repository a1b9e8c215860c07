"""The order that people give to services: one list of identifiers; what is not in it comes behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..model.view import Service
from ..model.words import Technology

TECHNOLOGIES = tuple(Technology)  # in order of preference


def places(order: Sequence[str]) -> Mapping[str, int]:
    """Give the place of each service that people have put in order.

    Args:
        order: identifiers, the first one first.
    """
    return {name: place for place, name in enumerate(order)}


def moved(order: Sequence[str], services: Iterable[Service], what: str, other: str, *, before: bool) -> tuple[str, ...]:
    """Give the order after one service has been put directly before or behind another.

    Services that are not here keep their places. Whether one is connected does not matter: it would be in another
    place as soon as its cable is in again.

    Args:
        order: identifiers that have a place.
        services: those that are here.
        what: which one is moved.
        other: where to; not the same one.
        before: before it, else behind it.
    """
    fresh = [service for service in services if service.id not in order]
    fresh.sort(key=lambda service: (TECHNOLOGIES.index(service.technology), service.index))
    whole = [name for name in (*order, *(service.id for service in fresh)) if name != what]
    whole.insert(whole.index(other) + (not before), what)
    return tuple(whole)
