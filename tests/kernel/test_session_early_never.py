"""What is never a session's, where early rules could catch it: the session of root, who owns what nobody owns."""

from __future__ import annotations

import errno
import re
import socket
import struct
from collections.abc import Iterator

import pytest

from kernel.helpers_early import CONNECTED, Told, connect, way
from kernel.helpers_sessions import FAMILIES, OF, OTHER, PORT, ROUTERS, SERVER, UPLINKS, Case, Went
from labkit import Echo, Watch, ping, tcp_connect
from labkit.agent import eventually

ROOT = 0  # all sockets of the tests are his, and what the kernel sends by itself
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


@pytest.fixture(scope="module", params=["vethc2", "nosuch0"], ids=["with a service", "without a service"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """The post's lab with a session of root's, which has one link, or none."""
    with Case() as made:
        made.enter(Echo(made.lab, "client", OTHER))
        made.session("root", users=[ROOT], allowed_interface=request.param)
        yield made


@pytest.fixture(autouse=True)
def clean(case: Case) -> None:
    """What earlier tests sent has arrived, and is forgotten."""
    case.reset()


def test_everything_else_is_the_sessions(case: Case) -> None:
    """The session is in force: what follows would prove nothing otherwise."""
    for family in FAMILIES:
        for kind in CONNECTED:
            told = connect(case, kind, family)
            assert told == Told(OF[family][1], (way(2, family),), 0, answered=True) or (
                told.ways,
                bool(told.error),
            ) == ((), True)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", *OF[4], *OF[6]])
def test_own_addresses(case: Case, address: str) -> None:
    for kind in CONNECTED:
        told = connect(case, kind, address, OTHER)
        assert told == Told(address, (), 0, answered=True), kind
    assert case.reach("sendto", address, OTHER) == Went((), 0, answered=True)


@pytest.mark.parametrize("to", ["224.0.0.251", "239.1.2.3", "255.255.255.255", "ff05::77"])
def test_multicast_and_broadcast_as_without_a_session(case: Case, to: str) -> None:
    """Unbound ones go where main leads."""
    went = case.reach("sendto", to, 5353, answer=False) if "255" not in to else _broadcast(case, to)
    family = 6 if ":" in to else 4
    assert went.error == 0
    assert {dev for dev, _ in went.ways} == {ROUTERS[0][1]}
    if family == 4:
        assert {source for _, source in went.ways} == {OF[4][0]}


def _broadcast(case: Case, to: str) -> Went:
    with case.lab.socket("client", socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.sendto(b"to all", (to, 9))
    case.arrived()
    return Went(case.ways(payload=b"to all"), 0, answered=False)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("group", ["224.0.0.251", "ff02::fb"])
def test_multicast_by_a_chosen_link(case: Case, group: str, number: int) -> None:
    family = 6 if ":" in group else 4
    index = case.lab.index("client", UPLINKS[number - 1])
    text = f"mdns {group} {number}".encode()
    with case.lab.socket("client", FAMILY[family], socket.SOCK_DGRAM) as sock:
        if family == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("@4s4si", b"", b"", index))
        sock.sendto(text, (group, 5353))
    case.arrived()
    assert [dev for dev, _ in case.ways(payload=text)] == [ROUTERS[number - 1][1]]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_link_local(case: Case, number: int) -> None:
    host, dev = ROUTERS[number - 1]
    found = re.search(r"inet6 (fe80::[0-9a-f:]+)", case.lab.ip(host, f"-o -6 addr show dev {dev}"))
    assert found
    text = f"local {number}".encode()
    with case.lab.socket("client", socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.connect((found[1], PORT, 0, case.lab.index("client", UPLINKS[number - 1])))
        assert sock.getsockname()[0].startswith("fe80::")
        sock.send(text)
    case.arrived()
    assert [seen for seen, _ in case.ways(payload=text)] == [dev]


def test_link_local_of_ipv4(case: Case) -> None:
    case.lab.ip("r3", "addr add 169.254.7.1/16 dev vethr3")
    case.lab.ip("client", "addr add 169.254.7.2/16 dev vethc3")
    try:
        told = connect(case, "udp", "169.254.7.1", OTHER)
        assert (told.source, told.ways) == ("169.254.7.2", (("vethr3", "169.254.7.2"),))
    finally:
        case.lab.ip("r3", "addr del 169.254.7.1/16 dev vethr3")
        case.lab.ip("client", "addr del 169.254.7.2/16 dev vethc3")


@pytest.mark.parametrize(("family", "ports"), [(4, (68, 67)), (6, (546, 547))])
def test_dhcp_unbound(case: Case, family: int, ports: tuple[int, int]) -> None:
    """A client that renews without binding goes where main leads."""
    with case.lab.socket("client", FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.bind(("", ports[0]))
        sock.sendto(b"renew", (SERVER[family], ports[1]))
    case.arrived()
    assert case.ways(payload=b"renew", dst=SERVER[family]) == (way(1, family),)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lan_keeps_its_route_and_source(case: Case, family: int) -> None:
    """A link that leads to no other network: main's specific routes go before the session's default."""
    own, other = {4: ("192.168.77.1", "192.168.77.9"), 6: ("fd77::1", "fd77::9")}[family]
    lab, bits = case.lab, 24 if family == 4 else 64
    lab.ip("client", f"link add lan0 type veth peer name lan0 netns {lab.ns('r3')}")
    try:
        for host, address in (("client", own), ("r3", other)):
            lab.ip(host, "link set lan0 up")
            lab.ip(host, f"addr add {address}/{bits} dev lan0")
        eventually(lambda: "LOWER_UP" in lab.ip("client", "link show lan0"), what="carrier of lan0")
        case.settle()
        with Watch(lab, [("r3", "lan0")]) as watch:
            told = connect(case, "udp", other)
            assert (told.source, told.error) == (own, errno.ECONNREFUSED)  # nobody listens there
            assert {p.src for p in watch.packets(way="in", dst=other, dport=PORT)} == {own}
    finally:
        lab.ip("client", "link del lan0")
        case.settle()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_answers_leave_by_the_link_that_was_asked(case: Case, number: int, family: int) -> None:
    """Pings, errors, connections and datagrams to a server of root's, whose SYN-ACK no process sends."""
    own, dev = OF[family][number - 1], ROUTERS[number - 1][1]
    assert ping(case.lab, "server", own).ok
    assert tcp_connect(case.lab, "server", own, OTHER, payload=b"in").reply == b"in"
    assert tcp_connect(case.lab, "server", own, 4242).error == 111
    with case.lab.socket("server", FAMILY[family], socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        sock.connect((own, OTHER))
        sock.send(b"in")
        assert sock.recv(9) == b"in"
        sock.connect((own, 4242))
        sock.send(b"nobody?")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(9)
    case.arrived()
    assert set(case.ways(src=own)) == {(dev, own)}
