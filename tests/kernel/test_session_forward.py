"""Forwarded traffic: sessions of what a router passes on, and answers to what came in by one of its links."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from kernel.helpers_forward import LAN, PC, ROUTER, WANS, Home, lan
from kernel.helpers_sessions import FAMILIES, FLOW, KINDS, OTHER, PORT, SERVER, TCP, UDP, Went
from kernel.helpers_shared import lab
from labkit import Echo, ping, tcp_connect

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
GATEWAYS = {4: ("172.16.1.1", "172.16.2.1"), 6: ("fd00:16:1::1", "fd00:16:2::1")}
OUTSIDE = 8080  # port that is forwarded
EVERYTHING = ["*-*-*"]


def furnish(case: Home) -> None:
    """Have servers behind the router, and at it."""
    for host in ("pc1", "pc2", "router"):
        case.enter(Echo(case.lab, host, PORT))


shared = lab(Home, furnish)


def plain(family: int, host: str = "pc1") -> tuple[str, str]:
    """The way without a session: main's, not translated."""
    return "isp1", PC[host][family]


def way(number: int, family: int) -> tuple[str, str]:
    """The way of a session: by a provider, from the router's address there."""
    return f"isp{number}", WANS[family][number - 1]


# Selectors match what is forwarded.


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sessions_forwarded_traffic_is_translated(case: Home, family: int) -> None:
    case.session("s", allowed_interface="wan2", flow_selectors=FLOW)

    case.forwards(way(2, family), family, PORT)
    case.forwards(plain(family), family, OTHER)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 2])
def test_by_each_link(case: Home, number: int, family: int) -> None:
    """Also by the one that main would take: the session's traffic has the service's address there."""
    case.session("s", allowed_interface=f"wan{number}", flow_selectors=FLOW)

    case.forwards(way(number, family), family, PORT, ["udp", "tcp"])


@pytest.mark.parametrize("family", FAMILIES)
def test_two_hosts_with_one_port(case: Home, family: int) -> None:
    """Their connections from the same port to the same place are told apart, and each has its answers."""
    case.session("s", allowed_interface="wan2", flow_selectors=FLOW)

    with case.lab.socket("pc1", FAMILY[family], socket.SOCK_DGRAM) as one:
        one.settimeout(3)
        one.bind(("", 5555))
        one.connect((SERVER[family], PORT))
        one.send(b"one")
        assert one.recv(9) == b"one"
        assert case.call("udp", family, PORT, host="pc2", sport=5555) == Went((way(2, family),), 0, answered=True)
        one.send(b"again")
        assert one.recv(9) == b"again"
    assert set(case.ways(dport=PORT, proto=UDP)) == {way(2, family)}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_selector_of_the_lans_addresses(case: Home, family: int) -> None:
    """What the router itself says has another source, and stays out of it."""
    case.session("s", allowed_interface="wan2", flow_selectors=[f"{LAN[family]}-*-*"])

    case.forwards(way(2, family), family, PORT)
    case.forwards(way(2, family), family, OTHER)
    case.goes(("isp1", WANS[family][0]), family)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_selector_of_one_host(case: Home, family: int) -> None:
    case.session("s", allowed_interface="wan2", flow_selectors=[f"{PC['pc2'][family]}-*-*"])

    case.forwards(way(2, family), family, PORT, host="pc2")
    case.forwards(plain(family), family, PORT, host="pc1")


@pytest.mark.parametrize("family", FAMILIES)
def test_pings_of_the_lan(case: Home, family: int) -> None:
    case.session("s", allowed_interface="wan2", flow_selectors=[f"*-*-{'icmp' if family == 4 else 'icmpv6'}"])

    assert ping(case.lab, "pc1", SERVER[family]).ok
    assert case.ways(proto=1 if family == 4 else 58, dst=SERVER[family]) == (way(2, family),)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("whose", [{"users": [0]}, {"groups": [0]}], ids=["a user", "a group"])
def test_users_and_groups_are_the_routers_own(case: Home, whose: Mapping[str, Any], family: int) -> None:
    """What is forwarded has no user, not even root."""
    case.session("s", allowed_interface="wan2", **whose)

    case.forwards(plain(family), family, PORT)
    case.goes(way(2, family), family)


# Without a service.


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_service_it_is_refused(case: Home, family: int) -> None:
    case.session("s", allowed_bearers=["cellular"], flow_selectors=FLOW)

    case.refuses(family, PORT)
    case.forwards(plain(family), family, OTHER)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_service_by_main(case: Home, family: int) -> None:
    case.session("s", allowed_bearers=["cellular"], without_service="main", flow_selectors=FLOW)

    case.forwards(plain(family), family, PORT)


@pytest.mark.parametrize("family", FAMILIES)
def test_when_its_link_goes_nothing_leaves_by_the_other(case: Home, family: int) -> None:
    case.session("s", allowed_interface="wan2", flow_selectors=FLOW)
    case.forwards(way(2, family), family, PORT, ["udp"])
    case.carrier(2, up=False)
    try:
        case.refuses(family, PORT)
    finally:
        case.carrier(2, up=True)
        for line in ("10.1.2.1", "fd00:1:2::1"):
            case.lab.ip("router", f"-{6 if ':' in line else 4} route replace default via {line} dev wan2 metric 200")
        for each in FAMILIES:
            case.lab.ip("isp2", f"-{each} route replace {LAN[each]} via {WANS[each][1]}")  # went with the link
        case.settle()
    case.forwards(way(2, family), family, PORT)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_flow_moves_with_its_session(case: Home, family: int) -> None:
    """What was translated for the old link is translated anew for the new one."""
    case.session("s", allowed_interface="wan2", flow_selectors=FLOW)
    with case.lab.socket("pc1", FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        sock.connect((SERVER[family], PORT))
        for number in (2, 1, 2):
            case.session("s", allowed_interface=f"wan{number}", flow_selectors=FLOW)
            text = f"by {number}".encode()
            case.watch.clear()
            sock.send(text)
            assert sock.recv(9) == text
            assert case.ways(payload=text, dst=SERVER[family]) == (way(number, family),)


# What is not a session's.


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("usable", [True, False], ids=["service", "no service"])
def test_the_lan_among_itself_and_with_the_router(case: Home, usable: bool, family: int) -> None:
    case.session("s", allowed_interface="wan2" if usable else "nosuch0", flow_selectors=EVERYTHING)
    with lan(case) as inside:
        for kind in KINDS:
            for host, to in (("pc1", PC["pc2"]), ("pc1", ROUTER), ("router", PC["pc1"]), ("pc2", PC["pc1"])):
                went = _inside(case, kind, host, to[family])
                assert went == Went((), 0, answered=True), (kind, host)
        sources = {p.src for p in inside.packets(way="in", dport=PORT, proto=UDP, family=family)}
    assert sources == {ROUTER[family], *(PC[pc][family] for pc in PC)}
    assert case.ways(dport=PORT) == ()


def _inside(case: Home, kind: str, host: str, to: str) -> Went:
    if host == "router":
        return case.reach(kind, to)
    return case.call(kind, to, PORT, host=host)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("usable", [True, False], ids=["service", "no service"])
def test_connections_to_the_router_from_outside(case: Home, usable: bool, number: int, family: int) -> None:
    case.session("s", allowed_interface="wan2" if usable else "nosuch0", flow_selectors=EVERYTHING)
    own = WANS[family][number - 1]

    assert tcp_connect(case.lab, "server", own, PORT, payload=b"in").reply == b"in"
    case.arrived()
    assert case.ways(proto=TCP, sport=PORT) == ((f"isp{number}", own),)


# Answers by the link that the question came in by.

SESSIONS: Mapping[str, Mapping[str, Any]] = {
    "no session": {},
    "a session elsewhere": {"allowed_interface": "wan1", "flow_selectors": EVERYTHING},
    "a session there": {"allowed_interface": "wan2", "flow_selectors": EVERYTHING},
    "a session without a service": {"allowed_interface": "nosuch0", "flow_selectors": EVERYTHING},
}
NAT = """
table inet khforward {{
    chain incoming {{
        type nat hook prerouting priority dstnat;
        iifname "wan2" meta l4proto {{ tcp, udp }} th dport {port} dnat ip to {pc4}:{own}
        iifname "wan2" meta l4proto {{ tcp, udp }} th dport {port} dnat ip6 to [{pc6}]:{own}
    }}
}}
"""


@pytest.fixture
def forward(case: Home) -> Iterator[Home]:
    """The admin forwards a port of wan2 to a host behind."""
    text = NAT.format(port=OUTSIDE, own=PORT, pc4=PC["pc1"][4], pc6=PC["pc1"][6])
    case.lab.exec("router", ["nft", "-f", "-"], input=text)
    yield case
    case.lab.exec("router", ["nft", "delete", "table", "inet", "khforward"])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["udp", "tcp"])
@pytest.mark.parametrize("session", SESSIONS)
def test_a_port_forward_is_answered_by_its_link(forward: Home, session: str, kind: str, family: int) -> None:
    case = forward
    if SESSIONS[session]:
        case.session("s", **SESSIONS[session])
    else:
        case.settle()

    went = case.call(kind, WANS[family][1], OUTSIDE, host="server", answer=True)

    assert (went.error, went.answered) == (0, True)
    case.arrived()
    assert case.ways(sport=OUTSIDE, proto=TCP if kind == "tcp" else UDP) == (("isp2", WANS[family][1]),)


@pytest.fixture
def public(case: Home) -> Iterator[Home]:
    """The world knows the way to the LAN by the second provider."""
    for gateways, text in ((GATEWAYS[4], LAN[4]), (GATEWAYS[6], LAN[6])):
        case.lab.ip("server", f"route replace {text} via {gateways[1]}")
    yield case
    for gateways, text in ((GATEWAYS[4], LAN[4]), (GATEWAYS[6], LAN[6])):
        case.lab.ip("server", f"route replace {text} via {gateways[0]}")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["udp", "tcp"])
@pytest.mark.parametrize("session", SESSIONS)
def test_a_host_with_a_public_address_answers_by_the_link(public: Home, session: str, kind: str, family: int) -> None:
    case = public
    if SESSIONS[session]:
        case.session("s", **SESSIONS[session])
    else:
        case.settle()
    to = PC["pc1"][family]

    went = case.call(kind, to, PORT, host="server", answer=True)

    assert (went.error, went.answered) == (0, True)
    case.arrived()
    assert case.ways(sport=PORT, src=to) == (("isp2", to),)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_closed_port_behind_answers_by_the_link(public: Home, family: int) -> None:
    """A reset of the host, and its ICMP."""
    case = public
    case.session("s", allowed_interface="wan1", flow_selectors=EVERYTHING)
    to = PC["pc1"][family]

    assert tcp_connect(case.lab, "server", to, 4242).error == 111
    with case.lab.socket("server", FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        sock.connect((to, 4242))
        sock.send(b"nobody?")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(9)
    case.arrived()
    assert set(case.ways(src=to)) == {("isp2", to)}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection_from_outside_lives_through_a_restart(public: Home, family: int) -> None:
    """Each answer goes by its link, also while mpathd is killed and when it starts again."""
    case = public
    case.session("s", allowed_interface="wan1", flow_selectors=EVERYTHING)
    with case.lab.socket("server", FAMILY[family], socket.SOCK_STREAM) as sock:
        sock.settimeout(3)
        sock.connect((PC["pc1"][family], PORT))

        def works() -> None:
            sock.send(b"ls")
            assert sock.recv(9) == b"ls"

        works()
        case.agent.kill()
        works()
        case.agent.start()
        case.settle()
        works()
        case.session("s", allowed_interface="nosuch0", flow_selectors=EVERYTHING)
        works()
        case.arrived()
    assert case.ways(sport=PORT, proto=TCP, src=PC["pc1"][family]) == (("isp2", PC["pc1"][family]),)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_manuals_router_with_two_uplinks(case: Home, family: int) -> None:
    """The example as it stands in mpathd-policy(5): by wan2, by main's way while that is down, and by wan2 again."""
    page = (Path(__file__).resolve().parents[2] / "docs/man/mpathd-policy.5.rst").read_text()
    lines = page[page.index("    [session.video]") :].splitlines()
    case.put("video.toml", dedent("\n".join(takewhile(lambda line: not line or line.startswith(" "), lines))))
    case.settle()

    case.forwards(way(2, family), family, PORT)
    case.carrier(2, up=False)
    case.forwards(plain(family), family, PORT)
    case.carrier(2, up=True)
    case.forwards(way(2, family), family, PORT)
