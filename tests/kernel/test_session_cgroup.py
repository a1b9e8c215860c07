"""Sessions of control groups: sockets are marked before their first packet, and nothing is translated."""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest

from kernel.helpers_cgroup import MPTCP_PORT, Cgroup, MptcpEcho, programs
from kernel.helpers_early import way
from kernel.helpers_peer import Peer, Reached
from kernel.helpers_sessions import FAMILIES, KINDS, OF, OTHER, PORT, SERVER, TCP, TIMED_OUT, UPLINKS, Case
from kernel.helpers_shared import answers, keeping, lab
from labkit import ping, tcp_connect
from labkit.agent import eventually

NOBODY = 65534
SERVED = 8089
PROOF = f"""
table inet ksproof {{
    chain first {{
        type filter hook output priority -310;
        oifname lo accept
        tcp dport {MPTCP_PORT} meta mark & 0x7fff0000 == 0 counter comment "bare"
        tcp dport {MPTCP_PORT} meta mark & 0x7fff0000 != 0 counter comment "marked"
    }}
}}
"""


shared = lab(keeping, answers)


def mark_of(case: Case, name: str) -> int:
    """The mark of a session, as mpathd tells it."""
    with Peer(case) as asks:
        return int(asks.get(asks.session(name), "Mark"))


def goes(peer: Peer, mark: int, number: int, family: int, *, child: bool = False, source: str = "") -> None:
    """Assert that all kinds of sockets have a mark from birth on, and go and are answered by one link without NAT."""
    for kind in KINDS:
        told = peer.reach(kind, family, PORT, child=child, source=source)
        knows = "" if kind == "sendto" else OF[family][number - 1]
        assert told == Reached((way(number, family),), knows, mark, mark, 0, answered=True), kind


@pytest.mark.parametrize("family", FAMILIES)
def test_every_socket_is_marked_from_birth_on(case: Case, group: Cgroup, peer: Peer, family: int) -> None:
    """Also children's; with NAT forbidden, so that it cannot be what makes the source right. No one else's is."""
    case.session("s", cgroup=group.path, allowed_interface="vethc2", nat="never")
    mark = mark_of(case, "s")
    assert mark

    goes(peer, mark, 2, family)
    goes(peer, mark, 2, family, child=True)
    with Peer(case, bus=False) as outside:
        goes(outside, 0, 1, family)
    with Peer(case, user=NOBODY, bus=False) as other:
        group.take(other)
        goes(other, mark, 2, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bound_socket_leaves_by_its_link_or_hears_an_error(
    case: Case, group: Cgroup, peer: Peer, family: int
) -> None:
    """A member's address keeps its link; with another link's address, or bound to another link, nothing leaves."""
    case.session("s", cgroup=group.path, allowed_bearers=["ethernet"], nat="never")
    mark = mark_of(case, "s")
    for number in (1, 2, 3):
        goes(peer, mark, number, family, source=OF[family][number - 1])

    case.session("s", cgroup=group.path, allowed_interface="vethc2")
    goes(peer, mark, 2, family, source=OF[family][1])
    for kind in KINDS:
        for number in (1, 3):
            told = peer.reach(kind, family, PORT, source=OF[family][number - 1])
            assert told.ways == (), kind
            refusals = {errno.ECONNREFUSED, errno.EPERM} if kind in {"udp", "sendto"} else {errno.ECONNREFUSED}
            assert told.error in refusals, (kind, told)
            told = peer.reach(kind, family, PORT, device=UPLINKS[number - 1])
            assert (told.ways, told.error in {0, TIMED_OUT}) == ((), False), kind


@pytest.fixture
def proof(case: Case, joins: None) -> Iterator[None]:
    """What goes to a server of MPTCP is counted, with a session's mark and without."""
    case.lab.exec("client", ["nft", "-f", "-"], input=PROOF)
    with MptcpEcho(case):
        yield
    case.lab.exec("client", ["nft", "delete", "table", "inet", "ksproof"])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "a user"])
def test_every_subflow_is_marked(case: Case, group: Cgroup, proof: None, family: int, user: int) -> None:
    """The first by the default service, one joins by a member, none by the third link; not one packet is unmarked."""
    chosen = [case.services()["vethc2"]]
    case.session("s", cgroup=group.path, allowed_bearers=["ethernet"], multipath_routed_services=chosen, nat="never")
    case.reset()

    with Peer(case, user=user, bus=False) as peer:
        group.take(peer)
        number = peer.open("mptcp", family)
        told = peer.reach("mptcp", family, MPTCP_PORT, number=number)
        assert (told.source, told.answered) == (OF[family][0], True)
        assert peer.talk(number, 20) == 20
        case.watch.wait(
            lambda seen: any(p.dev == "vethr2" and p.way == "in" and p.proto == TCP and p.flags == "A" for p in seen)
        )
        assert peer.talk(number, 20) == 20
        case.arrived()
        assert case.ways(proto=TCP, dport=MPTCP_PORT) == (way(1, family), way(2, family))
        peer.close(number)
        eventually(lambda: counted(case)["marked"] >= 20, what="packets are counted")
    assert counted(case)["bare"] == 0


def counted(case: Case) -> dict[str, int]:
    """Packets that went, before anyone could have marked them by nft: with a session's mark, and without."""
    text = case.nft("table", "inet", "ksproof")
    return {name: int(number) for number, name in re.findall(r'packets (\d+) bytes \d+ comment "(\w+)"', text)}


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_service_connecting_fails_at_once(case: Case, group: Cgroup, peer: Peer, family: int) -> None:
    case.session("s", cgroup=group.path, allowed_interface="nosuch0")
    for kind in KINDS:
        for source in ("", *OF[family]):
            told = peer.reach(kind, family, PORT, source=source)
            assert (told.ways, told.error in {0, TIMED_OUT}) == ((), False), (kind, source)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_applications_own_marks_are_left_alone(case: Case, group: Cgroup, peer: Peer, family: int) -> None:
    """One with a session's bits is that session's; of another one the foreign bits are kept."""
    case.session("s", cgroup=group.path, allowed_interface="vethc2", nat="never")
    case.session("t", users=[4_000_000_001], allowed_interface="vethc3")
    ours, theirs = mark_of(case, "s"), mark_of(case, "t")
    for kind in ("udp", "sendto", "tcp"):
        told = peer.reach(kind, family, PORT, mark=theirs)
        assert (told.ways, told.mark, told.answered) == ((way(3, family),), theirs, True), kind
        number = peer.open(kind, family, mark=0x40)
        if kind == "sendto":  # the hook of sendmsg is too late for the datagram that it sees
            assert set(peer.reach(kind, family, PORT, number=number).ways) <= {way(2, family)}
        told = peer.reach(kind, family, PORT, number=number)
        assert (told.ways, told.mark, told.answered) == ((way(2, family),), ours | 0x40, True), kind
        peer.close(number)
        number = peer.open(kind, family)
        peer.set_mark(number, theirs | 0x40)
        told = peer.reach(kind, family, PORT, number=number)
        assert (told.ways, told.mark) == ((way(3, family),), theirs | 0x40), kind
        peer.close(number)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("first", ["inner", "outer"])
def test_the_inner_group_wins(case: Case, group: Cgroup, peer: Peer, first: str, family: int) -> None:
    with ExitStack() as stack:
        inside = stack.enter_context(Cgroup(group))
        who = stack.enter_context(Peer(case, bus=False))
        inside.take(who)
        ways = {"outer": (group.path, "vethc2"), "inner": (inside.path, "vethc3")}
        for name in sorted(ways, key=lambda name: name != first):
            path, link = ways[name]
            case.session(name, cgroup=path, allowed_interface=link, nat="never")
        goes(who, mark_of(case, "inner"), 3, family)
        goes(peer, mark_of(case, "outer"), 2, family)

        (case.policies / "inner.toml").unlink()  # mpathd waits a little, in case the file is being replaced
        eventually(lambda: not programs(inside.folder), what="the inner session's programs are gone")
        goes(who, mark_of(case, "outer"), 2, family)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_socket_older_than_the_session_does_not_leak(case: Case, group: Cgroup, peer: Peer, family: int) -> None:
    """It is unmarked. What it sends leaves by the session's link, or not at all."""
    older = {kind: peer.open(kind, family) for kind in KINDS}
    for kind, number in older.items():
        told = peer.reach(kind, family, PORT, number=number)
        assert (told.ways, told.mark, told.answered) == ((way(1, family),), 0, True), kind
    case.session("s", cgroup=group.path, allowed_interface="vethc2")
    case.reset()

    for kind in ("udp", "tcp", "mptcp"):
        peer.talk(older[kind], limit=0.5)
    for _ in range(3):
        told = peer.reach("sendto", family, PORT, number=older["sendto"])
    assert told.answered  # the hook of sendmsg marks it from its second datagram on
    for number in older.values():
        peer.close(number)  # its last words too
    case.arrived()
    assert set(case.ways(dst=SERVER[family], dport=PORT)) == {way(2, family)}


SERVES: Mapping[str, tuple[dict[str, Any], set[int]]] = {  # session to the links that it may use
    "all": ({"allowed_bearers": ["ethernet"]}, {1, 2, 3}),
    "one": ({"allowed_interface": "vethc2"}, {2}),
    "none": ({"allowed_interface": "nosuch0"}, set()),
}


@pytest.mark.parametrize("serves", SERVES)
def test_a_server_answers_by_the_link_that_was_asked(case: Case, group: Cgroup, peer: Peer, serves: str) -> None:
    """By one that its session may use; asked by another one it does not answer by a wrong one."""
    values, links = SERVES[serves]
    case.session("s", cgroup=group.path, **values)
    peer.serve(SERVED)
    for family in FAMILIES:
        for number, own in enumerate(OF[family], 1):
            assert ping(case.lab, "server", own).ok  # the kernel's answer, which is in no group
            done = tcp_connect(case.lab, "server", own, SERVED, payload=b"in", timeout=3 if number in links else 0.5)
            assert number not in links or done.reply == b"in"
            case.arrived()
            assert set(case.ways(src=own, proto=TCP, sport=SERVED)) <= {way(number, family)}
    case.reset()
    assert set(peer.reach("udp", 4, PORT).ways) == {way(number, 4) for number in sorted(links)[:1]}  # it is in force


@pytest.mark.parametrize("serves", ["one", "none"])
def test_what_is_never_a_sessions(case: Case, group: Cgroup, peer: Peer, serves: str) -> None:
    """Own addresses, and multicast, which goes as without a session."""
    case.session("s", cgroup=group.path, **SERVES[serves][0])
    for family in FAMILIES:
        for address in ("127.0.0.1" if family == 4 else "::1", *OF[family]):
            for kind in KINDS:
                told = peer.reach(kind, address, OTHER)
                assert (told.ways, told.error, told.answered) == ((), 0, True), (kind, address)
    assert peer.reach("udp", 4, PORT).ways == ((way(2, 4),) if serves == "one" else ())  # it is in force
    for target in ("224.0.0.251", "ff05::77"):
        told = peer.reach("sendto", target, 5353, answer=False)
        assert [device for device, _ in told.ways] == [way(1, 4)[0]], target


@pytest.mark.parametrize("family", FAMILIES)
def test_a_port_that_the_session_has_just_used_is_free_for_others(case: Case, group: Cgroup, family: int) -> None:
    """What a closed socket of the session would say again is refused for a while; a socket that lives is no such."""
    case.session("s", cgroup=group.path, allowed_interface="vethc2")
    with Peer(case, bus=False) as inside:
        group.take(inside)
        told = inside.reach("sendto", family, PORT, source=OF[family][1])
        assert told.ways == (way(2, family),)
    port = next(p.sport for p in case.watch.packets(way="in", dport=PORT, dev="vethr2"))
    case.reset()

    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with case.lab.socket("client", kind, socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        sock.bind((OF[family][0], port))
        sock.sendto(b"another's", (SERVER[family], PORT))
        assert sock.recv(99) == b"another's"
    assert case.ways(payload=b"another's") == (way(1, family),)
