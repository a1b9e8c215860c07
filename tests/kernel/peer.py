"""A program of tests: a process of some user, with a bus connection and sockets, that does what its stdin says.

Each line is a JSON object, `{"do": NAME, ...}`; each is answered by one line, `{"gives": VALUE}` or `{"refused": [NAME,
TEXT]}`. Its arguments are the address of the bus (empty: none), a user and a group.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from asyncio import StreamReader, StreamReaderProtocol
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dbus_next import Message, MessageType, Variant
from dbus_next.aio import MessageBus

SO_MARK = 36
TIMED_OUT = 110
NOTIFICATION = "net.mpathd.Notification"
KINDS = {"udp": (2, 0), "sendto": (2, 0), "tcp": (1, 0), "mptcp": (1, 262)}
TCP_TYPES = {"tcp", "mptcp"}


def pack(value: Any) -> Any:
    """Make JSON's of a value of the bus: a variant is an object of its type and its value.

    Args:
        value: the value.
    """
    match value:
        case Variant():
            return {"type": value.signature, "value": pack(value.value)}
        case dict():
            return {key: pack(item) for key, item in value.items()}
        case list():
            return [pack(item) for item in value]
        case bytes():
            return list(value)
        case _:
            return value


def unpack(value: Any) -> Any:
    """Make a value of the bus of JSON's.

    Args:
        value: the value.
    """
    match value:
        case {"type": str(signature), "value": inner}:
            return Variant(signature, unpack(inner))
        case dict():
            return {key: unpack(item) for key, item in value.items()}
        case list():
            return [unpack(item) for item in value]
        case _:
            return value


def own_cgroup() -> str:
    """Give the process's folder in the cgroup 2 tree."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return next(line.removeprefix("0::") for line in lines if line.startswith("0::"))


async def answer(reader: StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back the first thing that a connection says.

    Args:
        reader: what it says.
        writer: the way back.
    """
    writer.write(await reader.read(999))
    await writer.drain()
    writer.close()


class Process:
    """What the process has: a connection, what it heard, and sockets by number."""

    def __init__(self) -> None:
        self.bus: MessageBus | None = None
        self.updates: list[Any] = []
        self.changes: list[Any] = []
        self.sockets: dict[int, tuple[str, socket.socket]] = {}

    async def join(self, address: str) -> None:
        """Connect to the bus.

        Args:
            address: of the bus.
        """
        self.bus = await MessageBus(bus_address=address).connect()
        self.bus.add_message_handler(self._hear)
        rule = "type='signal',interface='org.freedesktop.DBus.Properties',path_namespace='/net/mpathd'"
        bus = "org.freedesktop.DBus"
        await self.bus.call(
            Message(
                destination=bus,
                path="/org/freedesktop/DBus",
                interface=bus,
                member="AddMatch",
                signature="s",
                body=[rule],
            )
        )

    def _hear(self, message: Message) -> bool:
        if message.message_type is MessageType.METHOD_CALL and message.interface == NOTIFICATION:
            self.updates.append([message.path, pack(message.body[0]) if message.body else message.member])
            return True
        if message.message_type is MessageType.SIGNAL and message.member == "PropertiesChanged":
            self.changes.append([message.path, time.monotonic(), pack(message.body[1])])
        return False

    async def do(self, what: str, words: dict[str, Any]) -> Any:
        """Do one thing and give what came of it.

        Args:
            what: its name.
            words: what it needs.
        """
        match what:
            case "call":
                return await self._call(**words)
            case "updates":
                return self.updates
            case "changes":
                return self.changes
            case "cgroup":
                return own_cgroup()
            case "open":
                return self._open(**words)
            case "close":
                self.sockets.pop(words["number"])[1].close()
                return None
            case "mark":
                return self.sockets[words["number"]][1].getsockopt(socket.SOL_SOCKET, SO_MARK)
            case "set":
                self.sockets[words["number"]][1].setsockopt(socket.SOL_SOCKET, SO_MARK, words["mark"])
                return None
            case "talk":
                return self._talk(**words)
            case "serve":
                await asyncio.start_server(answer, "", words["port"])
                return None
            case "reach":
                return self._in_child(words) if words.pop("child") else self._reach(**words)
            case _:
                raise ValueError(what)

    async def _call(self, path: str, interface: str, member: str, types: str, body: list[Any]) -> Any:
        assert self.bus is not None
        message = Message(
            destination="net.mpathd",
            path=path,
            interface=interface,
            member=member,
            signature=types,
            body=[unpack(item) for item in body],
        )
        reply = await asyncio.wait_for(self.bus.call(message), 20)
        assert reply is not None
        if reply.message_type is MessageType.ERROR:
            raise RuntimeError(reply.error_name, *reply.body)
        return pack(reply.body[0]) if len(reply.body) == 1 else pack(reply.body)

    def _open(self, kind: str, family: int, source: str, device: str, mark: int) -> int:
        what, proto = KINDS[kind]
        sock = socket.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, what, proto)
        if mark:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        if source or kind in TCP_TYPES:  # bound to a port in any case, so that a failed one is known by it
            sock.bind((source, 0))
        self.sockets[sock.fileno()] = kind, sock
        return sock.fileno()

    def _talk(self, number: int, text: str, turns: int, limit: float) -> int:
        """Words over a socket that is connected; gives how many came back."""
        sock = self.sockets[number][1]
        sock.settimeout(limit)
        try:
            for turn in range(turns):
                sock.send(text.encode())
                if sock.recv(65536) != text.encode():
                    return turn
        except OSError:
            return turn
        return turns

    def _in_child(self, words: dict[str, Any]) -> Any:
        """A child of a child does it: what it inherits is what counts."""
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            if os.fork():
                os._exit(0)
            words["number"] = self._open(**{key: words.pop(key) for key in ("kind", "family", *OPTIONS)})
            os.write(writer, json.dumps(self._reach(**words)).encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader) as file:
            return json.loads(file.read())

    def _reach(self, number: int, dst: str, port: int, text: str, limit: float) -> Mapping[str, Any]:
        kind, sock = self.sockets[number]
        told: dict[str, Any] = {"source": "", "sport": 0, "error": 0, "answered": False}
        told["born"] = sock.getsockopt(socket.SOL_SOCKET, SO_MARK)
        sock.settimeout(limit)
        try:
            told["sport"] = sock.getsockname()[1]
            if kind == "sendto":
                sock.sendto(text.encode(), (dst, port))
            else:
                sock.connect((dst, port))
                told["source"], told["sport"] = sock.getsockname()[:2]
                sock.send(text.encode())
            told["answered"] = sock.recv(65536) == text.encode()
        except TimeoutError:
            told["error"] = TIMED_OUT
        except OSError as trouble:
            told["error"] = trouble.errno
        told["mark"] = sock.getsockopt(socket.SOL_SOCKET, SO_MARK)
        return told


OPTIONS = ("source", "device", "mark")


async def main(address: str, user: int, group: int) -> None:
    """Serve until stdin ends.

    Args:
        address: of the bus; empty: none.
        user: who to be.
        group: the user's group.
    """
    if user or group:
        os.setgroups([])
        os.setgid(group)
        os.setuid(user)
    process = Process()
    if address:
        await process.join(address)
    reader = StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps({"gives": process.bus.unique_name if process.bus else ""}), flush=True)
    while line := await reader.readline():
        words = json.loads(line)
        try:
            reply: dict[str, Any] = {"gives": await process.do(words.pop("do"), words)}
        except RuntimeError as refusal:
            reply = {"refused": refusal.args}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
