"""What people want: settings of services, and the configuration file's keys that decide about routing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .mptcp import Options
from .numbers import Numbers
from .session import Session
from .words import Address, MptcpMode


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """The settings of one service, all decided.

    Args:
        multipath_routing: give it its own table and rules.
        mpath_tcp_link: what MPTCP may do with it.
        autoconnect: sessions may pick it, and MultipathRouting is applied.
    """

    multipath_routing: bool = False
    mpath_tcp_link: MptcpMode = MptcpMode.ON
    autoconnect: bool = True


@dataclass(frozen=True, slots=True)
class Stored:
    """What `mpathctl config` and `mpathctl services` have saved.

    Args:
        defaults: setting name to value, for all services.
        services: service identifier to setting name to value; wins over defaults.
        order: service identifiers as `mpathctl services --before` and `--after` have put them.
        passing: as services, but only until the next start, so not on disk; wins over services.
    """

    defaults: Mapping[str, bool | str] = field(default_factory=dict)
    services: Mapping[str, Mapping[str, bool | str]] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    passing: Mapping[str, Mapping[str, bool | str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything wished for.

    Args:
        defaults: setting name to value, from mpathd.conf and the command line.
        stored: what `mpathctl config` saved; wins over defaults.
        include: interface names, patterns or MAC addresses that may be services; empty means all.
        exclude: those that may not.
        source_order: names of gateway sources, most trusted first.
        static: interface name or service identifier to gateway addresses (None: on the link).
        allow_borrowed: route services by their address even while main's default borrows it (mpathd.conf(5)).
        numbers: the numbers for the kernel.
        sessions: those that are here, with their numbers.
        early_rules: rules of one family that catch a session's unbound sockets; 0 leaves them to translation.
        socket_engine: mark the sockets of control groups; else all is left to the packet engine.
        mptcp: what MPTCP does on all links.
    """

    defaults: ServiceSettings = ServiceSettings()
    stored: Stored = Stored()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    source_order: tuple[str, ...] = ("static", "main", "networkd", "dhclient")
    static: Mapping[str, tuple[Address | None, ...]] = field(default_factory=dict)
    allow_borrowed: bool = False
    numbers: Numbers = Numbers()
    sessions: tuple[Session, ...] = ()
    early_rules: int = 32
    socket_engine: bool = True
    mptcp: Options = Options()
