"""Processes of any user in a lab, which call mpathd, and whose sockets' ways the far side tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Self

from dbus_next import Variant

from kernel.helpers_sessions import AT_ONCE, PATIENCE, SERVER, TCP, UDP, Case, family_of
from kernel.peer import TCP_TYPES, pack, unpack
from labkit.agent import eventually

PROGRAM = Path(__file__).with_name("peer.py")
MANAGER, MANAGER_FACE, SESSION_FACE = "/net/mpathd", "net.mpathd.Manager", "net.mpathd.Session"
PROPERTIES = "org.freedesktop.DBus.Properties"
TYPES = {
    "AllowedBearers": "as",
    "ConnectionType": "s",
    "AllowedInterface": "s",
    "FlowSelectors": "as",
    "Users": "as",
    "Groups": "as",
    "Cgroup": "s",
    "MultipathRoutedServices": "as",
    "WithoutService": "s",
    "Description": "s",
}
_numbers = count(1)


class Refused(Exception):
    """An error came back.

    Args:
        name: its name.
        text: its text.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name, self.text = name, text


@dataclass(frozen=True, slots=True)
class Reached:
    """What came of a try.

    Args:
        ways: (device at the far side, source there) of its packets, each once.
        source: what the socket says; empty for `sendto` and when connect() failed.
        born: its mark when it was made.
        mark: its mark at the end.
        error: errno that it heard, 0 if none.
        answered: a reply came back.
    """

    ways: tuple[tuple[str, str], ...]
    source: str
    born: int
    mark: int
    error: int
    answered: bool


def plain(value: Any) -> Any:
    """Take variants off, at any depth.

    Args:
        value: as `Peer` gives it.
    """
    match value:
        case Variant():
            return plain(value.value)
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list():
            return [plain(item) for item in value]
        case _:
            return value


class Peer:
    """A process in a host of the lab; it ends, and its connection with it, when the block does.

    Args:
        case: the case.
        user: who it is.
        group: the user's group.
        host: where it is; None: where mpathd is.
        bus: it has a connection.
    """

    def __init__(self, case: Case, *, user: int = 0, group: int = 0, host: str | None = None, bus: bool = True) -> None:
        self._case, self._who, self._host = case, (str(user), str(group)), host or case.client
        self._address = case.bus.address if bus else ""

    def __enter__(self) -> Self:
        self._case.folder.chmod(0o755)  # the bus's socket is in it
        argv = [sys.executable, str(PROGRAM), self._address, *self._who]
        self._process = self._case.lab.popen(self._host, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.name = str(self._answer())
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.returncode is None:
            self.end()

    def end(self) -> None:
        """End it; its sockets and its connection are gone then."""
        self._process.communicate(timeout=10)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def _do(self, what: str, **words: object) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **words}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        answer = json.loads(self._process.stdout.readline())
        if "refused" in answer:
            raise Refused(*answer["refused"])
        return unpack(answer["gives"])

    # The bus.

    def call(self, path: str, interface: str, member: str, types: str = "", *body: object) -> Any:
        """Call mpathd and give what it answers, variants and all.

        Args:
            path: the object.
            interface: its interface.
            member: the method.
            types: of the arguments.
            body: the arguments.

        Raises:
            Refused: an error came back.
        """
        return self._do("call", path=path, interface=interface, member=member, types=types, body=pack(list(body)))

    def create(self, notifier: str = "/app", **settings: object) -> str:
        """Make a session and give its path.

        Args:
            notifier: where it is told.
            settings: by their D-Bus names.
        """
        values = {name: Variant(TYPES[name], value) for name, value in settings.items()}
        return str(self.call(MANAGER, MANAGER_FACE, "CreateSession", "a{sv}o", values, notifier))

    def change(self, path: str, name: str, value: object) -> None:
        """Change a session.

        Args:
            path: of the session.
            name: of the setting.
            value: what it shall be.
        """
        self.call(path, SESSION_FACE, "Change", "sv", name, Variant(TYPES[name], value))

    def get(self, path: str, name: str) -> Any:
        """Read a session's property.

        Args:
            path: of the session.
            name: of the property.
        """
        return plain(self.call(path, PROPERTIES, "Get", "ss", SESSION_FACE, name))

    def session(self, name: str) -> str:
        """Give the path of a policy's session.

        Args:
            name: of the session.
        """
        found = self.call(MANAGER, MANAGER_FACE, "GetSessions")
        return next(str(path) for path, values in found if plain(values)["Identifier"] == name)

    def updates(self, notifier: str = "/app") -> list[Any]:
        """Give what it was told of a session, in order: settings, or the name of another call.

        Args:
            notifier: where it was told.
        """
        return [plain(each) for path, each in self._do("updates") if path == notifier]

    def told(
        self, wanted: Callable[[Mapping[str, Any]], object], what: str = "", notifier: str = "/app"
    ) -> Mapping[str, Any]:
        """Wait until the sum of what it was told of a session satisfies a condition, and give it.

        Args:
            wanted: looks at all settings.
            what: named in the error.
            notifier: where it was told.
        """

        def look() -> Mapping[str, Any] | None:
            whole: dict[str, Any] = {}
            for each in self.updates(notifier):
                whole |= each if isinstance(each, dict) else {}
            heard.append(whole)
            return whole if whole and wanted(whole) else None

        heard: list[Any] = []
        try:
            found = eventually(look)
        except Exception as error:
            error.add_note(f"{what}: told {heard[-1:]}")
            raise
        assert found
        return found

    def changes(self, path: str, name: str) -> list[tuple[float, Any]]:
        """Give (seconds, value) of every PropertiesChanged that named a property.

        Args:
            path: of the object.
            name: of the property.
        """
        return [(at, plain(new[name])) for where, at, new in self._do("changes") if where == path and name in new]

    # Its processes and sockets.

    def cgroup(self) -> str:
        """Give its folder in the cgroup 2 tree."""
        return str(self._do("cgroup"))

    def open(self, kind: str, family: int, *, source: str = "", device: str = "", mark: int = 0) -> int:
        """Make a socket and give its number.

        Args:
            kind: as of `Case.reach`.
            family: of the socket.
            source: address to bind to.
            device: interface to bind to.
            mark: that it sets itself.
        """
        return int(self._do("open", kind=kind, family=family, source=source, device=device, mark=mark))

    def mark(self, number: int) -> int:
        """Give a socket's mark.

        Args:
            number: of the socket.
        """
        return int(self._do("mark", number=number))

    def set_mark(self, number: int, mark: int) -> None:
        """Have it set a socket's mark.

        Args:
            number: of the socket.
            mark: the mark.
        """
        self._do("set", number=number, mark=mark)

    def close(self, number: int) -> None:
        """Close a socket.

        Args:
            number: of the socket.
        """
        self._do("close", number=number)

    def talk(self, number: int, turns: int = 1, limit: float = PATIENCE) -> int:
        """Say a word over a connected socket and hear it again; give how often that went well.

        Args:
            number: of the socket.
            turns: how often.
            limit: seconds of patience with each.
        """
        text = f"talk {os.getpid()} {next(_numbers)}"
        return int(self._do("talk", number=number, text=text, turns=turns, limit=limit))

    def serve(self, port: int) -> None:
        """Have it answer TCP connections from now on.

        Args:
            port: where.
        """
        self._do("serve", port=port)

    def reach(
        self,
        kind: str,
        to: int | str,
        port: int,
        *,
        number: int = 0,
        child: bool = False,
        source: str = "",
        device: str = "",
        mark: int = 0,
        answer: bool = True,
    ) -> Reached:
        """Reach something by a fresh socket, or by one that is open.

        Args:
            kind: as of `Case.reach`.
            to: an address, or the family of the server's.
            port: its port.
            number: of the open socket; 0: a fresh one.
            child: a child of a child does it, by a socket of its own.
            source: address to bind to.
            device: interface to bind to.
            mark: that it sets itself.
            answer: wait long enough for an answer to a datagram.
        """
        dst = to if isinstance(to, str) else SERVER[to]
        text = f"peer {os.getpid()} {next(_numbers)}"
        stream = kind in TCP_TYPES
        limit = AT_ONCE if stream else PATIENCE if answer else 0.001
        words: dict[str, Any] = {"dst": dst, "port": port, "text": text, "limit": limit}
        fresh = {"kind": kind, "family": family_of(dst), "source": source, "device": device, "mark": mark}
        if child:
            told = self._do("reach", child=True, **words, **fresh)
        else:
            used = number or int(self._do("open", **fresh))
            told = self._do("reach", child=False, number=used, **words)
            if not number:
                self._do("close", number=used)
        if not told["answered"]:
            self._case.arrived()
        fields: dict[str, object] = {"proto": UDP, "payload": text.encode()}
        if stream:
            fields = {"proto": TCP, "sport": told["sport"], "dport": port}
        return Reached(
            self._case.ways(dst=dst, **fields),
            told["source"],
            told["born"],
            told["mark"],
            told["error"],
            told["answered"],
        )
