"""The one table of service settings: D-Bus properties, command line options, config keys and checks come from it."""

from __future__ import annotations

from dataclasses import dataclass

from .words import MptcpMode

YES = ("yes", "true", "on", "enable", "y", "t", "1")
NO = ("no", "false", "off", "disable", "n", "f", "0")


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that each service has.

    Args:
        field: its name in ServiceSettings and, where conf is true, in [defaults] of mpathd.conf.
        property: its name on D-Bus.
        option: its name on the command line, without dashes.
        signature: its D-Bus type, "b" or "s".
        choices: what a person may write on the command line.
        conf: whether mpathd.conf's [defaults] has it.
        help: what it does, one sentence.
    """

    field: str
    property: str
    option: str
    signature: str
    choices: tuple[str, ...]
    conf: bool
    help: str


SETTINGS = (
    Setting(
        "multipath_routing",
        "MultipathRouting",
        "mpath_routing",
        "b",
        ("yes", "no"),
        conf=True,
        help="give the service its own routing table and source rules",
    ),
    Setting(
        "mpath_tcp_link",
        "MultipathTcpLink",
        "mpath_tcp_link",
        "s",
        tuple(MptcpMode),
        conf=True,
        help="what MPTCP may do with the link: carry traffic, wait as a backup, or nothing",
    ),
    Setting(
        "autoconnect",
        "AutoConnect",
        "autoconnect",
        "b",
        ("yes", "no"),
        conf=False,
        help="let sessions pick the service, and let MultipathRouting apply",
    ),
)

BY_FIELD = {setting.field: setting for setting in SETTINGS}
BY_PROPERTY = {setting.property: setting for setting in SETTINGS}
BY_OPTION = {setting.option: setting for setting in SETTINGS}
