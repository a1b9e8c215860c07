"""The connection against buses that are not there, say nothing, or say the wrong thing."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ctl.program import run
from mpathd import codec
from mpathd.codec import Kind, Message
from mpathd.ctl import wire
from mpathd.ctl.client import Client
from mpathd.ctl.errors import ABSENT, FAILED, Absent, Late, status
from mpathd.ctl.wire import Wire

SHORT = 0.05  # seconds of patience where nothing will ever come


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("unix:path=/run/dbus/system_bus_socket", ["/run/dbus/system_bus_socket"]),
        ("unix:path=/tmp/a%20b%2cc,guid=12", ["/tmp/a b,c"]),
        ("unix:guid=12,abstract=/tmp/x", ["\0/tmp/x"]),
        ("tcp:host=localhost,port=1;unix:path=/a;unix:path=/b", ["/a", "/b"]),
    ],
)
def test_addresses(address: str, found: list[str]) -> None:
    assert wire.places(address) == found


@pytest.mark.parametrize("address", ["/run/dbus/system_bus_socket", "tcp:host=localhost,port=1", "unix:path=", ";"])
def test_an_address_without_a_unix_socket_is_refused_with_the_way_to_write_it(address: str) -> None:
    with pytest.raises(Absent) as caught:
        wire.places(address)
    assert str(caught.value) == (
        f"bus address '{address}' names no Unix socket\n"
        "  write DBUS_SYSTEM_BUS_ADDRESS as unix:path=/run/dbus/system_bus_socket"
    )
    assert status(caught.value) == ABSENT


def test_a_bus_that_is_not_there() -> None:
    with pytest.raises(Absent) as caught:
        Wire.open("unix:path=/nonexistent/a;unix:path=/nonexistent/b")
    assert str(caught.value) == (
        "the bus cannot be reached at unix:path=/nonexistent/a;unix:path=/nonexistent/b: No such file or directory\n"
        "  start dbus, or name another bus in DBUS_SYSTEM_BUS_ADDRESS"
    )


Play = Callable[[socket.socket], None]


@contextmanager
def bus(folder: Path, play: Play) -> Iterator[str]:
    """Something that listens where a bus should be; gives its address.

    Args:
        folder: where the socket goes.
        play: gets the connection, in a thread; the connection is closed when it returns.
    """
    place = folder / "bus"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen(1)

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                play(peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"unix:path={place}"
        thread.join(10)
        assert not thread.is_alive()


def welcome(peer: socket.socket, serial: int = 1) -> None:
    """Let the client in, and answer Hello."""
    assert peer.recv(512) == b"\0AUTH EXTERNAL\r\nDATA\r\n"
    peer.sendall(b"DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n")
    hello = b""
    while b"Hello" not in hello:
        hello += peer.recv(4096)
    fields = {codec.REPLY: serial, codec.SENDER: wire.DRIVER, codec.SIGNATURE: "s"}
    peer.sendall(codec.pack(Message(Kind.ANSWER, 1, fields, (":1.7",))))


def until_closed(peer: socket.socket) -> None:
    """Take everything and say nothing."""
    try:
        while peer.recv(4096):
            pass
    except ConnectionError:
        pass


def test_a_bus_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with bus(tmp_path, until_closed) as address, pytest.raises(Absent, match="it does not answer"):
        Wire.open(address, SHORT)


def test_a_bus_that_lets_in_and_then_is_silent_is_given_up(tmp_path: Path) -> None:
    def play(peer: socket.socket) -> None:
        peer.sendall(b"OK 0123\r\n")
        until_closed(peer)

    with bus(tmp_path, play) as address, pytest.raises(Absent, match="it does not answer"):
        Wire.open(address, SHORT)


def test_a_bus_that_drips_is_given_up_all_the_same(tmp_path: Path) -> None:
    """Patience is for the whole, not for each byte."""

    def play(peer: socket.socket) -> None:
        try:
            while True:
                peer.sendall(b"x")
        except OSError:
            pass

    with bus(tmp_path, play) as address, pytest.raises(Absent, match="it does not answer"):
        Wire.open(address, SHORT)


def test_a_bus_that_is_full_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(str(tmp_path / "bus"))
        listener.listen(0)
        first.connect(str(tmp_path / "bus"))
        with pytest.raises(Absent, match="it does not answer"):
            Wire.open(f"unix:path={tmp_path}/bus", SHORT)


def test_a_bus_that_does_not_know_us(tmp_path: Path) -> None:
    def play(peer: socket.socket) -> None:
        peer.sendall(b"REJECTED EXTERNAL\r\n")
        until_closed(peer)

    with bus(tmp_path, play) as address, pytest.raises(Absent, match="it does not know us"):
        Wire.open(address)


def test_the_second_address_is_tried_when_the_first_fails(tmp_path: Path) -> None:
    def play(peer: socket.socket) -> None:
        welcome(peer)
        until_closed(peer)

    with bus(tmp_path, play) as address:
        Wire.open(f"unix:path=/nonexistent;{address}").close()


def test_a_bus_that_hangs_up(tmp_path: Path) -> None:
    with bus(tmp_path, welcome) as address:
        client = Client(Wire.open(address))
        with pytest.raises(Absent, match=r"hung up|Broken pipe|reset"):
            client.services()


def test_a_daemon_that_never_answers_is_given_up_with_a_place_to_look(tmp_path: Path) -> None:
    def play(peer: socket.socket) -> None:
        welcome(peer)
        until_closed(peer)

    with bus(tmp_path, play) as address:
        client = Client(Wire.open(address))
        start = time.monotonic()
        with pytest.raises(Late) as caught:
            client.services(SHORT)
        assert time.monotonic() - start < 5
        client.wire.close()
    assert str(caught.value) == (
        "mpathd did not answer GetServices within 0.05 s\n  look at: systemctl status mpathd, journalctl -u mpathd"
    )
    assert status(caught.value) == FAILED


def test_what_is_not_the_answer_is_no_answer(tmp_path: Path) -> None:
    """Answers to other calls, calls to us, and kinds of message that are yet to be invented."""

    def play(peer: socket.socket) -> None:
        welcome(peer)
        peer.recv(4096)
        path = {codec.PATH: "/x", codec.INTERFACE: "x.y", codec.MEMBER: "Z"}
        answer = {codec.REPLY: 2, codec.SIGNATURE: "a(oa{sv})"}
        messages = (
            Message(Kind.ANSWER, 2, {codec.REPLY: 99, codec.SIGNATURE: "s"}, ("no",)),
            Message(Kind.CALL, 3, path),
            Message(9, 4, path),
            Message(Kind.SIGNAL, 5, path),
            Message(Kind.ANSWER, 6, answer, ([("/net/mpathd/service/a", {"Interface": codec.Variant("s", "b")})],)),
            Message(Kind.CALL, 7, path, (), 1),
        )
        data = b"".join(map(codec.pack, messages))
        for start in range(0, len(data), 7):
            peer.sendall(data[start : start + 7])
        until_closed(peer)

    with bus(tmp_path, play) as address:
        client = Client(Wire.open(address))
        (service,) = client.services()
        assert (service.id, service.interface) == ("a", "b")
        signal = client.wire.signal(0)
        assert signal is not None
        assert signal.serial == 5, "a signal that came meanwhile is kept"
        call = client.wire.signal(5)
        assert call is not None
        assert call.serial == 7, "a call that wants no answer only tells something"
        client.wire.close()


def test_an_answer_that_cannot_be_read_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    def play(peer: socket.socket) -> None:
        welcome(peer)
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        until_closed(peer)

    with bus(tmp_path, play) as address:
        result = run(address, "services")
    assert result.code == FAILED
    assert result.err == f"mpathctl: the bus at {address} sent what cannot be read: what came is no D-Bus message\n"


def test_an_answer_of_other_types_than_expected_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    """As from a daemon of another age."""

    def play(peer: socket.socket) -> None:
        welcome(peer)
        peer.recv(4096)
        row = ("/net/mpathd/service/a", {"Letters": codec.Variant("u", 5)})
        peer.sendall(codec.pack(Message(Kind.ANSWER, 6, {codec.REPLY: 2, codec.SIGNATURE: "a(oa{sv})"}, ([row],))))
        until_closed(peer)

    with bus(tmp_path, play) as address:
        result = run(address, "services")
    assert result.code == FAILED
    assert result.err.startswith("mpathctl: this should not have happened: AttributeError: ")
    assert "report it" in result.err


def test_the_bus_is_the_one_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS", raising=False)
    assert wire.address() == "unix:path=/run/dbus/system_bus_socket"
    monkeypatch.setitem(os.environ, "DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/x")
    assert wire.address() == "unix:path=/x"
