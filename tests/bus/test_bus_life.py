"""The bus may be late, go, come back, be mute, or belong to somebody else; the face says so and goes on."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from dbus_next import Message
from dbus_next.constants import RequestNameReply
from structlog.testing import capture_logs

from bus.client import MANAGER, SERVICES, Client
from bus.harness import CABLE, FakeAgent, PrivateBus, Scene
from mpathd import codec
from mpathd.bus import address
from mpathd.bus import face as life
from mpathd.bus import wire as wires
from mpathd.bus.face import Face
from mpathd.bus.native import native_face
from mpathd.bus.wire import BusLost, Wire
from mpathd.model import busaddress
from mpathd.model.errors import ConfigError

AT = SERVICES + CABLE.id
SERVICE = "net.mpathd.Service"


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until something is true.

    Args:
        condition: what to wait for.
    """
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  # it becomes true in another thread or process
            await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(address: str) -> AsyncIterator[Face]:
    """A face in the test's own loop.

    Args:
        address: of its bus.
    """
    face = native_face(FakeAgent(), address)
    async with asyncio.TaskGroup() as group:
        group.create_task(face.serve())
        yield face
        await face.stop()


@pytest.mark.parametrize("times", [1, 3])
def test_the_bus_is_restarted(times: int) -> None:
    async def play() -> None:
        with Scene() as scene:
            for _ in range(times):
                scene.bus.kill()
                await until(lambda: scene.face.trouble)
                assert scene.face.trouble.startswith(f"bus {scene.address}: ")
                await asyncio.to_thread(scene.do, scene.agent.show(CABLE))  # the agent works on
                scene.bus.start()
                await until(lambda: not scene.face.trouble)
            async with Client(scene.address) as client:
                listed = await client.call(MANAGER, "net.mpathd.Manager", "GetServices")
                assert [path for path, _ in listed] == [AT]
                await client.set(AT, SERVICE, "AutoConnect", "b", value=False)
                assert client.signals

    asyncio.run(play())


def test_a_change_outlives_the_bus_it_came_by(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as client:
            waiting = asyncio.ensure_future(client.set(AT, SERVICE, "AutoConnect", "b", value=False))
            dropped = asyncio.ensure_future(client.set(AT, SERVICE, "MultipathRouting", "b", value=True))
            await until(lambda: scene.agent.edits)
            scene.bus.kill()
            for lost in (waiting, dropped):
                with pytest.raises((EOFError, OSError)):
                    await lost
        await until(lambda: scene.face.trouble)
        scene.bus.start()
        await until(lambda: not scene.face.trouble)
        scene.loop.call_soon_threadsafe(scene.agent.open.set)
        async with Client(scene.address) as client:
            await until(lambda: not scene.agent.view.services[0].settings.autoconnect)
            assert await client.get(AT, SERVICE, "Letters") == "*  R"
        assert [dict(edit.values) for edit in scene.agent.edits] == [{"autoconnect": False}]

    scene.loop.call_soon_threadsafe(scene.agent.open.clear)
    asyncio.run(play())


def test_no_bus_at_all(tmp_path: Path) -> None:
    async def play() -> None:
        async with serving(f"unix:path={tmp_path}/none") as face:
            await face.tried()
            assert face.trouble == f"bus unix:path={tmp_path}/none: No such file or directory"

    asyncio.run(play())


def test_the_bus_comes_late() -> None:
    bus = PrivateBus()

    async def play() -> None:
        async with serving(bus.address) as face:
            await face.tried()
            assert face.trouble
            bus.start()
            await until(lambda: not face.trouble)
            async with Client(bus.address) as client:
                assert await client.get(AT, SERVICE, "State") == "ready"

    try:
        asyncio.run(play())
    finally:
        bus.remove()


class OddBus:
    """A socket that behaves like a bus up to a point.

    Args:
        path: where.
        answer: what it says to the authentication; then it says nothing more.
        hang_up: close then, instead.
    """

    def __init__(self, path: Path, answer: bytes, *, hang_up: bool) -> None:
        self.address = f"unix:path={path}"
        self.path = path
        self.calls = 0
        self._answer = answer
        self._hang_up = hang_up

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        await reader.read(4096)
        writer.write(self._answer)
        await writer.drain()
        if not self._hang_up:
            while await reader.read(4096):
                pass
        writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen while the block lasts."""
        server = await asyncio.start_unix_server(self._meet, self.path)
        async with server:
            yield


@pytest.mark.parametrize(
    ("answer", "hang_up", "why"),
    [
        (b"", False, "no answer"),
        (b"OK 1234\r\n", False, "no answer"),  # Hello is never answered
        (b"DATA\r\nOK 12", False, "no answer"),
        (b"", True, "the bus hung up before it said who we are"),
        (b"OK 1234\r\n", True, ""),
        (b"REJECTED EXTERNAL\r\n", False, "the bus does not know us (EXTERNAL was rejected)"),
        (b"x" * 5000, False, "the bus hung up before it said who we are"),
    ],
)
def test_a_bus_that_does_not_play_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes, why: str, *, hang_up: bool
) -> None:
    monkeypatch.setattr(wires, "PATIENCE", 0.05)
    monkeypatch.setattr(life, "FIRST", 0.01)
    odd = OddBus(tmp_path / "odd", answer, hang_up=hang_up)

    async def play() -> None:
        async with odd.listening(), serving(odd.address) as face:
            await face.tried()
            assert face.trouble.startswith(f"bus {odd.address}: {why}")
            await until(lambda: odd.calls >= 3)

    asyncio.run(play())


def test_waiting_grows_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(delay: float) -> None:
        if delay:
            slept.append(delay)
        await real(0)

    async def play() -> None:
        face = native_face(FakeAgent(), f"unix:path={tmp_path}/none")
        async with asyncio.TaskGroup() as group:
            group.create_task(face.serve())
            async with asyncio.timeout(10):
                while len(slept) < 9:
                    await real(0)
            await face.stop()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with capture_logs() as logs:
        asyncio.run(play())
    assert slept[:9] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert [entry["event"] for entry in logs] == ["bus.trouble"]  # the same trouble is told once


def test_no_timer_runs_while_connected(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as client:
            await client.set(AT, SERVICE, "AutoConnect", "b", value=True)

    asyncio.run(play())
    assert [timer for timer in scene.loop._scheduled if not timer.cancelled()] == []  # type: ignore[attr-defined]


def test_the_name_belongs_to_somebody_else() -> None:
    bus = PrivateBus()
    bus.start()

    async def play() -> None:
        async with Client(bus.address) as other:
            assert await other.bus.request_name("net.mpathd") is RequestNameReply.PRIMARY_OWNER
            async with serving(bus.address) as face:
                await face.tried()
                assert face.trouble == (
                    f"net.mpathd is owned by process {os.getpid()}; waiting until it gives the name up"
                )
                await other.bus.release_name("net.mpathd")
                await until(lambda: not face.trouble)
                assert await other.get(AT, SERVICE, "State") == "ready"

    try:
        asyncio.run(play())
    finally:
        bus.remove()


def test_the_policy_is_not_installed() -> None:
    bus = PrivateBus()
    config = bus.folder / "bus.conf"
    config.write_text(
        config.read_text()
        .replace('own="net.mpathd"', 'own="net.other"')
        .replace("<include>", "<!--")
        .replace("</include>", "-->")
    )
    bus.start()

    async def play() -> None:
        async with serving(bus.address) as face:
            await face.tried()
            assert "is conf/net.mpathd.conf installed?" in face.trouble

    try:
        asyncio.run(play())
    finally:
        bus.remove()


def test_stop_gives_the_name_back_and_answers_what_waits(scene: Scene) -> None:
    async def play() -> None:
        async with Client(scene.address) as client:
            waiting = asyncio.ensure_future(client.set(AT, SERVICE, "AutoConnect", "b", value=False))
            await until(lambda: scene.agent.edits)
            stopping = asyncio.ensure_future(asyncio.to_thread(scene.do, scene.face.stop()))
            await until(lambda: not scene.face._owner)
            scene.loop.call_soon_threadsafe(scene.agent.open.set)
            await waiting
            await stopping
            reply = await client.bus.call(
                Message(
                    destination="org.freedesktop.DBus",
                    path="/org/freedesktop/DBus",
                    interface="org.freedesktop.DBus",
                    member="NameHasOwner",
                    signature="s",
                    body=["net.mpathd"],
                )
            )
            assert reply.body == [False]

    scene.loop.call_soon_threadsafe(scene.agent.open.clear)
    asyncio.run(play())


def test_stop_before_during_and_after(tmp_path: Path) -> None:
    async def play() -> None:
        face = native_face(FakeAgent(), f"unix:path={tmp_path}/none")
        await face.stop()
        await asyncio.wait_for(face.serve(), 5)
        await face.stop()
        odd = OddBus(tmp_path / "odd", b"", hang_up=False)
        async with odd.listening():
            face = native_face(FakeAgent(), odd.address)
            async with asyncio.timeout(2), asyncio.TaskGroup() as group:
                group.create_task(face.serve())
                await until(lambda: odd.calls)
                await face.stop()
                await face.stop()

    asyncio.run(play())


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert busaddress.places("unix:path=/run/a,guid=12;unix:abstract=b%20c;tcp:host=x") == ["/run/a", "\0b c"]
    with pytest.raises(ConfigError, match="names no Unix socket"):
        busaddress.places("tcp:host=x,port=1")
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/x")
    assert address.bus_address("") == "unix:path=/x"
    assert address.bus_address("unix:path=/y") == "unix:path=/y"
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS")
    assert address.bus_address("") == busaddress.SYSTEM_BUS


SIGNAL = {codec.PATH: "/a", codec.INTERFACE: "b.c", codec.MEMBER: "D", codec.SIGNATURE: "s"}
LOUD = codec.Message(codec.Kind.SIGNAL, 0, SIGNAL, ["x" * 2000])


def frame(flags: int = 0, *, spoil: bool = False) -> bytes:
    """A ping as it comes over the socket.

    Args:
        flags: of the message.
        spoil: make its header fields nonsense.
    """
    message = Message(path="/a", interface="org.freedesktop.DBus.Peer", member="Ping", serial=7, sender=":1.2")
    data = bytearray(message._marshall())
    data[2] = flags
    if spoil:
        data[16] = 99
    return bytes(data)


def test_frames_that_nobody_can_read_do_not_end_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "LONGEST", wires.SHORT)

    async def play() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        wire = Wire(ours)
        taken: list[codec.Message] = []
        wire.take = taken.append
        theirs.sendall(frame(spoil=True) + frame(flags=0xF8))
        theirs.sendall(struct.pack("<BBBBIII", ord("l"), 1, 0, 1, 0, 1, wires.LONGEST) + bytes(wires.LONGEST))
        theirs.sendall(frame()[:20])
        await until(lambda: len(taken) == 1)
        theirs.sendall(frame()[20:])
        await until(lambda: len(taken) == 2)
        assert {message.member for message in taken} == {"Ping"}
        theirs.close()
        assert await wire.gone() == "the bus hung up"
        with pytest.raises(BusLost):
            await wire.ask("ListNames")

    asyncio.run(play())


def test_others_get_their_turn_while_there_is_much_to_read() -> None:
    async def play() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        wire = Wire(ours)
        taken: list[codec.Message] = []
        wire.take = taken.append
        theirs.sendall(frame() * 200)
        seen = most = 0
        async with asyncio.timeout(10):
            while len(taken) < 200:
                await asyncio.sleep(0)
                most, seen = max(most, len(taken) - seen), len(taken)
        assert 0 < most <= 10
        wire.close("enough")
        theirs.close()

    asyncio.run(play())


def test_a_bus_that_does_not_read_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wires, "BACKLOG", 100_000)

    async def play() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        wire = Wire(ours)
        sent = 0
        while wire.connected and sent < 2000:
            wire.send(LOUD)
            sent += 1
        assert await wire.gone() == "the bus does not read any more"
        theirs.close()

    asyncio.run(play())


def test_a_full_socket_is_no_lost_bus() -> None:
    async def play() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        wire = Wire(ours)
        for _ in range(1000):
            wire.send(LOUD)
        reading = asyncio.ensure_future(asyncio.to_thread(_read, theirs, 1000 * 2000))
        async with asyncio.timeout(10):
            await wire.drained()
            await reading
        assert wire.connected
        wire.close("enough")
        theirs.close()

    asyncio.run(play())


def test_what_is_sent_together_comes_in_one_piece() -> None:
    async def play() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        wire = Wire(ours)
        with wire.together():
            wire.send(LOUD)
            wire.send(LOUD)
            with pytest.raises(BlockingIOError):
                theirs.recv(1)
        data = theirs.recv(1 << 16)
        first = codec.length(data[: codec.FIXED])
        assert [codec.unpack(data[:first]).serial, codec.unpack(data[first:]).serial] == [1, 2]
        wire.send(LOUD)
        assert codec.unpack(theirs.recv(1 << 16)).serial == 3
        wire.close("enough")
        theirs.close()

    asyncio.run(play())


def test_what_does_not_fit_is_not_sent_and_loses_nothing() -> None:
    async def play() -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        wire = Wire(ours)
        with wire.together():
            wire.send(LOUD)
            with pytest.raises(codec.Unfit):
                wire.send(codec.Message(codec.Kind.SIGNAL, 0, SIGNAL, [1]))
            wire.send(LOUD)
        data = theirs.recv(1 << 16)
        first = codec.length(data[: codec.FIXED])
        assert codec.unpack(data[first:]).body == LOUD.body
        wire.close("enough")
        theirs.close()

    asyncio.run(play())


def _read(sock: socket.socket, size: int) -> None:
    while size > 0:
        size -= len(sock.recv(1 << 16))
