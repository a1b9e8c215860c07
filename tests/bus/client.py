"""Clients for the tests: dbus-next's own connection, and the tools that other people wrote."""

from __future__ import annotations

import asyncio
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any, Self

from dbus_next import Message, MessageType, Variant
from dbus_next.aio import MessageBus

from bus.harness import Scene

MANAGER = "/net/mpathd"
SERVICES = "/net/mpathd/service/"
PROPERTIES = "org.freedesktop.DBus.Properties"


class Refused(Exception):
    """An error came back.

    Args:
        name: its name.
        text: its text.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


class Client:
    """One connection that hears all signals of net.mpathd, or of net.connman.

    Args:
        address: of the bus.
        name: whom to call; a face that waits for its name is called by its unique one.
        face: whose signals and calls are heard.
    """

    def __init__(self, address: str, name: str = "net.mpathd", face: str = "net.mpathd") -> None:
        self.bus = MessageBus(bus_address=address)
        self.name = name
        self.face = face
        self.signals: list[Message] = []
        self.notices: list[Message] = []  # calls of Notification, in order
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        await asyncio.wait_for(self.bus.connect(), 10)
        self.bus.add_message_handler(self._hear)
        rule = f"type='signal',sender='{self.face}'"
        await self.bus.call(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=[rule],
            )
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.bus.disconnect()
        await asyncio.gather(self.bus.wait_for_disconnect(), return_exceptions=True)

    def _hear(self, message: Message) -> bool:
        if message.message_type is MessageType.SIGNAL and message.sender != "org.freedesktop.DBus":
            self.signals.append(message)
            self._news.set()
        if message.message_type is MessageType.METHOD_CALL and message.interface == f"{self.face}.Notification":
            self.notices.append(message)
            self._news.set()
            return True
        return False

    async def told(self, wanted: Callable[[list[Message]], Any]) -> Any:
        """Wait until the notices heard so far satisfy a condition; give its result.

        Args:
            wanted: looks at all notices so far.
        """
        return await self.heard(lambda _signals: wanted(self.notices))

    async def heard(self, wanted: Callable[[list[Message]], Any]) -> Any:
        """Wait until the signals heard so far satisfy a condition; give its result.

        Args:
            wanted: looks at all signals so far.
        """
        async with asyncio.timeout(10):
            while not (result := wanted(self.signals)):
                self._news.clear()
                await self._news.wait()
        return result

    async def call(self, path: str, interface: str | None, member: str, types: str = "", *body: Any) -> Any:
        """Call, and give the results: none, the only one, or a list.

        Args:
            path: the object.
            interface: its interface, or none.
            member: the method.
            types: of the arguments.
            body: the arguments.
        """
        reply = await asyncio.wait_for(
            self.bus.call(
                Message(
                    destination=self.name,
                    path=path,
                    interface=interface,
                    member=member,
                    signature=types,
                    body=list(body),
                )
            ),
            20,
        )
        if reply.message_type is MessageType.ERROR:
            raise Refused(reply.error_name, reply.body[0])
        return reply.body[0] if len(reply.body) == 1 else reply.body

    async def get(self, path: str, interface: str, name: str) -> Any:
        """Read a property.

        Args:
            path: the object.
            interface: its interface.
            name: the property.
        """
        return (await self.call(path, PROPERTIES, "Get", "ss", interface, name)).value

    async def set(self, path: str, interface: str, name: str, types: str, value: Any) -> None:
        """Write a property.

        Args:
            path: the object.
            interface: its interface.
            name: the property.
            types: the value's type.
            value: the value.
        """
        await self.call(path, PROPERTIES, "Set", "ssv", interface, name, Variant(types, value))


def plain(value: Any) -> Any:
    """Take variants off, at any depth.

    Args:
        value: a value from the bus.
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


def described(text: str) -> dict[str, tuple[dict[str, tuple[str, str]], dict[str, str]]]:
    """Give the interfaces of an introspection: methods and signals with their types; what is D-Bus's own is left out.

    Args:
        text: as Introspect gives it.
    """

    def types(node: ET.Element, *directions: str | None) -> str:
        return "".join(arg.get("type", "") for arg in node.findall("arg") if arg.get("direction") in directions)

    return {
        str(face.get("name")): (
            {str(m.get("name")): (types(m, "in"), types(m, "out")) for m in face.findall("method")},
            {str(s.get("name")): types(s, "out", None) for s in face.findall("signal")},
        )
        for face in ET.fromstring(text).findall("interface")  # noqa: S314  # mpathd's own text
        if not str(face.get("name")).startswith("org.freedesktop.DBus")
    }


def tool(scene: Scene, *command: str, uid: int | None = None, gids: tuple[int, ...] = ()) -> str:
    """Run busctl, gdbus or dbus-send on the scene's bus and give what it prints; its errors count as output.

    Args:
        scene: where.
        command: the command; ADDRESS stands for the bus address.
        uid: as whom; None means whoever runs the tests.
        gids: the user's groups.
    """
    words = [word.replace("ADDRESS", scene.address) for word in command]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        user=uid,
        group=uid,
        extra_groups=None if uid is None else gids,
        cwd="/",
    )
    return done.stdout + done.stderr
