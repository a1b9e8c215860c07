"""Endpoints and live connections on the real kernel: what changes reach them, and what is seen of them."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel.helpers_mptcp import Bond, say, wait
from labkit import SERVER4
from mpathd.kernel.mptcp import owners
from mpathd.model.connections import ConnectionView, Owner, TcpState
from mpathd.model.mptcp import Act, Change, Flag, Kind, Limits
from mpathd.model.view import Service
from mpathd.model.words import Family, MptcpMode
from mpathd.plan.connections import connections, mendable

pytestmark = pytest.mark.kernel

A1, A2 = "10.81.1.2", "10.81.2.2"
B1, B2 = "fd00:81:1::2", "fd00:81:2::2"
FAULT = (
    "add table ip fault; add chain ip fault way { type filter hook forward priority 0; }; "
    f"add rule ip fault way ip saddr {A2} meta l4proto tcp reject with tcp reset"
)


@pytest.fixture
def bond() -> Iterator[Bond]:
    """Two uplinks."""
    with Bond(2) as made:
        yield made


def words(bond: Bond) -> list[str]:
    """The endpoints that are there, by id."""
    return [endpoint.words() for endpoint in bond.look().endpoints]


def addresses(bond: Bond) -> set[str]:
    """Their addresses."""
    return {endpoint.address for endpoint in bond.look().endpoints}


def views(bond: Bond, services: tuple[Service, ...]) -> tuple[ConnectionView, ...]:
    """What is seen of connections."""
    return connections(bond.diag.connections(), bond.subflows(), services, {})


# From links to endpoints.


def test_endpoints_follow_addresses(bond: Bond) -> None:
    assert bond.pass_().refused == ()
    assert words(bond) == [
        f"{A2} id 251 dev up2 subflow",
        f"{B1} id 252 dev up1 subflow",
        f"{B2} id 253 dev up2 subflow",
        f"{A1} id 254 dev up1 subflow",
    ]
    assert bond.pass_().changes == ()
    bond.lab.ip("client", "addr add 10.81.2.3/24 dev up2")
    assert [str(change) for change in bond.pass_().changes] == [
        "ip mptcp limits set subflows 3 add_addr_accepted 0",
        "ip mptcp endpoint add 10.81.2.3 id 250 dev up2 subflow",
    ]
    bond.lab.ip("client", "addr del 10.81.2.3/24 dev up2")
    assert [str(change) for change in bond.pass_().changes] == ["ip mptcp endpoint delete id 250"]
    assert addresses(bond) == {A1, B1, A2, B2}
    assert bond.look().limits == Limits(3, 0)


def test_no_endpoint_before_routing(bond: Bond) -> None:
    early = bond.pass_(routing=False)

    assert (early.changes, bond.look().endpoints) == ((), ())
    assert [service.routed for service in early.services] == [True, True]
    assert [change.act for change in bond.pass_().changes] == [Act.ADD] * 4


def test_carrier_loss_takes_endpoints_and_they_come_back(bond: Bond) -> None:
    bond.pass_()
    bond.lab.ip("router", "link set isp2 down")
    wait(lambda: "NO-CARRIER" in bond.lab.ip("client", "link show up2"), "carrier is lost")
    gone = bond.pass_()

    assert {str(change) for change in gone.changes} == {f"ip mptcp endpoint delete id {n}" for n in (251, 253)}
    assert addresses(bond) == {A1, B1}
    bond.lab.ip("router", "link set isp2 up")
    wait(lambda: "NO-CARRIER" not in bond.lab.ip("client", "link show up2"), "carrier is back")
    bond.pass_()
    assert addresses(bond) == {A1, B1, A2, B2}


def test_a_link_that_is_set_down(bond: Bond) -> None:
    bond.pass_()
    bond.lab.ip("client", "link set up2 down")
    bond.pass_()

    assert addresses(bond) == {A1, B1}


def test_off(bond: Bond) -> None:
    bond.modes = {"up2": MptcpMode.OFF}
    bond.pass_()

    assert addresses(bond) == {A1, B1}


def test_others_endpoints_are_left_alone(bond: Bond) -> None:
    bond.lab.ip("client", f"mptcp endpoint add {A2} id 7 signal")
    bond.lab.ip("client", "mptcp endpoint add 10.99.0.1 id 9 subflow")
    theirs = bond.look().endpoints
    found = bond.pass_()

    assert [finding.code for finding in found.findings] == ["endpoint-foreign"]
    bond.modes = dict.fromkeys(("up1", "up2"), MptcpMode.OFF)
    bond.pass_()
    assert bond.look().endpoints == theirs


def test_more_links_than_the_kernel_takes() -> None:
    with Bond(9) as bond:
        first = bond.pass_()
        found = bond.pass_()

        there = bond.look()
        assert first.refused
        assert found.refused == ()
        assert there.room == len(there.endpoints)
        assert [finding.code for finding in found.findings] == ["endpoints-full"]
        assert bond.pass_().changes == ()


# Live connections.


def test_subflows_over_all_links(bond: Bond) -> None:
    bond.pass_()
    with bond.talk() as (near, far):
        wait(lambda: bond.sources() == [A1, A2], "two subflows")
        made = bond.event("client", Kind.SUB_ESTABLISHED)

        assert (made.source, made.destination, made.index) == (A2, SERVER4, bond.lab.index("client", "up2"))
        assert made.token == bond.connection().token
        assert made.local in {e.id for e in bond.look().endpoints if e.address == A2}
        say(near, far)
        assert bond.event("server", Kind.CREATED).server
        assert not bond.event("client", Kind.CREATED).server
    assert bond.event("client", Kind.CLOSED).token == made.token


def test_subflows_of_ipv6(bond: Bond) -> None:
    bond.pass_()
    with bond.talk(6):
        wait(lambda: bond.sources() == [B1, B2], "two subflows")
        assert bond.event("client", Kind.SUB_ESTABLISHED).source == B2


def test_backup_and_back_reset_no_subflow(bond: Bond) -> None:
    bond.pass_()
    with bond.talk() as (near, far):
        wait(lambda: bond.sources() == [A1, A2], "two subflows")
        sockets = [one.cookie for one in bond.subflows()]
        for mode, backup in ((MptcpMode.BACKUP, True), (MptcpMode.ON, False)):
            bond.modes = {"up2": mode}
            assert {change.act for change in bond.pass_().changes} == {Act.CHANGE}
            told = bond.event("server", Kind.SUB_PRIORITY, backup=backup)
            assert told.destination == A2
            assert [one.backup for one in bond.subflows()] == [False, backup]
        bond.modes = {"up1": MptcpMode.BACKUP}  # the first subflow too, by its endpoint
        bond.pass_()
        assert bond.event("server", Kind.SUB_PRIORITY, destination=A1).backup
        assert [one.cookie for one in bond.subflows()] == sockets
        assert bond.events("client", Kind.SUB_CLOSED) == []
        say(near, far)


@pytest.mark.parametrize("link", [1, 2])
def test_off_closes_subflows_and_on_brings_them_back(bond: Bond, link: int) -> None:
    """Also the first subflow."""
    address = (A1, A2)[link - 1]
    bond.pass_()
    with bond.talk() as (near, far):
        wait(lambda: bond.sources() == [A1, A2], "two subflows")
        bond.modes = {f"up{link}": MptcpMode.OFF}
        bond.pass_()
        assert bond.event("client", Kind.SUB_CLOSED).source == address
        bond.event("server", Kind.REMOVED)
        wait(lambda: address not in bond.sources(), "its subflow is gone")
        say(near, far)
        bond.modes = {}
        bond.hand.settle()
        bond.pass_()
        wait(lambda: bond.sources() == [A1, A2], "its subflow is back")
        say(far, near)


def test_a_subflow_that_was_reset_stays_gone_until_it_is_mended(bond: Bond) -> None:
    bond.modes = {"up1": MptcpMode.BACKUP}
    services = bond.pass_().services
    with bond.talk() as (near, far):
        wait(lambda: bond.sources() == [A1, A2], "two subflows")
        there = [e for e in bond.look().endpoints if e.family is Family.INET]
        assert mendable(views(bond, services), there) == ()
        bond.lab.exec("router", ["nft", FAULT])
        near.sendall(b"word")  # by up2, which is no backup
        assert bond.event("client", Kind.SUB_CLOSED, error=errno.ECONNRESET).source == A2
        bond.lab.exec("router", ["nft", "delete table ip fault"])
        assert far.recv(4) == b"word"
        say(near, far)
        assert bond.sources() == [A1]
        assert bond.pass_().changes == ()
        lost = mendable(views(bond, services), there)
        assert [e.address for e in lost] == [A2]
        bond.hand.apply([*(Change(Act.DELETE, e) for e in lost), *(Change(Act.ADD, e) for e in lost)])
        wait(lambda: bond.sources() == [A1, A2], "its subflow is back")
        assert mendable(views(bond, services), there) == ()
        say(near, far)


def test_the_kernels_implicit_endpoint_gives_way(bond: Bond) -> None:
    bond.lab.ip("server", "addr add 192.0.2.77/32 dev lo")
    bond.lab.ip("router", "route add 192.0.2.77/32 via 10.81.0.2")
    bond.lab.ip("server", "mptcp endpoint add 192.0.2.77 id 5 signal")
    bond.lab.ip("client", "route add 192.0.2.77/32 via 10.81.2.1 dev up2")
    bond.lab.ip("client", "mptcp limits set subflows 2 add_addr_accepted 1")
    with bond.talk(anywhere=True) as (near, far):
        announced = bond.event("client", Kind.ANNOUNCED)
        assert (announced.destination, announced.remote) == ("192.0.2.77", 5)
        wait(lambda: bond.sources() == [A1, A2], "a subflow to the announced address")
        (implicit,) = bond.look().endpoints
        assert (implicit.address, implicit.flags) == (A2, Flag.IMPLICIT)
        found = bond.pass_()

        assert found.refused == ()
        assert {e.flags for e in bond.look().endpoints} == {Flag.SUBFLOW}
        assert addresses(bond) == {A1, B1, A2, B2}
        say(near, far)


# Seeing.


def by_ss(bond: Bond) -> set[tuple[object, ...]]:
    """The subflows that ss shows."""
    out: set[tuple[object, ...]] = set()
    for line in bond.lab.exec("client", ["ss", "-ntiOH"]).stdout.splitlines():

        def number(name: str, line: str = line) -> float:
            found = re.search(rf" {name}:([\d.]+)", line)
            return float(found[1]) if found else 0.0

        place = re.match(r"ESTAB +\d+ +\d+ +\[?([\da-f.:]+?)\]?(?:%(\w+))?:(\d+) ", line)
        tokens = re.search(r"token:\w+\(id:(\d+)\)/(\w+)\(id:(\d+)\)", line)
        flags = re.search(r" flags:(\w+)", line)
        assert place, line
        assert tokens, line
        assert flags, line
        letters = frozenset(letter for letter in flags[1] if letter in "bBjJ")
        numbers = (number("cwnd"), number("rtt"), *(number(f"bytes_{name}") for name in ("sent", "acked", "received")))
        out.add((*place.groups(), int(tokens[2], 16), int(tokens[3]), int(tokens[1]), letters, *numbers))
    return out


def by_us(bond: Bond) -> set[tuple[object, ...]]:
    """The same, as it is read here."""
    names = {bond.lab.index("client", f"up{n}"): f"up{n}" for n in (1, 2)}
    out: set[tuple[object, ...]] = set()
    for one in bond.subflows():
        assert one.state is TcpState.ESTABLISHED
        letters = {"b": one.backup, "B": one.backup_asked, "j": one.joined, "J": one.joined}
        place = (one.source, names.get(one.index), str(one.sport), one.token, one.local, one.remote)
        numbers = (one.window, one.rtt / 1000, one.sent, one.acked, one.received)
        out.add((*place, frozenset(letter for letter, there in letters.items() if there), *map(float, numbers)))
    return out


def test_what_is_seen_is_what_ss_shows(bond: Bond) -> None:
    bond.modes = {"up2": MptcpMode.BACKUP}
    bond.pass_()
    with bond.talk() as (near, far), bond.talk(6) as (near6, far6):
        wait(lambda: len(bond.sources()) == 4, "four subflows")
        for _ in range(20):
            say(near, far, bytes(1000))
            say(far6, near6, bytes(3000))
        wait(lambda: by_ss(bond) == by_us(bond), "both see the same, once the last acknowledgement is here")
        seen = bond.subflows()

        assert len(by_us(bond)) == 4
        assert {one.source for one in seen if one.backup} == {A2, B2}
        assert all(one.sent for one in seen if one.source == A1)
        assert all(one.received for one in seen if one.source == B1)


def test_connections_are_seen_whole(bond: Bond) -> None:
    bond.pass_()
    with bond.talk() as (near, far):
        wait(lambda: bond.sources() == [A1, A2], "two subflows")
        say(near, far, bytes(5000))
        say(far, near, bytes(7000))
        wait(lambda: bond.connection().acked >= 5004, "all is acknowledged")
        one = bond.connection()

        assert (one.source, one.sport) == near.getsockname()
        assert (one.destination, one.dport) == near.getpeername()
        assert (one.sent, one.received) == (5004, 7004)
        assert (one.subflows, one.subflows_max) == (1, bond.look().limits.subflows)
        assert (one.user, one.fallback, one.state) == (0, False, TcpState.ESTABLISHED)
        name = Path("/proc/self/comm").read_text().strip()
        assert owners([one.inode, 0]) == {one.inode: (Owner(os.getpid(), name),)}
        assert Path(f"/proc/self/fd/{near.fileno()}").readlink().name == f"socket:[{one.inode}]"
        near.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x10000)
        assert bond.connection().mark == 0x10000
        services = bond.pass_().services
        (view,) = connections([one], bond.subflows(), services, {})
        assert view.services == tuple(s.id for n in (1, 2) for s in services if s.interface == f"up{n}")


def test_a_connection_that_fell_back(bond: Bond) -> None:
    bond.pass_()
    with bond.talk(far=socket.IPPROTO_TCP):
        one = bond.connection()
        services = bond.pass_().services
        (view,) = connections([one], bond.subflows(), services, {})

        assert one.fallback
        assert view.services == tuple(service.id for service in services if service.interface == "up1")


def test_plain_tcp_is_not_seen(bond: Bond) -> None:
    bond.pass_()
    with bond.talk(near=socket.IPPROTO_TCP):
        assert bond.diag.connections() == ()
        assert bond.subflows() == ()


def test_an_ipv4_connection_of_an_ipv6_socket(bond: Bond) -> None:
    """Both ends show it as IPv4."""
    bond.pass_()
    with (
        bond.lab.socket("server", socket.AF_INET6, socket.SOCK_STREAM, 262) as ear,
        bond.lab.socket("client", socket.AF_INET6, socket.SOCK_STREAM, 262) as near,
    ):
        ear.bind(("::", 0))
        ear.listen(1)
        near.connect((f"::ffff:{SERVER4}", ear.getsockname()[1]))
        far, _ = ear.accept()
        with far:
            say(near, far)
            assert (bond.connection().source, bond.connection().destination) == (A1, SERVER4)
            assert bond.event("server", Kind.ESTABLISHED).destination == A1
            assert bond.event("client", Kind.ESTABLISHED).source == A1
