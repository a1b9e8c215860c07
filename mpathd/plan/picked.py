"""Services that are named by hand for a session: which of them cannot be its members, and which could."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..model.errors import InvalidArguments
from ..model.session import ANY_BEARER
from ..model.view import Service


def meant(name: str, known: Mapping[str, str]) -> tuple[str, ...]:
    """Give the services that a name means: one, if it is an identifier, an interface, or begins only one of them.

    Args:
        name: as given.
        known: identifiers of those that are here, and their interfaces.
    """
    if name in known:
        return (name,)
    exact = tuple(one for one, interface in known.items() if interface == name)
    return exact or tuple(one for one in known if one.startswith(name) or known[one].startswith(name))


def picked(names: Iterable[str], known: Mapping[str, str]) -> frozenset[str]:
    """Give the identifiers of the services that names mean; those that mean none, or several, are left out.

    Args:
        names: as given.
        known: identifiers of those that are here, and their interfaces.
    """
    found = (meant(name, known) for name in names if name)
    return frozenset(one[0] for one in found if len(one) == 1)


def unfit(names: Iterable[str], services: Sequence[Service]) -> Mapping[str, str]:
    """Give those that cannot be members, and why.

    Args:
        names: as given.
        services: those that are here.
    """
    of = {service.id: service for service in services}
    known = {service.id: service.interface for service in services}
    why = {name: _why([of[one] for one in meant(name, known)]) for name in names if name and name != ANY_BEARER}
    return {name: because for name, because in why.items() if because}


def _why(found: Sequence[Service]) -> str:
    if not found:
        return "there is no such service"
    if len(found) > 1:
        return f"it fits {len(found)} services"
    service = found[0]
    if not service.settings.multipath_routing:
        return "its MultipathRouting is off"
    return "" if service.settings.autoconnect else "its AutoConnect is off"


def told(wrong: Mapping[str, str]) -> str:
    """Write what is wrong, for people.

    Args:
        wrong: as of unfit().
    """
    return "; ".join(f"{name}: {because}" for name, because in wrong.items())


def listed(services: Sequence[Service]) -> str:
    """Write which services can be members, for people.

    Args:
        services: those that are here.
    """
    return ", ".join(service.id for service in services if not _why([service])) or "none"


def check(given: object, services: Sequence[Service]) -> None:
    """See that services named by hand can be members; what is no list of names is for others to refuse.

    Args:
        given: the value as it came.
        services: those that are here.

    Raises:
        InvalidArguments: some cannot; the text says which, and lists those that can.
    """
    names = [name for name in given if isinstance(name, str)] if isinstance(given, list | tuple) else []
    if ANY_BEARER not in names and (wrong := unfit(names, services)):
        raise InvalidArguments(
            f"MultipathRoutedServices cannot have {told(wrong)}",
            f"services that can be given: {listed(services)}; mpathctl config ID --mpath_routing yes adds one",
        )
