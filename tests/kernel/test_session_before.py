"""Connections that were there before what is asked for now: each stays what it was, or hears that it cannot go on."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from kernel.helpers_sessions import FAMILIES, OF, ROUTERS, SERVER, TCP, UDP, Case
from labkit.agent import eventually

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
OWN_PORT = 7777


@pytest.fixture(scope="module")
def case() -> Iterator[Case]:
    """The post's lab, with no session yet."""
    with Case() as made:
        yield made


@pytest.fixture(autouse=True)
def clean(case: Case) -> Iterator[None]:
    """No session is left."""
    yield
    case.drop()


@contextmanager
def connected(case: Case, opener: str, to: str, family: int) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection that conntrack has not seen: the end of the client, and that of the server."""
    eventually(lambda: "mpathd" not in case.nft("tables"), what="no table is left")
    other = "client" if opener == "server" else "server"
    with ExitStack() as stack:
        listening = stack.enter_context(case.lab.socket(other, FAMILY[family], socket.SOCK_STREAM))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("", OWN_PORT))
        listening.listen()
        sock = stack.enter_context(case.lab.socket(opener, FAMILY[family], socket.SOCK_STREAM))
        sock.settimeout(3)
        sock.connect((to, OWN_PORT))
        accepted = stack.enter_context(listening.accept()[0])
        accepted.settimeout(3)
        yield (sock, accepted) if opener == "client" else (accepted, sock)


def speak(near: socket.socket, first: socket.socket | None) -> None:
    """Say something, after an end that speaks first, and wait for an answer."""
    if first is not None:
        first.send(b"hello")
        near.recv(9)  # the acknowledgement of it may be what is refused
    near.send(b"hello")
    near.recv(9)


@pytest.mark.parametrize("machine_first", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection_from_outside_goes_on(case: Case, family: int, machine_first: bool) -> None:
    """Who makes the first session of everything by ssh is not locked out."""
    with connected(case, "server", OF[family][2], family) as (near, far):
        case.session("all", allowed_interface="vethc2", flow_selectors=["*-*-*"])
        case.reset()
        for _ in range(2):
            one, other = (near, far) if machine_first else (far, near)
            one.send(b"hello")
            assert other.recv(9) == b"hello"
            machine_first = not machine_first
        case.arrived()
    assert case.ways(proto=TCP, sport=OWN_PORT) == ((ROUTERS[2][1], OF[family][2]),)


@pytest.mark.parametrize("machine_first", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection_of_ours_goes_on_by_the_link_of_its_session(case: Case, family: int, machine_first: bool) -> None:
    """Its link is the session's: nothing has to be translated, and its packets are the session's, and counted."""
    with connected(case, "client", SERVER[family], family) as (near, far):
        case.session("all", allowed_interface="vethc1", flow_selectors=["*-*-*"])
        case.reset()
        for _ in range(2):
            one, other = (near, far) if machine_first else (far, near)
            one.send(b"hello")
            assert other.recv(9) == b"hello"
            machine_first = not machine_first
        assert any(map(int, re.findall(r"packets (\d+)", case.nft("set", "inet", "mpathd", "sent"))))


@pytest.mark.parametrize("machine_first", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection_of_ours_by_a_link_that_its_session_may_not_use_ends(
    case: Case, family: int, machine_first: bool
) -> None:
    """Not one packet more leaves by the old link, whoever speaks first, and the socket hears it at once."""
    with connected(case, "client", SERVER[family], family) as (near, far):
        case.session("all", allowed_interface="vethc2", flow_selectors=["*-*-*"])
        case.reset()
        with pytest.raises(ConnectionResetError):
            speak(near, None if machine_first else far)
        case.arrived()
    assert case.ways(proto=TCP, dport=OWN_PORT) == ()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection_that_rests_ends_with_the_use_of_its_link(case: Case, family: int) -> None:
    """The far side is the next to speak, when nobody remembers any more who has opened the connection."""
    with connected(case, "client", SERVER[family], family) as (near, far):
        case.session("all", allowed_interface="vethc1", flow_selectors=["*-*-*"])
        near.send(b"hello")
        assert far.recv(9) == b"hello"
        port, late = near.getsockname()[1], f"late{family}"
        key = f"{SERVER[family]} . tcp . {OWN_PORT} . {port}"
        nft = ["nft", "delete", "element", "inet", "mpathd", late, f"{{ {key} }}"]  # as after 20 s
        case.lab.exec("client", nft)
        case.session("all", allowed_interface="vethc2", flow_selectors=["*-*-*"])
        assert str(port) not in case.nft("set", "inet", "mpathd", late)
        case.reset()
        with pytest.raises(ConnectionResetError):
            speak(near, far)
        case.arrived()
    assert case.ways(proto=TCP, dport=OWN_PORT) == ()


@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_datagrams(case: Case, family: int, outside: bool) -> None:
    """A server's socket that is connected to its client answers by the link that was asked; ours is translated."""
    eventually(lambda: "mpathd" not in case.nft("tables"), what="no table is left")
    own = OF[family][2 if outside else 0]
    with ExitStack() as stack:
        far, near, *servers = (
            stack.enter_context(case.lab.socket(host, FAMILY[family], socket.SOCK_DGRAM))
            for host in ("server", "client", *(["client"] if outside else []))
        )
        for sock in (near, *servers):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((own, OWN_PORT))
        far.bind((SERVER[family], OWN_PORT))
        near.connect((SERVER[family], OWN_PORT))
        case.session("all", allowed_interface="vethc2", flow_selectors=["*-*-*"])
        case.reset()
        near.send(b"hello")
        case.arrived()
    by, source = (3, own) if outside else (2, OF[family][1])
    assert case.ways(proto=UDP, dport=OWN_PORT) == ((ROUTERS[by - 1][1], source),)
