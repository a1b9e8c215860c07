"""What an ended session's sockets have begun goes on as without a session, while others' sessions go on."""

from __future__ import annotations

import socket

import pytest

from kernel.helpers_sessions import FAMILIES, OF, PORT, ROUTERS, SERVER, Case
from kernel.helpers_shared import Engine, both_engines, lab

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
KINDS = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}
SOON = 3.0  # seconds; a TCP segment that is lost is sent again after 0.2, 0.6 and 1.4

shared = lab()


def word(sock: socket.socket, text: bytes) -> bytes:
    """Say something and give the answer."""
    sock.send(text)
    return sock.recv(64)


@both_engines
@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_conversation_outlives_its_session(case: Case, engine: Engine, family: int, kind: str, bound: bool) -> None:
    """A socket that is not bound has its source from the session; the link of that source is still there."""
    case.session("other", flow_selectors=["*-*-udp-*-9999"])
    engine.session("talk", allowed_interface="vethc2")
    with case.lab.socket("client", FAMILY[family], KINDS[kind]) as sock:
        sock.settimeout(SOON)
        if bound:
            sock.bind((OF[family][1], 0))
        sock.connect((SERVER[family], PORT))
        assert word(sock, b"within") == b"within"
        case.reset()
        case.drop("talk")

        assert word(sock, b"without") == b"without"

        assert set(case.ways(sport=sock.getsockname()[1])) == {(ROUTERS[1][1], OF[family][1])}
