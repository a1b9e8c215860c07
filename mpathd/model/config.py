"""The configuration file, read and checked."""

from __future__ import annotations

from dataclasses import dataclass

from .policy import Policy


@dataclass(frozen=True, slots=True)
class Config:
    """What mpathd.conf says, with defaults where it says nothing.

    Args:
        policy: what it says about routing.
        connman: speak as ConnMan too.
        group: the group whose members may change settings over D-Bus.
        address: D-Bus address; empty means DBUS_SYSTEM_BUS_ADDRESS, else the system bus.
        level: least log level that is written.
        format: "auto" (people on a terminal, JSON elsewhere), "text" or "json".
        keep: leave routes and rules in place at stop.
        max_per_user: sessions that one user without privileges may have.
        max_selectors: flow selectors that a session of such a user may have.
        stats_interval: seconds between signals of statistics, 0 for none.
        path: the file, empty if there was none.
    """

    policy: Policy = Policy()
    connman: bool = False
    group: str = "netdev"
    address: str = ""
    level: str = "info"
    format: str = "auto"
    keep: bool = False
    max_per_user: int = 32
    max_selectors: int = 1000
    stats_interval: int = 0
    path: str = ""
