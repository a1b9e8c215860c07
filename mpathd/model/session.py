"""Sessions: whose traffic they are, and which services they may use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto

from .selector import FlowSelector
from .words import Technology

ANY_BEARER = "*"
BEARERS = (*(technology.value for technology in Technology), ANY_BEARER)
PRIORITY, PRIORITY_LAST = 100, 1000


class ConnectionType(StrEnum):
    """What a session needs of a service."""

    ANY = auto()
    LOCAL = auto()
    INTERNET = auto()


class Without(StrEnum):
    """What becomes of a session's traffic while it has no service."""

    BLOCK = auto()
    MAIN = auto()


class Nat(StrEnum):
    """Whether packets with another link's source are translated."""

    AUTO = auto()
    NEVER = auto()


class Origin(StrEnum):
    """Where a session comes from, which says how long it lives."""

    POLICY = auto()
    NAMED = auto()
    DBUS = auto()


@dataclass(frozen=True, slots=True)
class Client:
    """Whom a D-Bus session is to be told to; its unique name on that bus is the session's owner.

    Args:
        bus: the bus's GUID; unique names mean something on one bus only.
        face: the bus name that the client called, "net.mpathd" or "net.connman".
        notifier: path of the client's object that hears of the session.
    """

    bus: str
    face: str
    notifier: str


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What a session is asked to be.

    Args:
        name: unique among all sessions.
        origin: a policy file, `mpathctl session create`, or a D-Bus client.
        owner: the file's path, the user's name, or the unique bus name.
        allowed_bearers: technologies in order of preference; "*" is all that are not named.
        connection_type: what a service must offer.
        allowed_interface: the one interface it may use; empty is any.
        selectors: packets that are its own.
        users: user ids whose sockets are its own.
        groups: group ids whose sockets are its own.
        cgroup: control group whose processes' sockets are its own, relative to the root of cgroup v2.
        only_user: an unprivileged creator: only this user's sockets, whatever the rest says.
        services: multipath-routed services by hand; None lets mpathd choose.
        without_service: what becomes of its traffic while it has none.
        priority: where two sessions' selectors are equally specific, the higher one wins.
        nat: whether packets with another link's source are translated.
        description: for people.
        context_identifier, source_ip_rule: ConnMan's; kept as given and told again.
        client: of a D-Bus session.
        bounds: names of policy entries that it is within; then it is what they leave of what was asked for.
    """

    name: str
    origin: Origin
    owner: str
    allowed_bearers: tuple[str, ...] = (ANY_BEARER,)
    connection_type: ConnectionType = ConnectionType.ANY
    allowed_interface: str = ""
    selectors: tuple[FlowSelector, ...] = ()
    users: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()
    cgroup: str = ""
    only_user: int | None = None
    services: tuple[str, ...] | None = None
    without_service: Without = Without.BLOCK
    priority: int = PRIORITY
    nat: Nat = Nat.AUTO
    description: str = ""
    context_identifier: str = ""
    source_ip_rule: bool = False
    client: Client | None = None
    bounds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Session:
    """A session that is here.

    Args:
        settings: what it is asked to be.
        number: 1 and up; makes its mark and its table.
        born: lower is older; numbers are used again sooner than this.
        active: it wants traffic routed; Disconnect makes it inactive.
    """

    settings: SessionSettings
    number: int
    born: int = 0
    active: bool = True
