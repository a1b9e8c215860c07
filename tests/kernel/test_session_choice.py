"""Whose traffic a session is, and by which service it goes: users, overlaps, bearers, switches."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from kernel.helpers_early import way
from kernel.helpers_sessions import (
    FAMILIES,
    FLOW,
    OF,
    OTHER,
    PORT,
    SERVER,
    UPLINKS,
    Case,
    Stream,
    Went,
)
from labkit.agent import eventually

USER, GROUP = 41001, 42001
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
GONE = {errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ECONNREFUSED, errno.EPIPE, errno.ECONNABORTED}


# One behind the other.


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_translated_for_a_session_is_not_the_next_ones(case: Case, family: int) -> None:
    """Its mark is given again at once; conntrack remembers a datagram for 30 s, and a port may be used again."""
    for link in ("vethc2", "vethc1"):
        case.session("s", allowed_interface=link, flow_selectors=FLOW)
        case.reset()
        with case.lab.socket("client", FAMILY[family], socket.SOCK_DGRAM) as sock:
            sock.settimeout(3)
            sock.bind((OF[family][2], 40123))
            sock.sendto(b"datagram", (SERVER[family], PORT))  # EPERM: the guard drops what has another link's source
            assert sock.recv(99) == b"datagram"
        seen = case.watch.packets(way="in", dport=PORT)
        assert {(packet.dev, packet.src) for packet in seen} == {way(UPLINKS.index(link) + 1, family)}
        case.drop()


# Users and groups.


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_user(case: Case, kind: str, family: int) -> None:
    case.session("u", users=[USER], allowed_interface="vethc2")

    assert case.as_user(kind, family, OTHER, user=USER) == Went((way(2, family),), 0, answered=True)
    assert case.as_user(kind, family, OTHER, user=USER, group=GROUP) == Went((way(2, family),), 0, answered=True)
    assert case.as_user(kind, family, OTHER, user=USER + 1) == Went((way(1, family),), 0, answered=True)
    case.goes(way(1, family), family)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_group(case: Case, kind: str, family: int) -> None:
    case.session("g", groups=[GROUP], allowed_interface="vethc3")

    assert case.as_user(kind, family, OTHER, group=GROUP) == Went((way(3, family),), 0, answered=True)
    assert case.as_user(kind, family, OTHER, user=USER, group=GROUP) == Went((way(3, family),), 0, answered=True)
    assert case.as_user(kind, family, OTHER, user=USER, group=GROUP + 1) == Went((way(1, family),), 0, answered=True)
    case.goes(way(1, family), family)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_user_without_a_service_sends_nothing(case: Case, family: int) -> None:
    case.session("u", users=[USER], allowed_bearers=["cellular"])

    for kind in ("udp", "tcp"):
        went = case.as_user(kind, family, PORT, user=USER)
        assert (went.ways, went.answered) == ((), False)
        assert went.error in {errno.EPERM, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH}
    case.goes(way(1, family), family)


def test_any_of_its_users_groups_and_selectors(case: Case) -> None:
    """A session's traffic is what any of them matches."""
    case.session("s", users=[USER, "daemon"], groups=[GROUP], flow_selectors=FLOW, allowed_interface="vethc2")

    case.goes(way(2, 4), 4)
    daemon = case.program("import pwd; print(pwd.getpwnam('daemon').pw_uid)")
    for who in ({"user": USER}, {"user": int(daemon)}, {"group": GROUP}):
        assert case.as_user("udp", 4, OTHER, **who) == Went((way(2, 4),), 0, answered=True)
    case.goes(way(1, 4), 4, OTHER)


def test_a_joined_user_and_group_are_two_reasons(case: Case) -> None:
    """The user's session and the group's have different links; which one wins stays the same for every packet."""
    case.session("u", users=[USER], allowed_interface="vethc2")
    case.session("g", groups=[GROUP], allowed_interface="vethc3")
    found = {case.as_user("udp", 4, OTHER, user=USER, group=GROUP).ways for _ in range(5)}
    assert len(found) == 1


# The order of services.


def test_the_default_follows_the_order_of_services(case: Case) -> None:
    """Also over a restart; what was moved goes back at the end."""

    def move(*words: str) -> list[str]:
        done = case.agent.ctl("services", *words)
        assert (done.returncode, done.stderr) == (0, "")
        return [line.split()[-1] for line in done.stdout.splitlines()]

    case.session("s", flow_selectors=FLOW)
    ids = [case.services()[link] for link in UPLINKS]
    for family in FAMILIES:
        case.goes(way(1, family), family)

    assert move("vethc3", "--before", "vethc1") == [ids[2], ids[0], ids[1]]
    for family in FAMILIES:
        case.goes(way(3, family), family)
        case.goes(way(1, family), family, OTHER)
    case.agent.stop()
    case.agent.start()
    assert [line.split()[-1] for line in case.agent.ctl("services").stdout.splitlines()] == [ids[2], ids[0], ids[1]]
    case.goes(way(3, 4), 4)
    case.carrier(3, up=False)
    case.goes(way(1, 4), 4)
    case.carrier(3, up=True)
    case.goes(way(3, 4), 4)

    assert move("vethc3", "--after", "vethc2") == ids
    for family in FAMILIES:
        case.goes(way(1, family), family)


# Overlapping sessions: more specific first, then priority, then age.

NARROW = {
    "an address": f"*-{SERVER[4]}-udp-*-{PORT}",
    "a prefix": f"*-192.0.2.0/24-udp-*-{PORT}",
    "two ports": "*-*-udp-*-6:7",
    "one port": f"*-*-udp-*-{PORT}",
}
WIDE = ["*-*-udp-*-1:1000", "*-*-udp", "*-*-*"]


@pytest.mark.parametrize("wide", WIDE)
@pytest.mark.parametrize("narrow", NARROW)
@pytest.mark.parametrize("first", ["wide", "narrow"])
def test_the_more_specific_one_wins(case: Case, first: str, narrow: str, wide: str) -> None:
    """Whichever came first, and whatever their priorities."""
    sessions: dict[str, dict[str, Any]] = {
        "wide": {"flow_selectors": [wide], "priority": 1000, "allowed_interface": "vethc2"},
        "narrow": {"flow_selectors": [NARROW[narrow]], "priority": 0, "allowed_interface": "vethc3"},
    }
    for name in sorted(sessions, key=lambda name: name != first):
        case.session(name, **sessions[name])

    case.goes(way(3, 4), 4, kinds=["udp", "sendto"])
    case.goes(way(2, 4), 4, OTHER, kinds=["udp", "sendto"])


def test_nested_prefixes(case: Case) -> None:
    case.session("a", flow_selectors=["*-192.0.0.0/16-udp"], allowed_interface="vethc1", priority=900)
    case.session("b", flow_selectors=["*-192.0.2.9-udp"], allowed_interface="vethc2", priority=1)
    case.session("c", flow_selectors=["*-192.0.2.0/24-udp"], allowed_interface="vethc3", priority=500)
    case.goes(way(2, 4), 4, kinds=["udp"])

    case.drop("b")
    case.goes(way(3, 4), 4, kinds=["udp"])

    case.drop("c")
    case.goes(way(1, 4), 4, kinds=["udp"])


@pytest.mark.parametrize("flow", [[f"*-*-udp-*-{PORT}"], ["*-*-udp-*-1:1000"], ["*-*-udp"], ["*-*-*"]])
def test_of_equally_specific_ones_the_priority_decides(case: Case, flow: list[str]) -> None:
    case.session("a", flow_selectors=flow, priority=100, allowed_interface="vethc2")
    case.session("b", flow_selectors=flow, priority=200, allowed_interface="vethc3")
    case.goes(way(3, 4), 4, kinds=["udp"])

    case.session("a", flow_selectors=flow, priority=201, allowed_interface="vethc2")
    case.goes(way(2, 4), 4, kinds=["udp"])


@pytest.mark.parametrize("flow", [[f"*-*-udp-*-{PORT}"], ["*-*-udp-*-1:1000"], ["*-*-*"]])
def test_then_the_older_one_wins(case: Case, flow: list[str]) -> None:
    case.session("z", flow_selectors=flow, allowed_interface="vethc2")
    case.session("a", flow_selectors=flow, allowed_interface="vethc3")
    case.goes(way(2, 4), 4, kinds=["udp"])

    case.agent.stop()
    case.agent.start()  # it stays the older one
    case.settle()
    case.goes(way(2, 4), 4, kinds=["udp"])


def test_an_older_session_is_older_whatever_its_number(case: Case) -> None:
    """A number that has become free goes to a younger session, which is no older by that."""
    flow = [f"*-*-udp-*-{PORT}"]
    case.session("first", flow_selectors=["*-*-udp-*-999"], allowed_interface="vethc1")
    case.session("old", flow_selectors=flow, allowed_interface="vethc2")
    case.drop("first")
    case.session("young", flow_selectors=flow, allowed_interface="vethc3")

    case.goes(way(2, 4), 4, kinds=["udp"])


# Bearers in order, with a VPN.

TUN_FAR = (("r1", "lan"), ("r2", "tun0"))
IN_TUN = {4: ("tun0", "10.9.0.2"), 6: ("tun0", "fd00:9::2")}
BESIDE = {4: ("lan", "10.0.1.2"), 6: ("lan", "fd00:0:1::2")}


@pytest.fixture(scope="module")
def vpn() -> Iterator[Case]:
    """An ordinary uplink, which is main's best, and a tunnel."""
    with Case("point-to-point", far=TUN_FAR, links=("up1", "tun0")) as made:
        yield made


@pytest.fixture
def tunnel(vpn: Case) -> Iterator[Case]:
    """The same, as it was before any session."""
    vpn.reset()
    yield vpn
    vpn.drop()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_vpn_sessions_traffic_enters_the_tunnel(tunnel: Case, family: int) -> None:
    tunnel.session("s", allowed_bearers=["vpn"], flow_selectors=FLOW)

    tunnel.goes(IN_TUN[family], family)
    tunnel.goes(BESIDE[family], family, OTHER)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_the_vpn_nothing_leaves_beside_it(tunnel: Case, family: int) -> None:
    tunnel.session("s", allowed_bearers=["vpn"], flow_selectors=FLOW)
    addresses = tunnel.lab.ip("client", "-o -6 addr show dev tun0")
    tunnel.lab.ip("client", "link set tun0 down")
    try:
        tunnel.settle()
        tunnel.refused(family)
        tunnel.goes(BESIDE[family], family, OTHER)
    finally:
        _up(tunnel, addresses)
    tunnel.goes(IN_TUN[family], family)


def _up(case: Case, addresses: str) -> None:
    """Set the tunnel up again, as its program would do; IPv6 has lost its addresses, and main the routes."""
    case.lab.ip("client", "link set tun0 up")
    if "fd00:9::2" in addresses:
        case.lab.ip("client", "-6 addr replace fd00:9::2 peer fd00:9::1/128 dev tun0")
    case.lab.ip("client", "-4 route replace 0.0.0.0/0 dev tun0 metric 200")
    case.lab.ip("client", "-6 route replace ::/0 dev tun0 metric 200")
    case.settle()


@pytest.mark.parametrize("order", [["vpn", "ethernet"], ["vpn", "*"], ["ethernet", "vpn"]])
def test_bearers_are_preferred_in_their_order(tunnel: Case, order: list[str]) -> None:
    tunnel.session("s", allowed_bearers=order, multipath_routed_services=[], flow_selectors=FLOW)
    for family in FAMILIES:
        tunnel.goes(IN_TUN[family] if order[0] == "vpn" else BESIDE[family], family, kinds=["udp", "tcp"])
    if order[0] != "vpn":
        return
    addresses = tunnel.lab.ip("client", "-o -6 addr show dev tun0")
    tunnel.lab.ip("client", "link set tun0 down")
    try:
        tunnel.settle()
        for family in FAMILIES:
            tunnel.goes(BESIDE[family], family)
    finally:
        _up(tunnel, addresses)
    for family in FAMILIES:  # the better one is taken back
        tunnel.goes(IN_TUN[family], family)


# Switches.


def test_a_family_goes_by_the_next_service_that_has_it(case: Case) -> None:
    default = "-6 route del default via fd00:0:1::1 dev vethc1 metric 100"
    case.session("s", allowed_bearers=["ethernet"], flow_selectors=FLOW)
    case.lab.ip("client", default)
    try:
        case.settle()
        case.goes(way(1, 4), 4)
        case.goes(way(2, 6), 6)
    finally:
        case.lab.ip("client", default.replace(" del ", " add "))
        case.settle()
    case.goes(way(1, 6), 6)


@pytest.fixture
def elsewhere(case: Case) -> Iterator[Case]:
    """Main's best default is vethc3, so a session on another link is translated."""
    routes = [
        "-4 route add default via 10.0.3.1 dev vethc3 metric 1",
        "-6 route add default via fd00:0:3::1 dev vethc3 metric 1",
    ]
    for route in routes:
        case.lab.ip("client", route)
    yield case
    for route in routes:
        case.lab.ip("client", route.replace(" add ", " del "))


HOW = ["link loss", "policy"]


def _switch(case: Case, how: str) -> None:
    """From vethc1 to vethc2."""
    if how == "link loss":
        case.carrier(1, up=False)
    else:
        case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_translated_datagram_socket_moves(elsewhere: Case, family: int, how: str) -> None:
    case = elsewhere
    case.session("s", allowed_bearers=["ethernet"], multipath_routed_services=[], flow_selectors=FLOW)
    with case.lab.socket("client", FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        sock.bind((OF[family][2], 0))
        sock.connect((SERVER[family], PORT))
        try:
            sock.send(b"one")
            assert sock.recv(9) == b"one"
            assert case.ways(payload=b"one", dst=SERVER[family]) == (way(1, family),)

            _switch(case, how)

            sock.send(b"two")
            assert sock.recv(9) == b"two"
            assert case.ways(payload=b"two", dst=SERVER[family]) == (way(2, family),)
        finally:
            if how == "link loss":
                case.carrier(1, up=True)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_translated_connection_hears_its_end(elsewhere: Case, family: int, how: str) -> None:
    """It cannot go on from another address: it hears so at its next packet rather than hang."""
    case = elsewhere
    case.session("s", allowed_bearers=["ethernet"], multipath_routed_services=[], flow_selectors=FLOW)
    with case.lab.socket("client", FAMILY[family], socket.SOCK_STREAM) as sock:
        sock.settimeout(3)
        sock.bind((OF[family][2], 0))
        sock.connect((SERVER[family], PORT))
        try:
            sock.send(b"one")
            assert sock.recv(9) == b"one"

            _switch(case, how)
            case.watch.clear()

            def ended() -> int:
                try:
                    sock.send(b"two")
                except OSError as error:
                    return error.errno or 0
                return 0

            heard = eventually(ended, 3.0, "the connection hears its end")
            assert heard in GONE
            case.arrived()
            assert {w[1] for w in case.ways(dst=SERVER[family], dport=PORT)} <= {OF[family][1]}
        finally:
            if how == "link loss":
                case.carrier(1, up=True)


def test_nothing_leaves_with_a_wrong_source_through_switches(elsewhere: Case) -> None:
    case = elsewhere
    case.session("s", allowed_bearers=["ethernet"], multipath_routed_services=[], flow_selectors=FLOW)
    right = {way(number, family) for number in (1, 2, 3) for family in FAMILIES}
    with Stream(case, sources=[OF[4][2], OF[6][2]]) as stream:
        stream.goes_on()
        for _ in range(3):
            for link in UPLINKS[:2]:
                case.session("s", allowed_interface=link, flow_selectors=FLOW)
                stream.goes_on()
                case.watch.packets()
            case.session("s", allowed_bearers=["ethernet"], multipath_routed_services=[], flow_selectors=FLOW)
            case.carrier(1, up=False)
            stream.goes_on()
            case.carrier(1, up=True)
            stream.goes_on()
            case.watch.packets()
    case.arrived()
    found = set(case.ways(dport=PORT))
    assert found <= right
    assert not {w for w in found if w[0] == "vethr3"}


def test_a_link_whose_name_is_a_wildcard_of_nft(case: Case) -> None:
    """The kernel allows it. The table is taken, and the link is meant, not all whose names begin so."""
    ip = partial(case.lab.ip, "client")

    def renamed(old: str, new: str) -> None:
        for words in (f"set {old} down", f"set {old} name {new}", f"set {new} up"):
            ip(f"link {words}")
        ip(f"route replace default via 10.0.3.1 dev {new} metric 300")

    renamed("vethc3", "veth*")
    try:
        case.session("s", flow_selectors=FLOW, allowed_interface="veth*")
        case.goes(way(3, 4), 4)
        case.session("s", flow_selectors=FLOW, allowed_interface="nosuch0")
        case.refused(4)
        assert [found for found in case.status()["Findings"] if found["Code"] == "refused"] == []
    finally:
        renamed("veth*", "vethc3")


def test_a_link_that_nft_has_no_words_for_is_no_hole(case: Case) -> None:
    """The kernel allows such names. No session uses the link, none leaks by it, and a person is told."""
    ip = partial(case.lab.ip, "client")
    names = ('a"b', "v\\*", "v" + 6 * "\udcff", "abcdefghijklmn*")
    gateways = {4: "10.0.3.1", 6: "fd00:0:3::1"}

    def renamed(old: str, new: str) -> None:
        for words in (f"set {old} down", f"set {old} name {new}", f"set {new} up"):
            ip(f"link {words}")
        ip(f"-6 addr replace {OF[6][2]}/64 dev {new} nodad")  # it goes with the link's being up
        for family, gateway in gateways.items():
            ip(f"-{family} route replace default via {gateway} dev {new} metric 300")

    now = "vethc3"
    case.session("s", flow_selectors=FLOW, allowed_interface="vethc2")
    try:
        for name in names:
            renamed(now, name)
            now = name
            for family, gateway in gateways.items():  # main's specific routes lead sessions too
                ip(f"-{family} route replace {SERVER[family]} via {gateway} dev {name}")
            case.settle()
            case.reset()
            for family in FAMILIES:
                assert all(case.reach(kind, family, answer=False).error for kind in ("udp", "sendto"))
                case.goes(way(3, family), family, OTHER, kinds=["udp"])  # came behind them by that link
                assert case.ways(dport=PORT) == ()
            codes = {found["Code"] for found in case.status()["Findings"]}
            assert ("link-name" in codes, "refused" in codes) == (True, False), name
        case.session("s", flow_selectors=FLOW, allowed_interface=names[-1])
        case.refused(4)
    finally:
        renamed(now, "vethc3")
        for family in gateways:
            ip(f"-{family} route del {SERVER[family]}", check=False)
        case.settle()
