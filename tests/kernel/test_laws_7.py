"""Law 7: replies leave by the link the request came in on, for addresses of multipath-routed services."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from kernel.conftest import FAMILIES, PORT, SERVER, Tries, fresh_name
from labkit import Echo, Lab, Outcome, Packet, Watch, send_udp, tcp_connect
from labkit.agent import Agent

CLIENT = {4: {n: f"10.0.{n}.2" for n in (1, 2, 3)}, 6: {n: f"fd00:0:{n}::2" for n in (1, 2, 3)}}
GATEWAY = {4: "10.0.{n}.1", 6: "fd00:0:{n}::1"}
CLOSED = 4444
# How the machine is set: nothing special; a filter that drops what the answer would not leave by; main with one
# default only, so that nothing but mpathd knows the other gateways.
SETTINGS = ("plain", "strict", "one default")


@pytest.fixture(scope="module", params=SETTINGS)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The post's lab with mpathd in the client, which serves; main's best default is the first link."""
    config = ""
    with ExitStack() as stack:
        made = stack.enter_context(Lab("three-uplinks", fresh_name(), quiet=True))
        if request.param == "strict":
            made.sysctl(
                "client", {f"net.ipv4.conf.{dev}.rp_filter": 1 for dev in ("all", "vethc1", "vethc2", "vethc3")}
            )
        if request.param == "one default":
            for family in FAMILIES:
                for number in (2, 3):
                    made.ip("client", f"-{family} route del default dev vethc{number}")
            gateways = {n: ", ".join(f'"{GATEWAY[family].format(n=n)}"' for family in FAMILIES) for n in (2, 3)}
            config = f"[sources]\nstatic = {{ vethc2 = [{gateways[2]}], vethc3 = [{gateways[3]}] }}\n"
        stack.enter_context(Agent(made, "client", ["--mpathrouting"], config=config))
        stack.enter_context(Echo(made, "client", PORT))
        stack.enter_context(Echo(made, "server", PORT))
        yield made


@pytest.fixture
def watch(lab: Lab) -> Iterator[Watch]:
    """The far sides of the three uplinks."""
    with Watch(lab, [(f"r{n}", f"vethr{n}") for n in (1, 2, 3)]) as made:
        yield made


def _replies(watch: Watch, asked: str) -> list[Packet]:
    return [packet for packet in watch.packets(way="in") if packet.src == asked]


def _back_by(watch: Watch, asked: str) -> set[str]:
    """Where the far sides saw packets from the address that was asked."""
    return {packet.dev for packet in _replies(watch, asked)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_answers_take_the_way_back(lab: Lab, watch: Watch, number: int, family: int) -> None:
    asked = CLIENT[family][number]
    tries = Tries(lab, watch, host="server")
    for kind in ("udp", "tcp", "ping"):
        watch.clear()

        went = getattr(tries, kind)(asked, SERVER[family])

        assert (went.error, went.answered) == (0, True), kind
        assert _back_by(watch, asked) == {f"vethr{number}"}, kind


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_accepted_connection_stays_on_its_link(lab: Lab, watch: Watch, number: int, family: int) -> None:
    # The listener is bound to no address; the accepted socket speaks first, and a lot.
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with ExitStack() as stack:
        listener = stack.enter_context(lab.socket("client", kind, socket.SOCK_STREAM))
        listener.bind(("", 0))
        listener.listen()
        listener.settimeout(5)
        caller = stack.enter_context(lab.socket("server", kind, socket.SOCK_STREAM))
        caller.bind((SERVER[family], 0))
        caller.settimeout(5)
        caller.connect((CLIENT[family][number], listener.getsockname()[1]))
        accepted = stack.enter_context(listener.accept()[0])
        accepted.settimeout(5)
        accepted.sendall(bytes(50_000))
        left = 50_000
        while left:
            left -= len(caller.recv(65536))
    assert _back_by(watch, CLIENT[family][number]) == {f"vethr{number}"}
    assert len(_replies(watch, CLIENT[family][number])) > 3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_refusals_take_the_way_back(lab: Lab, watch: Watch, number: int, family: int) -> None:
    # Nobody listens: the kernel itself answers, with a reset and with an ICMP error.
    asked = CLIENT[family][number]

    reset: Outcome = tcp_connect(lab, "server", asked, CLOSED, SERVER[family])
    send_udp(lab, "server", asked, CLOSED, SERVER[family])

    assert reset.error == 111
    watch.wait(lambda _: any(packet.proto in {1, 58} for packet in _replies(watch, asked)))
    assert _back_by(watch, asked) == {f"vethr{number}"}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_neighbour_is_answered_on_its_link(lab: Lab, watch: Watch, number: int, family: int) -> None:
    asked = CLIENT[family][number]
    tries = Tries(lab, watch, host=f"r{number}")
    assert [getattr(tries, kind)(asked).answered for kind in ("udp", "tcp", "ping")] == [True, True, True]
    assert _back_by(watch, asked) == {f"vethr{number}"}
