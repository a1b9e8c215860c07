"""A session whose only link goes: not one packet of it by any other link, from loss to return, whatever mpathd does."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest

from kernel.helpers_sessions import (
    BITS,
    FAMILIES,
    FLOW,
    GATEWAY,
    OF,
    OTHER,
    PORT,
    ROUTERS,
    SERVER,
    TCP,
    Case,
    Stream,
)
from kernel.helpers_shared import Engine, both_engines, keeping, lab
from labkit import Packet, in_ns
from labkit.agent import eventually

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
ROOT = 0  # whose sockets the streams are
WHOSE: Mapping[str, Mapping[str, Any]] = {"selectors": {"flow_selectors": FLOW}, "a user": {"users": [ROOT]}}
ENGINES = [("packets", "selectors"), ("packets", "a user"), ("sockets", "selectors")]


def keep_addresses(case: Case) -> None:
    """Have the client's addresses of IPv6 outlive a link that is set down."""
    case.lab.sysctl("client", {"net.ipv6.conf.all.keep_addr_on_down": 1})


shared = lab(keeping, keep_addresses)


def by_second() -> set[tuple[str, str]]:
    """The session's only ways."""
    return {(ROUTERS[1][1], OF[family][1]) for family in FAMILIES}


def _carrier(case: Case) -> None:
    case.carrier(2, up=False, settle=False)


def _admin(case: Case) -> None:
    case.lab.ip("client", "link set vethc2 down")


def _addresses(case: Case) -> None:
    for family in FAMILIES:
        case.lab.ip("client", f"addr del {OF[family][1]}/{BITS[family]} dev vethc2")


def _gateways(case: Case) -> None:
    for family in FAMILIES:
        case.lab.ip("client", f"-{family} route del default via {GATEWAY[family].format(2)} dev vethc2 metric 200")


LOSS: Mapping[str, Callable[[Case], None]] = {
    "carrier": _carrier,
    "set down": _admin,
    "addresses": _addresses,
    "gateways": _gateways,
}


def _return(case: Case) -> None:
    """All is as it was, whatever went."""
    case.lab.ip("r2", "link set vethr2 up")
    case.lab.ip("client", "link set vethc2 up")
    eventually(lambda: "LOWER_UP" in case.lab.ip("client", "link show dev vethc2"), what="carrier of vethc2")
    for family in FAMILIES:
        case.lab.ip("client", f"addr replace {OF[family][1]}/{BITS[family]} dev vethc2")
        eventually(lambda family=family: "tentative" not in case.lab.ip("client", f"-{family} addr show dev vethc2"))  # type: ignore[misc]
        case.lab.ip("client", f"-{family} route replace default via {GATEWAY[family].format(2)} dev vethc2 metric 200")


class Talks:
    """Connected sockets that were opened while the link was there, TCP and UDP of both families, and go on talking.

    Args:
        case: the case.
    """

    def __init__(self, case: Case) -> None:
        self._stack = ExitStack()
        self._sockets: dict[tuple[int, int], socket.socket] = {}
        self.heard: set[int] = set()
        for family in FAMILIES:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                sock = self._stack.enter_context(case.lab.socket("client", FAMILY[family], kind))
                sock.settimeout(3)
                sock.connect((SERVER[family], PORT))
                sock.send(b"hello")
                assert sock.recv(9) == b"hello"
                sock.setblocking(False)
                self._sockets[family, kind] = sock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def say(self) -> None:
        """Say a word on each; what a socket hears about it is its own matter."""
        for sock in self._sockets.values():
            try:
                sock.send(b"word")
            except BlockingIOError:
                continue
            except OSError as error:
                self.heard.add(error.errno or 1)

    @property
    def ports(self) -> set[int]:
        """The ports from which they talk."""
        return {sock.getsockname()[1] for sock in self._sockets.values()}


def sent(case: Case, stream: Stream) -> list[Packet]:
    """What of a stream has arrived at the far side; closed connections of earlier tests still say their last words."""
    found = case.watch.packets(way="in", dport=PORT)
    return [p for p in found if p.proto != TCP or p.sport in stream.ports]


@pytest.mark.parametrize("loss", LOSS)
@pytest.mark.parametrize(("engine", "whose"), ENGINES, indirect=["engine"])
def test_from_loss_to_return_nothing_by_another_link(case: Case, engine: Engine, whose: str, loss: str) -> None:
    """Through a restart that keeps, a kill, and a change of the file; old sockets and new, bound and not."""
    engine.session("only", allowed_interface="vethc2", **WHOSE[whose])
    case.reset()
    sources = [address for family in FAMILIES for address in OF[family]]
    try:
        with Talks(case) as talks, Stream(case, sources=sources) as stream:

            def step() -> None:
                stream.goes_on()
                talks.say()
                case.watch.packets()  # makes room

            step()
            LOSS[loss](case)
            step()
            case.settle()
            step()
            assert case.agent.stop() == 0  # it keeps
            step()
            case.agent.start()
            step()
            case.agent.kill()
            step()
            case.agent.start()
            step()
            case.settle()
            engine.session("only", allowed_interface="vethc2", description="changed", **WHOSE[whose])
            step()
            case.arrived()
            wrong = [str(p) for p in sent(case, stream) if (p.dev, p.src) not in by_second()]
            ports = talks.ports
            talked = {(p.dev, p.src) for p in case.watch.packets(way="in") if p.sport in ports}

            case.watch.clear()
            _return(case)
            for family in FAMILIES:
                case.watch.wait(
                    lambda seen, family=family: any(  # type: ignore[misc]
                        p.way == "in" and p.family == family and p.dport == PORT and p.dev == "vethr2" for p in seen
                    ),
                    8.0,
                )
            case.settle()
            step()
        case.arrived()
        after = {(p.dev, p.src) for p in sent(case, stream)}
    finally:
        _return(case)
        if not case.agent.running:
            case.agent.start()
        case.settle()
    assert wrong == []
    assert talked <= by_second()
    assert after == by_second()
    case.goes((ROUTERS[1][1], OF[4][1]), 4)


@both_engines
@pytest.mark.parametrize("family", FAMILIES)
def test_while_the_link_is_gone_sockets_hear_it_at_once(case: Case, engine: Engine, family: int) -> None:
    """And what is in no session goes on; when the link is back, a new socket goes by it."""
    engine.session("only", allowed_interface="vethc2")
    case.carrier(2, up=False)
    try:
        case.refused(family)
        case.refused(family, source=OF[family][0])
        with engine.outside():
            case.goes((ROUTERS[0][1], OF[family][0]), family, OTHER)
        case.agent.kill()
        case.refused(family, kinds=["sendto", "tcp"])
        case.agent.start()
        case.refused(family, kinds=["sendto", "tcp"])
    finally:
        if not case.agent.running:
            case.agent.start()
        case.carrier(2, up=True)
    case.goes((ROUTERS[1][1], OF[family][1]), family)


def _tries(case: Case, port: int, family: int) -> int | None:
    """How often a connection has tried again to say its last words; None: it has given up.

    What has no way out is no segment sent again for the kernel's counters; the connection's own count has it.
    """
    file = f"/proc/thread-self/net/{'tcp' if family == 4 else 'tcp6'}"
    for line in in_ns(case.lab.ns("client"), Path(file).read_text).splitlines()[1:]:
        words = line.split()
        if words[1].endswith(f":{port:04X}"):
            return int(words[6], 16)
    return None


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("engine", "whose", "bound"),
    [*((*of, bound) for of in ENGINES[:2] for bound in (False, True)), (*ENGINES[2], False)],  # bound it hears an error
    indirect=["engine"],
)
def test_what_a_closed_socket_still_has_to_say(
    case: Case, engine: Engine, bound: bool, whose: str, family: int
) -> None:
    """The kernel sends a closed connection's last words again, when no user owns them any more: they are the session's.

    mpathd is away meanwhile, and forgets the translated connection when it comes back.
    """
    engine.session("only", allowed_interface="vethc2", **WHOSE[whose])
    with case.lab.socket("client", FAMILY[family], socket.SOCK_STREAM) as sock:
        sock.settimeout(3)
        sock.bind((OF[family][0] if bound else "", 0))
        sock.connect((SERVER[family], PORT))
        sock.send(b"hello")
        assert sock.recv(9) == b"hello"
        port = sock.getsockname()[1]
        case.reset()
        case.agent.kill()
        try:
            case.carrier(2, up=False, settle=False)
            sock.send(b"last words")
            sock.close()
            case.agent.start()
            case.settle()
            before = _tries(case, port, family)
            eventually(  # after all was in place
                lambda: before is None or _tries(case, port, family) != before,
                20,  # the kernel doubles its pauses: a slow start may have taken the first five
                "the last words are tried again, or given up",
            )
            case.arrived()
            seen = [str(p) for p in case.watch.packets(way="in", proto=TCP, sport=port) if p.dev != "vethr2"]
        finally:
            case.carrier(2, up=True)
    assert seen == []


@both_engines
def test_a_session_that_begins_while_its_link_is_gone(case: Case, engine: Engine) -> None:
    """It has no old route to go by, and gets its own when the link comes."""
    case.carrier(2, up=False)
    try:
        engine.session("only", allowed_interface="vethc2")
        (mark,) = case.marks()
        for family in FAMILIES:
            case.refused(family)
            assert not [line for line in case.table(mark, family) if re.match("default", line)]
    finally:
        case.carrier(2, up=True)
    for family in FAMILIES:
        case.goes((ROUTERS[1][1], OF[family][1]), family)
