"""Early rules: a session's unbound socket has the right source from its first lookup on, so nothing is translated."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from itertools import count, product
from typing import Any

import pytest

from kernel.helpers_early import CONNECTED, Server, added, connect, early, knows, way
from kernel.helpers_sessions import (
    AT_ONCE,
    FAMILIES,
    FLOW,
    KINDS,
    OF,
    OTHER,
    PORT,
    SERVER,
    TCP,
    TIMED_OUT,
    UPLINKS,
    Case,
)
from kernel.helpers_shared import answers, keeping, lab
from labkit import tcp_connect
from labkit.agent import eventually

USER, GROUP, ROOT = 41201, 42201, 0
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
GATEWAY = {4: ("10.0.1.1", "10.0.2.1", "10.0.3.1"), 6: ("fd00:0:1::1", "fd00:0:2::1", "fd00:0:3::1")}
BITS = {4: 32, 6: 128}
SPORT = 45454
MOST = 32


shared = lab(keeping, answers)


# The source is right from the first lookup on.

SAID: Mapping[str, Any] = {
    "protocol and port": lambda _family: FLOW,
    "range of ports": lambda _family: ["*-*-udp-*-1:7", "*-*-tcp-*-7:99"],
    "destination": lambda family: [f"*-{SERVER[family]}-*"],
    "prefix": lambda family: [f"*-{'192.0.2.0/24' if family == 4 else '2001:db8:9::/64'}-*"],
    "protocol": lambda _family: ["*-*-udp", "*-*-tcp"],
    "source port": lambda _family: [f"*-*-udp-{SPORT}-*", f"*-*-tcp-{SPORT}-*"],
    "all fields": lambda family: [f"*-{SERVER[family]}-{p}-{SPORT}-{PORT}" for p in ("udp", "tcp")],
    "everything": lambda _family: ["*-*-*"],
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("selector", SAID)
def test_an_unbound_socket_knows_its_source(case: Case, selector: str, family: int) -> None:
    """Main would take the first link: connect() asks by the session's table."""
    case.session("s", allowed_interface="vethc2", flow_selectors=SAID[selector](family))

    if selector in {"source port", "all fields"}:  # one kind of TCP: a closed connection keeps its port for a while
        knows(case, way(2, family), family, kinds=["udp", "tcp"], sport=SPORT)
        return
    knows(case, way(2, family), family)
    case.goes(way(2, family), family)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 3])
def test_by_each_link(case: Case, number: int, family: int) -> None:
    case.session("s", allowed_interface=UPLINKS[number - 1], flow_selectors=FLOW)

    knows(case, way(number, family), family)
    knows(case, way(1, family), family, OTHER)


@pytest.mark.parametrize("family", FAMILIES)
def test_wherever_main_leads(case: Case, family: int) -> None:
    """Main's best default is neither the session's service nor a member."""
    best = f"-{family} route add default via {GATEWAY[family][2]} dev vethc3 metric 1"
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    case.lab.ip("client", best)
    try:
        case.settle()
        knows(case, way(2, family), family)
        knows(case, way(3, family), family, OTHER)
    finally:
        case.lab.ip("client", best.replace(" add ", " del "))
        case.settle()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_user(case: Case, family: int) -> None:
    case.session("u", users=[USER], allowed_interface="vethc2")

    knows(case, way(2, family), family, OTHER, user=USER)
    knows(case, way(1, family), family, OTHER, ["udp", "tcp"], user=USER + 1)
    knows(case, way(1, family), family, OTHER)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_group_is_right_by_translation(case: Case, family: int) -> None:
    """No rule can say a group: the way is right, the socket thinks otherwise."""
    case.settle()
    before = early(case, family)
    case.session("g", groups=[GROUP], allowed_interface="vethc2")

    for kind in ("udp", "tcp"):
        told = connect(case, kind, family, OTHER, group=GROUP)
        assert (told.ways, told.error, told.answered) == ((way(2, family),), 0, True)
    assert not added(case, family, before)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_source_selector_means_bound_sockets(case: Case, family: int) -> None:
    case.session("s", allowed_bearers=["ethernet"], flow_selectors=[f"{OF[family][2]}-*-*"])

    knows(case, way(3, family), family, source=OF[family][2])  # a member's address
    knows(case, way(1, family), family)
    knows(case, way(2, family), family, source=OF[family][1])  # not the session's, but the link's own


# Bound sockets.


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("whose", [{"flow_selectors": FLOW}, {"users": [ROOT]}], ids=["selectors", "a user"])
def test_bound_to_a_member_it_keeps_its_link(case: Case, whose: Mapping[str, Any], family: int) -> None:
    case.session("s", allowed_bearers=["ethernet"], **whose)

    for number in (1, 2, 3):
        knows(case, way(number, family), family, source=OF[family][number - 1])
        case.goes(way(number, family), family, source=OF[family][number - 1], device=UPLINKS[number - 1])


@pytest.mark.parametrize("family", FAMILIES)
def test_bound_elsewhere_as_before(case: Case, family: int) -> None:
    """To an address it is translated to the default service, to a device nothing leaves."""
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)

    case.goes(way(2, family), family, source=OF[family][2])
    for kind in KINDS:
        went = case.reach(kind, family, device="vethc3", answer=kind in {"tcp", "mptcp"})
        assert went.ways == (), kind
        assert went.error, kind


@pytest.mark.parametrize("family", FAMILIES)
def test_mains_host_route(case: Case, family: int) -> None:
    """By a member it is followed, with that link's source; by a link that the session may not use nothing leaves."""
    route = f"-{family} route add {SERVER[family]}/{BITS[family]} via {GATEWAY[family][2]} dev vethc3"
    case.session("s", allowed_bearers=["ethernet"], flow_selectors=FLOW)
    case.lab.ip("client", route)
    try:
        case.settle()
        knows(case, way(3, family), family)
        case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
        for kind in CONNECTED:
            told = connect(case, kind, family)
            assert told.ways == (), kind
            assert told.error, kind
        knows(case, way(3, family), family, OTHER)
    finally:
        case.lab.ip("client", route.replace(" add ", " del "))
        case.settle()


@pytest.mark.parametrize("usable", [True, False], ids=["service", "no service"])
def test_a_users_server_answers_by_the_link_that_was_asked(case: Case, usable: bool) -> None:
    """Its listening sockets are bound to no address, and are the session's user's."""
    case.session("u", users=[USER], allowed_interface="vethc2" if usable else "nosuch0")
    with Server(case, 8088, USER):
        for family in FAMILIES:
            for own in OF[family]:
                assert tcp_connect(case.lab, "server", own, 8088, payload=b"in").reply == b"in"
        case.arrived()
    assert set(case.ways(proto=TCP, sport=8088)) == {way(n, family) for n in (1, 2, 3) for family in FAMILIES}


# Without a service.


@pytest.mark.parametrize("whose", [{"flow_selectors": FLOW}, {"users": [ROOT]}], ids=["selectors", "a user"])
def test_without_a_service_connecting_fails_at_once(case: Case, whose: Mapping[str, Any]) -> None:
    case.session("s", allowed_interface="nosuch0", **whose)

    for family, kind in product(FAMILIES, CONNECTED):
        for source in ("", *OF[family]):
            told = connect(case, kind, family, source=source)
            assert (told.ways, told.answered) == ((), False)
            assert told.error not in {0, TIMED_OUT}, f"{kind} within {AT_ONCE} s"
            assert kind == "udp" or not told.source  # connect() itself says so


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_service_by_main(case: Case, family: int) -> None:
    case.session("s", allowed_interface="vethc2", without_service="main", flow_selectors=FLOW)
    knows(case, way(2, family), family)

    case.carrier(2, up=False)
    try:
        knows(case, way(1, family), family)
    finally:
        case.carrier(2, up=True)
    knows(case, way(2, family), family)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_family_without_a_service(case: Case, family: int) -> None:
    lacks = 10 - family
    default = f"-{lacks} route del default via {GATEWAY[lacks][1]} dev vethc2 metric 200"
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    case.lab.ip("client", default)
    try:
        case.settle()
        knows(case, way(2, family), family)
        for kind in CONNECTED:
            told = connect(case, kind, lacks)
            assert (told.ways, told.error in {0, TIMED_OUT}) == ((), False)
        knows(case, way(1, lacks), lacks, OTHER)
    finally:
        case.lab.ip("client", default.replace(" del ", " add "))
        case.settle()


# Main's best link without carrier: its default stays, and would give an unbound socket the source of a dead link.


@pytest.mark.parametrize("lost", [[1], [1, 2]], ids=["the best", "two"])
@pytest.mark.parametrize("whose", [{"flow_selectors": FLOW}, {"users": [ROOT]}], ids=["selectors", "a user"])
def test_sockets_of_a_session_do_not_care_about_mains_dead_default(
    case: Case, whose: Mapping[str, Any], lost: list[int]
) -> None:
    case.session("s", allowed_bearers=["ethernet"], **whose)
    for family in FAMILIES:
        knows(case, way(1, family), family)
    try:
        for number in lost:
            case.carrier(number, up=False)
            for family in FAMILIES:
                knows(case, way(number + 1, family), family)
                case.goes(way(number + 1, family), family)
        assert "linkdown" in case.lab.ip("client", "-4 route show default")  # what it is about
        for number in reversed(lost):
            case.carrier(number, up=True)
            for family in FAMILIES:
                knows(case, way(number, family), family)
    finally:
        for number in lost:
            case.carrier(number, up=True)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("whose", [{"flow_selectors": FLOW}, {"users": [ROOT]}], ids=["selectors", "a user"])
def test_an_unbound_connected_socket_works_again(case: Case, whose: Mapping[str, Any], family: int) -> None:
    """Both uplinks in use lose their carrier and get it back.

    It took its source when it was connected, and keeps it: meanwhile it goes by the third link with that link's source,
    or not at all, as a bound socket. A new one goes by the third link at once.
    """
    case.session("s", allowed_bearers=["ethernet"], **whose)
    texts = count(1)

    def told(number: int) -> bool:
        text = f"again {family} {next(texts)}".encode()
        try:
            sock.send(text)
            answered = sock.recv(99) == text
        except OSError:  # an error of an earlier packet
            answered = False
        if not answered:
            case.arrived()
        ways = case.ways(payload=text)
        assert set(ways) <= {way(number, family)}
        return answered

    with case.lab.socket("client", FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.settimeout(AT_ONCE)
        sock.connect((SERVER[family], PORT))
        assert told(1)
        try:
            for number in (1, 2):
                case.carrier(number, up=False)
            told(3)
            knows(case, way(3, family), family)
            told(3)
        finally:
            for number in (1, 2):
                case.carrier(number, up=True)
        assert eventually(lambda: told(1), what="it goes by the first one again")
        assert sock.getsockname()[0] == OF[family][0]
        knows(case, way(1, family), family)
