"""What is never a session's traffic, also with the selector `*-*-*`: each line of CONTRACT 4's list, seen outside."""

from __future__ import annotations

import errno
import re
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from kernel.helpers_sessions import (
    FAMILIES,
    OF,
    PORT,
    ROUTERS,
    SERVER,
    TCP,
    UPLINKS,
    Case,
    Went,
)
from labkit import Echo, Packet, ping, tcp_connect

CLOSED = 4242
GATEWAY = {4: ("10.0.1.1", "10.0.2.1", "10.0.3.1"), 6: ("fd00:0:1::1", "fd00:0:2::1", "fd00:0:3::1")}
ICMP = {4: 1, 6: 58}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


@pytest.fixture(scope="module", params=["vethc2", "nosuch0"], ids=["with a service", "without a service"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """The post's lab with a session of everything, which has one link, or none."""
    with Case() as made:
        made.enter(Echo(made.lab, "client", PORT))
        made.session("all", allowed_interface=request.param, flow_selectors=["*-*-*"])
        yield made


@pytest.fixture(autouse=True)
def clean(case: Case) -> None:
    """What earlier tests sent has arrived, and is forgotten."""
    case.reset()


def alone(case: Case, number: int, condition: Callable[[Packet], bool]) -> None:
    """Wait until what the condition wants has come in by a link, and assert that no other one saw it."""
    found = case.watch.wait(lambda seen: any(p.way == "in" and condition(p) for p in seen))
    case.arrived()
    assert {p.dev for p in (*found, *case.watch.packets()) if p.way == "in" and condition(p)} == {
        ROUTERS[number - 1][1]
    }


def test_everything_else_is_the_sessions(case: Case) -> None:
    """The session is in force: what follows would prove nothing otherwise."""
    service = "vethr2" if "vethr2" in str(case.reach("udp", 4)) else ""
    for family in FAMILIES:
        for port in (PORT, 8):
            if service:
                case.goes((service, OF[family][1]), family, port)
            else:
                case.refused(family, port)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", *OF[4], *OF[6]])
def test_own_addresses_and_lo(case: Case, address: str) -> None:
    for kind in ("udp", "sendto", "tcp", "mptcp"):
        assert case.reach(kind, address) == Went((), 0, answered=True)
        assert case.reach(kind, address, source=address) == Went((), 0, answered=True)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("group", ["224.0.0.251", "239.1.2.3", "ff02::fb", "ff05::77"])
def test_multicast(case: Case, group: str, number: int) -> None:
    family = 6 if ":" in group else 4
    text = f"mdns {group} {number}".encode()
    index = case.lab.index("client", UPLINKS[number - 1])
    with case.lab.socket("client", FAMILY[family], socket.SOCK_DGRAM) as sock:
        if family == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        else:
            note = struct.pack("@4s4si", b"", b"", index)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, note)
        sock.bind(("", 5353))
        sock.sendto(text, (group, 5353))

        alone(case, number, lambda p: p.payload == text and p.dst == group and p.sport == 5353)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("kind", ["limited", "directed"])
def test_broadcast(case: Case, kind: str, number: int) -> None:
    to = "255.255.255.255" if kind == "limited" else f"10.0.{number}.255"
    text = f"broadcast {to} {number}".encode()
    with case.lab.socket("client", socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if kind == "limited":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, UPLINKS[number - 1].encode())
        sock.sendto(text, (to, 9))

        alone(case, number, lambda p: p.payload == text and p.dst == to)


def _link_local(case: Case, host: str, dev: str) -> str:
    found = re.search(r"inet6 (fe80::[0-9a-f:]+)", case.lab.ip(host, f"-o -6 addr show dev {dev}"))
    assert found
    return found[1]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_link_local_of_ipv6(case: Case, number: int) -> None:
    there = _link_local(case, *ROUTERS[number - 1])
    text = f"local {number}".encode()
    with case.lab.socket("client", socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.sendto(text, (there, PORT, 0, case.lab.index("client", UPLINKS[number - 1])))

        alone(case, number, lambda p: p.payload == text and p.dst == there)


def test_link_local_of_ipv4(case: Case) -> None:
    case.lab.ip("r3", "addr add 169.254.7.1/16 dev vethr3")
    case.lab.ip("client", "addr add 169.254.7.2/16 dev vethc3")
    try:
        went = case.reach("udp", "169.254.7.1", answer=False)
        assert (went.ways, went.error) == ((("vethr3", "169.254.7.2"),), 0)
    finally:
        case.lab.ip("r3", "addr del 169.254.7.1/16 dev vethr3")
        case.lab.ip("client", "addr del 169.254.7.2/16 dev vethc3")
        case.settle()


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("kind", [133, 134, 135, 136, 137])
def test_neighbour_discovery(case: Case, kind: int, number: int) -> None:
    """ICMPv6 133 to 137 also to a global address: a neighbour that is asked again is asked at its own address."""
    to = GATEWAY[6][number - 1]
    body = struct.pack("!BBHI", kind, 0, 0, 0) + socket.inet_pton(socket.AF_INET6, to)
    with case.lab.socket("client", socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, UPLINKS[number - 1].encode())
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
        sock.sendto(body, (to, 0))

        alone(case, number, lambda p: (p.proto, p.sport, p.dst) == (58, kind, to))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_neighbours_are_found_from_a_cold_cache(case: Case, number: int, family: int) -> None:
    """By asking (the client answers and has nobody in its cache) and by being asked."""
    host, dev = ROUTERS[number - 1]
    case.lab.ip("client", f"-{family} neigh flush all")
    case.lab.ip(host, f"-{family} neigh flush dev {dev}")

    done = ping(case.lab, host, OF[family][number - 1], GATEWAY[family][number - 1])

    assert done.ok, done
    state = case.lab.ip("client", f"-{family} neigh show {GATEWAY[family][number - 1]} dev {UPLINKS[number - 1]}")
    assert "lladdr" in state


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_multicast_membership_is_reported(case: Case, family: int, number: int) -> None:
    """IGMP and MLD (143): routers and switches learn who listens."""
    index = case.lab.index("client", UPLINKS[number - 1])
    with case.lab.socket("client", FAMILY[family], socket.SOCK_DGRAM) as sock:
        if family == 6:
            group = socket.inet_pton(socket.AF_INET6, f"ff02::1:{number}abc")
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", index))
            alone(case, number, lambda p: p.family == 6 and p.sport in {131, 143} and group in p.raw)
        else:
            group = socket.inet_aton(f"239.9.9.{number}")
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("@4s4si", group, b"", index))
            alone(case, number, lambda p: p.proto == 2 and group in p.raw)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(("family", "ports"), [(4, (68, 67)), (6, (546, 547))])
def test_dhcp(case: Case, family: int, ports: tuple[int, int], number: int) -> None:
    """A lease is renewed by unicast, from the address and by the link that has it."""
    to = GATEWAY[family][number - 1]
    text = f"renew {number}".encode()
    with case.lab.socket("client", FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.bind((OF[family][number - 1], ports[0]))
        sock.sendto(text, (to, ports[1]))

        alone(case, number, lambda p: (p.payload, p.dst) == (text, to) and p.src == OF[family][number - 1])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_connections_from_outside(case: Case, number: int, family: int) -> None:
    """They are answered by the link that they came in on (law 7), in TCP and in UDP."""
    own = OF[family][number - 1]
    for _ in range(3):
        done = tcp_connect(case.lab, "server", own, PORT, payload=b"in")
        assert done.reply == b"in"
    case.arrived()
    assert case.ways(proto=TCP, sport=PORT) == ((ROUTERS[number - 1][1], own),)

    with case.lab.socket("server", FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        for turn in range(3):
            sock.sendto(f"in {turn}".encode(), (own, PORT))
            assert sock.recv(99) == f"in {turn}".encode()
    case.arrived()
    assert case.ways(proto=17, sport=PORT) == ((ROUTERS[number - 1][1], own),)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_pings_from_outside(case: Case, number: int, family: int) -> None:
    own = OF[family][number - 1]
    assert ping(case.lab, "server", own).ok
    case.arrived()
    assert case.ways(proto=ICMP[family], src=own) == ((ROUTERS[number - 1][1], own),)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_errors_about_what_came_in(case: Case, number: int, family: int) -> None:
    """Nobody listens there: TCP hears a reset, UDP hears ICMP, by the same link."""
    own = OF[family][number - 1]
    assert tcp_connect(case.lab, "server", own, CLOSED).error == errno.ECONNREFUSED
    case.arrived()
    assert case.ways(proto=TCP, sport=CLOSED) == ((ROUTERS[number - 1][1], own),)

    with case.lab.socket("server", FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        sock.connect((own, CLOSED))
        sock.send(b"nobody?")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(9)
    kinds = {(1, 3), (58, 1)}
    assert {(p.dev, p.src) for p in case.watch.packets(way="in") if (p.proto, p.sport) in kinds} == {
        (ROUTERS[number - 1][1], own)
    }


def test_a_long_connection_from_outside_lives_through_a_change(case: Case) -> None:
    """Ssh from outside: it goes on while the session is changed, and while mpathd starts anew."""
    with case.lab.socket("server", socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(3)
        sock.connect((OF[4][2], PORT))

        def works() -> None:
            sock.send(b"ls")
            assert sock.recv(9) == b"ls"

        works()
        text = (case.policies / "all.toml").read_text()
        case.put("all.toml", text + 'description = "another"\n')
        case.settle()
        works()
        case.agent.kill()
        works()
        case.agent.start()
        case.settle()
        works()
        case.put("all.toml", text)
        case.settle()
        works()
        case.arrived()
    assert case.ways(proto=TCP, sport=PORT, dst="172.16.3.2") == ((ROUTERS[2][1], OF[4][2]),)


def test_dns_of_the_machine_is_the_sessions(case: Case) -> None:
    """Nothing more is excepted than the list: a query is the session's traffic as all else."""
    went = case.reach("udp", SERVER[4], 53, answer=False)
    assert went.ways in {(("vethr2", OF[4][1]),), ()}
