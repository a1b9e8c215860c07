"""What people and programs get to see: services and findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .policy import ServiceSettings
from .session import SessionSettings
from .words import Family, MptcpMode, ServiceState, Severity, Technology
from .world import Gateway, LinkAddress


@dataclass(frozen=True, slots=True)
class Finding:
    """A trouble that a person should see; it goes by itself when the trouble does.

    Args:
        code: a short stable name.
        severity: how much it matters.
        text: what is wrong, with names.
        cure: a command or an act; may be empty.
    """

    code: str
    severity: Severity
    text: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A link that can be an uplink.

    Args:
        id: stable identifier in ConnMan's manner.
        name: what people read.
        technology: its bearer.
        state: how far it has come.
        index: the link's index.
        interface: the link's name.
        mac: "36:E0:BD:EE:60:14", or empty.
        mtu: in bytes.
        table: number of its routing table.
        settings: in effect.
        routed: its rules are in force.
        because: why it is, or is not, routed.
        addresses: usable ones.
        gateways: most trusted first.
    """

    id: str
    name: str
    technology: Technology
    state: ServiceState
    index: int
    interface: str
    mac: str
    mtu: int
    table: int
    settings: ServiceSettings
    routed: bool
    because: str
    addresses: tuple[LinkAddress, ...] = ()
    gateways: tuple[Gateway, ...] = ()

    @property
    def letters(self) -> str:
        """The four columns of `mpathctl services`: managed, autoconnect, multipath, state."""
        return (
            "*"
            + ("A" if self.settings.autoconnect else " ")
            + ("M" if self.settings.multipath_routing else " ")
            + self.state.letter
        )

    @property
    def mptcp(self) -> MptcpMode:
        """What MPTCP may do with it."""
        return self.settings.mpath_tcp_link


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as it is now.

    Args:
        name: unique.
        number: of its mark.
        mark: as the kernel has it; its table has the same number.
        state: "disconnected", "connected" or "online".
        bearer, interface, service: of the default service; empty if there is none.
        defaults: the service that each family goes by, by its identifier; a family that none has is missing.
        routed: identifiers of the other services that it may use.
        reason: why it has, or has not, a service.
        active: Connect and Disconnect.
        settings: what it was asked to be.
        born: lower is older.
    """

    name: str
    number: int
    mark: int
    state: str
    bearer: str
    interface: str
    service: str
    routed: tuple[str, ...]
    reason: str
    active: bool
    settings: SessionSettings
    defaults: Mapping[Family, str] = field(default_factory=dict)
    born: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """The whole picture.

    Args:
        services: in their order.
        sessions: by number.
        findings: gravest first.
    """

    services: tuple[Service, ...] = ()
    sessions: tuple[SessionView, ...] = ()
    findings: tuple[Finding, ...] = ()
