"""Which services serve a session, and because of what.

The default service is chosen in each family by itself: bearer order, online before ready, service order, name. The
others that may carry its traffic are the members: every allowed, connected service with MultipathRouting on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..model.session import ANY_BEARER, ConnectionType, Session, Without
from ..model.words import Family, ServiceState
from .membership import Member
from .naming import technology, unsayable
from .picked import picked


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a service may serve a session.

    Args:
        allowed: it may.
        because: one clause for people.
    """

    allowed: bool
    because: str


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for a session.

    Args:
        session: the session.
        defaults: by family, the service that unbound sockets leave by; a family that no service has is missing.
        members: the other services that bound sockets may leave by.
        verdicts: by service identifier.
        counted: services that it allows, whether they are there at present or not.
    """

    session: Session
    defaults: Mapping[Family, Member]
    members: tuple[Member, ...]
    verdicts: Mapping[str, Verdict]
    counted: tuple[Member, ...] = ()

    @property
    def best(self) -> Member | None:
        """The service that the session shows: IPv4's default, or IPv6's where there is none."""
        return next((self.defaults[family] for family in Family if family in self.defaults), None)

    @property
    def state(self) -> str:
        """In ConnMan's words: disconnected, connected, online."""
        if self.best is None:
            return "disconnected"
        return "online" if self.best.state is ServiceState.ONLINE else "connected"

    @property
    def marks(self) -> bool:
        """Whether its packets are marked: not while it falls back to main. One that is not active has no service."""
        return self.best is not None or self.session.settings.without_service is Without.BLOCK

    def serves(self, family: Family) -> tuple[Member, ...]:
        """Give the services that carry a family, the default first.

        Args:
            family: the family.
        """
        default = self.defaults.get(family)
        rest = tuple(member for member in self.members if member is not default and member.addresses(family))
        return (default, *rest) if default else rest

    def falls_back(self, family: Family) -> bool:
        """Tell whether a family without a service goes as without a session.

        Args:
            family: the family.
        """
        return family not in self.defaults and self.session.settings.without_service is Without.MAIN


def _rank(session: Session, member: Member) -> int | None:
    """Where a service's bearer stands in the session's list; None if it is not in it."""
    bearers, bearer = session.settings.allowed_bearers, technology(member.link).value
    if bearer in bearers:
        return bearers.index(bearer)
    if ANY_BEARER in bearers and bearer != "vpn":  # as in ConnMan, a VPN is used only where it is named
        return bearers.index(ANY_BEARER)
    return None


def _interface(session: Session, member: Member) -> bool:
    return session.settings.allowed_interface in {"", "*", member.link.name}


def _verdict(session: Session, member: Member) -> Verdict:
    settings = session.settings
    if unsayable(member.link.name):
        return Verdict(allowed=False, because="nft has no words for its name")
    if not session.active:
        return Verdict(allowed=False, because="the session is not connected")
    if not _interface(session, member):
        return Verdict(allowed=False, because=f"only {settings.allowed_interface} is allowed")
    if _rank(session, member) is None:
        names = ", ".join(settings.allowed_bearers) or "none"
        return Verdict(allowed=False, because=f"bearer {technology(member.link).value} is not allowed ({names})")
    if not member.settings.autoconnect:
        return Verdict(allowed=False, because="AutoConnect is off")
    if not member.state.connected:
        return Verdict(allowed=False, because=f"it is {member.state.value}")
    if settings.connection_type is ConnectionType.INTERNET and not member.gateways and not member.link.point_to_point:
        return Verdict(allowed=False, because="it has no gateway to the internet")
    return Verdict(allowed=True, because="")


def choose(session: Session, found: Sequence[Member], routed: frozenset[str]) -> Choice:
    """Choose the services of a session.

    Args:
        session: the session.
        found: all services, in their order.
        routed: identifiers of those whose own tables are in force: only they can be members.
    """
    verdicts = {member.id: _verdict(session, member) for member in found}
    order = [
        (_rank(session, member) or 0, member.state is not ServiceState.ONLINE, place, member.id, member)
        for place, member in enumerate(found)
        if verdicts[member.id].allowed
    ]
    allowed = [item[-1] for item in sorted(order, key=lambda item: item[:-1])]
    defaults = {family: member for family in Family if (member := next((m for m in allowed if m.uplink(family)), None))}
    taken = tuple(dict.fromkeys(member.id for member in defaults.values()))
    by_hand = session.settings.services
    if by_hand is None or ANY_BEARER in by_hand:
        # The service that one family leaves by may still be a member for the other one's sake.
        whole = taken[0] if len(taken) == 1 else ""
        members = tuple(m for m in allowed if m.id in routed and m.id != whole)
    else:
        named = picked(by_hand, {member.id: member.link.name for member in found})
        members = tuple(m for m in allowed if m.id in routed and m.id in named)
    counted = (m for m in found if _interface(session, m) and _rank(session, m) is not None)
    sayable = tuple(member for member in counted if not unsayable(member.link.name))
    return Choice(session, defaults, members, verdicts, sayable)
