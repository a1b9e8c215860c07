"""mpathd as mpathctl sees it: what can be asked, with a time limit for each, and its troubles in plain words."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mpathd.model.settings import BY_PROPERTY

from .. import codec
from ..codec import Message, Variant
from .errors import Absent, Answered, Late
from .wire import DRIVER, DRIVER_PATH, Wire

NAME = "net.mpathd"
ROOT = "/net/mpathd"
MANAGER = "net.mpathd.Manager"
SERVICE = "net.mpathd.Service"
SESSION = "net.mpathd.Session"
MPTCP = "net.mpathd.Mptcp"
NOTIFICATION = "net.mpathd.Notification"
SESSIONS = ROOT + "/session/"
PROPERTIES = "org.freedesktop.DBus.Properties"

# Seconds until an answer counts as missing. A change is answered when the kernel has it, and a kernel under load
# with a thousand uplinks takes its time; a question is answered from memory.
QUESTION, CHANGE = 5.0, 30.0

GONE = {"ServiceUnknown", "NameHasNoOwner", "NoReply"}

# Rules for the bus: when mpathd goes and comes, and what a monitor hears besides.
LIFE = (f"type='signal',sender='{DRIVER}',path='{DRIVER_PATH}',member='NameOwnerChanged',arg0='{NAME}'",)
HEARD = (f"type='signal',sender='{NAME}'", *LIFE)


@dataclass(frozen=True, slots=True)
class Service:
    """A service as the daemon tells it.

    Args:
        path: its object.
        values: its properties by their D-Bus names, in the daemon's order.
    """

    path: str
    values: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Its identifier."""
        return self.path.rpartition("/")[2]

    @property
    def interface(self) -> str:
        """The link's name."""
        return str(self.values.get("Interface", ""))


def session_name(path: str) -> str:
    """Give the name of a session by its path: of a client's, the client and its object.

    Args:
        path: its object; dots and dashes in a name are written as _ and their code there.
    """
    rest = path.removeprefix(SESSIONS)
    kind, _, tail = rest.partition("/")
    return tail.replace("_2e", ".").replace("_2d", "-") if kind in {"named", "policy"} else rest


@dataclass(frozen=True, slots=True)
class Session:
    """A session as the daemon tells it.

    Args:
        path: its object.
        values: its properties by their D-Bus names, in the daemon's order.
    """

    path: str
    values: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Its own name; Name is that of its service, as the post shows it."""
        return str(self.values.get("Identifier", "")) or session_name(self.path)


class Client:
    """A connection to mpathd.

    Args:
        wire: a connection to the bus.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.owner = ""

    @classmethod
    def open(cls) -> Client:
        """Connect to the bus that the environment names, or the system's.

        Raises:
            Absent: it cannot be reached.
        """
        return cls(Wire.open())

    def services(self, patience: float = QUESTION) -> tuple[Service, ...]:
        """Ask for all services, in their order.

        Args:
            patience: seconds.
        """
        (rows,) = self._call(ROOT, MANAGER, "GetServices", patience=patience)
        return tuple(Service(path, values) for path, values in rows)

    def sessions(self, patience: float = QUESTION) -> tuple[Session, ...]:
        """Ask for all sessions.

        Args:
            patience: seconds.
        """
        (rows,) = self._call(ROOT, MANAGER, "GetSessions", patience=patience)
        return tuple(Session(path, values) for path, values in rows)

    def create_session(self, name: str, values: Mapping[str, Variant]) -> str:
        """Make a session that stays, wait until the kernel has it, and give its object.

        Args:
            name: its name.
            values: property name to value.
        """
        (path,) = self._call(ROOT, MANAGER, "CreateNamedSession", "sa{sv}", (name, values), CHANGE)
        return str(path)

    def create_own_session(self, notifier: str, values: Mapping[str, Variant]) -> str:
        """Make a session that lasts as long as this connection, and give its object.

        Args:
            notifier: the object of ours that is told what becomes of it.
            values: property name to value.
        """
        (path,) = self._call(ROOT, MANAGER, "CreateSession", "a{sv}o", (values, notifier), CHANGE)
        return str(path)

    def enter(self, path: str) -> str:
        """Have this process moved into a session's control group, and give the group.

        Args:
            path: the session's object.
        """
        (group,) = self._call(path, SESSION, "Enter", patience=CHANGE)
        return str(group)

    def statistics(self, path: str) -> Mapping[str, Any]:
        """Ask what a session has carried, read from the kernel now.

        Args:
            path: its object.
        """
        (found,) = self._call(path, SESSION, "Stats")
        return dict(found)

    def connections(self, most: int) -> Mapping[str, Any]:
        """Ask for live MPTCP connections, and whether MPTCP can be used.

        Args:
            most: connections that are wanted.
        """
        found, total, seconds = self._call(ROOT, MPTCP, "GetConnections", "u", (most,), CHANGE)
        (missing,) = self._call(ROOT, PROPERTIES, "Get", "ss", (MPTCP, "Missing"))
        return {"Missing": missing, "Total": total, "Seconds": seconds, "Connections": found}

    def destroy_session(self, path: str) -> None:
        """End a session and wait until nothing of it is in the kernel.

        Args:
            path: its object.
        """
        self._call(ROOT, MANAGER, "DestroySession", "o", (path,), CHANGE)

    def change_session(self, path: str, values: Mapping[str, Variant]) -> None:
        """Change settings of a session, all or none, and wait until the kernel has them.

        Args:
            path: its object.
            values: property name to value.
        """
        self._call(path, SESSION, "Configure", "a{sv}", (values,), CHANGE)

    def connect_session(self, path: str, *, active: bool) -> None:
        """Make a session active or inactive and wait until the kernel has it.

        Args:
            path: its object.
            active: whether its traffic is routed.
        """
        self._call(path, SESSION, "Connect" if active else "Disconnect", patience=CHANGE)

    def status(self) -> Mapping[str, Any]:
        """Ask how the agent is; it looks again first."""
        (found,) = self._call(ROOT, MANAGER, "GetStatus", patience=CHANGE)
        return dict(found)

    def defaults(self) -> Mapping[str, Any]:
        """Ask for the settings of services that have none of their own."""
        (found,) = self._call(ROOT, PROPERTIES, "Get", "ss", (MANAGER, "Defaults"))
        return dict(found)

    def configure(self, path: str, values: Mapping[str, bool | str]) -> None:
        """Set several settings at once and wait until the kernel has them.

        Args:
            path: a service's object; empty sets the default and every service.
            values: property name to value.
        """
        given = {name: Variant(BY_PROPERTY[name].signature, value) for name, value in values.items()}
        interface, method = (SERVICE, "Configure") if path else (MANAGER, "SetDefaults")
        self._call(path or ROOT, interface, method, "a{sv}", (given,), CHANGE)

    def move(self, path: str, other: str, *, before: bool) -> None:
        """Put a service elsewhere in the order and wait until the kernel has it.

        Args:
            path: its object.
            other: the object that it goes to.
            before: directly before it, else directly behind it.
        """
        self._call(ROOT, MANAGER, "MoveBefore" if before else "MoveAfter", "oo", (path, other), CHANGE)

    def listen(self, rules: Iterable[str] = HEARD) -> str:
        """Subscribe to signals; gives mpathd's unique name, empty while it is not there.

        Args:
            rules: which; all that a monitor tells, by default.
        """
        for rule in rules:
            self.wire.ask("AddMatch", rule)
        try:
            (self.owner,) = self.wire.ask("GetNameOwner", NAME)
        except Answered as error:
            if error.name not in GONE:
                raise
            self.owner = ""
        return self.owner

    def snapshot(self) -> tuple[Session, ...]:
        """Ask for all sessions, when signals are listened to: those until now are in the answer and are dropped."""
        found = self.sessions()
        self.wire.forget(DRIVER)
        return found

    def heard(self) -> Iterator[Message]:
        """Give the signals and calls that are here already and come from mpathd, or from the bus about it.

        Any program can send us what looks like one of mpathd's: only those of the name's owner count.
        """
        while (message := self.wire.signal(0)) is not None:
            match message.fields.get(codec.SENDER), message.fields.get(codec.MEMBER), message.body:
                case sender, "NameOwnerChanged", [str(name), _, str(owner)] if (sender, name) == (DRIVER, NAME):
                    self.owner = owner
                    yield message
                case sender, _, _ if sender == self.owner:
                    yield message
                case _:
                    pass

    def _call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: tuple[Any, ...] = (),
        patience: float = QUESTION,
    ) -> list[Any]:
        fields = {codec.PATH: path, codec.INTERFACE: interface, codec.MEMBER: member, codec.DESTINATION: NAME}
        try:
            return self.wire.call(fields, signature, body, time.monotonic() + patience)
        except Late:
            text = f"mpathd did not answer {member} within {patience:g} s"
            raise Late(text, "look at: systemctl status mpathd, journalctl -u mpathd") from None
        except Answered as error:
            if error.name in GONE:
                raise Absent("mpathd is not running (systemctl start mpathd)") from None
            if error.name in {"UnknownMethod", "UnknownInterface"}:
                text = f"mpathd does not know {member}: it is older than this mpathctl"
                raise Answered(error.name, text, "restart it: systemctl restart mpathd") from None
            if error.name == "AccessDenied":
                text = f"the bus does not let you call {member}: {error.text}"
                raise Answered("PermissionDenied", text, "be root, or a member of the group in mpathd.conf") from None
            raise
