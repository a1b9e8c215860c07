"""Laws 3 to 6 for sessions, by each engine where both hold them, with packets seen at the far side; and the post's
picture.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from typing import Any

import pytest

from kernel.helpers_early import way
from kernel.helpers_sessions import (
    FAMILIES,
    FLOW,
    IPPROTO_MPTCP,
    KINDS,
    OF,
    OTHER,
    PORT,
    SERVER,
    TCP,
    UPLINKS,
    Case,
    Stream,
)
from kernel.helpers_shared import Engine, both_engines
from labkit.agent import eventually

ALL = {4: "0.0.0.0/0", 6: "::/0"}
HALVES = {4: ("0.0.0.0/1", "128.0.0.0/1"), 6: ("2000::/3",)}
GATEWAY = {4: ("10.0.1.1", "10.0.2.1", "10.0.3.1"), 6: ("fd00:0:1::1", "fd00:0:2::1", "fd00:0:3::1")}
BITS = {4: 32, 6: 128}
MPTCP_PORT = 9


# Law 3: unbound sockets leave by the default service, with its source.


@both_engines
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_unbound_sockets_leave_by_the_default_service_with_its_source(
    case: Case, engine: Engine, number: int, family: int
) -> None:
    engine.session("s", allowed_interface=UPLINKS[number - 1])

    case.goes(way(number, family), family)
    with engine.outside():
        case.goes(way(1, family), family, OTHER)


@both_engines
@pytest.mark.parametrize("family", FAMILIES)
def test_wherever_main_leads(case: Case, engine: Engine, family: int) -> None:
    """Main's default is a link that the session may not use; the source that the kernel chose is translated."""
    engine.session("s", allowed_interface="vethc2")
    best = f"-{family} route add default via {GATEWAY[family][2]} dev vethc3 metric 1"
    case.lab.ip("client", best)
    try:
        case.settle()
        with engine.outside():
            case.goes(way(3, family), family, OTHER)
        case.goes(way(2, family), family)
    finally:
        case.lab.ip("client", best.replace(" add ", " del "))
        case.settle()


def test_answers_are_translated_back_for_many_connections_at_once(case: Case) -> None:
    case.session("s", allowed_interface="vethc3", flow_selectors=FLOW)
    for family in FAMILIES:
        for _ in range(50):
            went = case.reach("udp", family)
            assert (went.ways, went.answered) == ((way(3, family),), True)


# Law 4: bound sockets.


@both_engines
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_bound_to_a_member_or_the_default_service(case: Case, engine: Engine, number: int, family: int) -> None:
    engine.session("s", allowed_bearers=["ethernet"])

    case.goes(way(number, family), family, source=OF[family][number - 1])
    case.goes(way(number, family), family, source=OF[family][number - 1], device=UPLINKS[number - 1])


@pytest.mark.parametrize("family", FAMILIES)
def test_bound_elsewhere_does_not_leave_by_that_link(case: Case, family: int) -> None:
    services = case.services()
    chosen = [services["vethc2"]]
    case.session("s", allowed_bearers=["ethernet"], flow_selectors=FLOW, multipath_routed_services=chosen)

    case.goes(way(2, family), family, source=OF[family][1])
    case.goes(way(1, family), family, source=OF[family][2])  # the packet engine cannot tell it from an unbound one
    case.goes(way(1, family), family)


@both_engines
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("source", [False, True], ids=["device", "device and address"])
def test_bound_to_a_forbidden_device_nothing_leaves(case: Case, engine: Engine, family: int, source: bool) -> None:
    engine.session("s", allowed_interface="vethc2")

    for kind in KINDS:
        address = OF[family][2] if source else None
        went = case.reach(kind, family, device="vethc3", source=address, answer=kind in {"tcp", "mptcp"})
        assert went.ways == (), kind
        assert went.error, kind


class Server:
    """A listener for MPTCP at the server, which takes one connection."""

    def __init__(self, case: Case, family: int) -> None:
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        self._sock = case.lab.socket("server", kind, socket.SOCK_STREAM, IPPROTO_MPTCP)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.bind((SERVER[family], MPTCP_PORT))
        self._sock.listen(8)
        self._sock.settimeout(3)

    def __enter__(self) -> socket.socket:
        return self._sock

    def __exit__(self, *error: object) -> None:
        self._sock.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_joined_subflows_leave_by_members_only(case: Case, joins: None, family: int) -> None:
    services = case.services()
    flow = [f"*-*-tcp-*-{MPTCP_PORT}"]
    chosen = [services["vethc2"]]
    case.session("s", allowed_bearers=["ethernet"], flow_selectors=flow, multipath_routed_services=chosen)
    case.reset()

    with Server(case, family) as server:
        with case.lab.socket("client", server.family, socket.SOCK_STREAM, IPPROTO_MPTCP) as sock:
            sock.settimeout(3)
            sock.connect((SERVER[family], MPTCP_PORT))
            there, _ = server.accept()
            with there:
                for _ in range(20):  # both ways, until the other subflow has come up and all was tried
                    sock.send(b"x")
                    assert there.recv(1) == b"x"
                    there.send(b"y")
                    assert sock.recv(1) == b"y"
                case.watch.wait(
                    lambda seen: any(
                        p.dev == "vethr2" and p.way == "in" and p.proto == TCP and p.flags == "A" for p in seen
                    )
                )
                case.arrived()
    assert case.ways(proto=TCP, dport=MPTCP_PORT) == (way(1, family), way(2, family))


@pytest.mark.parametrize("family", FAMILIES)
def test_without_members_no_subflow_joins_by_another_link(case: Case, joins: None, family: int) -> None:
    case.session("s", allowed_interface="vethc1", flow_selectors=[f"*-*-tcp-*-{MPTCP_PORT}"])
    case.reset()

    with Server(case, family) as server:
        with case.lab.socket("client", server.family, socket.SOCK_STREAM, IPPROTO_MPTCP) as sock:
            sock.settimeout(3)
            sock.connect((SERVER[family], MPTCP_PORT))
            there, _ = server.accept()
            with there:
                for _ in range(20):
                    sock.send(b"x")
                    assert there.recv(1) == b"x"
                    there.send(b"y")
                    assert sock.recv(1) == b"y"
                case.arrived()
    assert case.ways(proto=TCP, dport=MPTCP_PORT) == (way(1, family),)


# Law 5: without a usable service nothing leaves.

NONE: Mapping[str, Mapping[str, Any]] = {
    "no such interface": {"allowed_interface": "nosuch0"},
    "no such bearer": {"allowed_bearers": ["cellular"]},
    "no bearer at all": {"allowed_bearers": []},
}


@both_engines
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("why", NONE)
def test_without_a_service_nothing_leaves_and_sockets_hear_it(
    case: Case, engine: Engine, why: str, family: int
) -> None:
    engine.session("s", **NONE[why])

    case.refused(family)
    for source in OF[family]:
        case.refused(family, source=source)
    with engine.outside():
        case.goes(way(1, family), family, OTHER)


@both_engines
@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_service_nothing_leaves_by_a_device(case: Case, engine: Engine, family: int) -> None:
    engine.session("s", allowed_bearers=["cellular"])

    for device in UPLINKS:
        case.refused(family, device=device)


@both_engines
@pytest.mark.parametrize("kind", ["no gateway", "no address"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_without_a_service_is_refused_and_the_other_goes(
    case: Case, engine: Engine, family: int, kind: str
) -> None:
    """`family` has a service; for the other one the session's only link has nothing."""
    lacks = 10 - family
    prefix = f"{OF[lacks][1]}/{64 if lacks == 6 else 24}"
    default = f"default via {GATEWAY[lacks][1]} dev vethc2 metric 200"
    engine.session("s", allowed_interface="vethc2")
    if kind == "no gateway":
        case.lab.ip("client", f"-{lacks} route del {default}")
    else:
        case.lab.ip("client", f"addr del {prefix} dev vethc2")
    try:
        case.settle()

        case.goes(way(2, family), family)
        case.refused(lacks)
        case.refused(lacks, source=OF[lacks][2])
        with engine.outside():
            case.goes(way(1, lacks), lacks, OTHER)
    finally:
        if kind != "no gateway":
            case.lab.ip("client", f"addr add {prefix} dev vethc2")
        case.lab.ip("client", f"-{lacks} route replace {default}")
        case.settle()
    case.goes(way(2, lacks), lacks)


@both_engines
@pytest.mark.parametrize("lacks", FAMILIES)
def test_a_member_without_one_family(case: Case, engine: Engine, lacks: int) -> None:
    """A link with addresses of one family only is a member for that one; the session goes on in both."""
    prefix = f"{OF[lacks][2]}/{64 if lacks == 6 else 24}"
    engine.session("s", allowed_bearers=["ethernet"])
    case.lab.ip("client", f"addr del {prefix} dev vethc3")
    try:
        case.settle()
        for family in FAMILIES:
            case.goes(way(1, family), family)
            case.goes(way(2, family), family, source=OF[family][1])
        case.goes(way(3, 10 - lacks), 10 - lacks, source=OF[10 - lacks][2])
    finally:
        case.lab.ip("client", f"addr add {prefix} dev vethc3")
        default = f"default via {GATEWAY[lacks][2]} dev vethc3 metric 300"
        case.lab.ip("client", f"-{lacks} route replace {default}")
        case.settle()


@both_engines
@pytest.mark.parametrize("family", FAMILIES)
def test_without_service_main(case: Case, engine: Engine, family: int) -> None:
    engine.session("s", allowed_interface="vethc2", without_service="main")
    case.goes(way(2, family), family)

    case.carrier(2, up=False)
    case.goes(way(1, family), family)

    case.carrier(2, up=True)
    case.goes(way(2, family), family)


@both_engines
@pytest.mark.parametrize("family", FAMILIES)
def test_without_service_main_for_one_family(case: Case, engine: Engine, family: int) -> None:
    """The other family's service is gone; that family's traffic goes by main, as the policy says."""
    lacks = 10 - family
    default = f"-{lacks} route del default via {GATEWAY[lacks][1]} dev vethc2 metric 200"
    engine.session("s", allowed_interface="vethc2", without_service="main")
    case.lab.ip("client", default)
    try:
        case.settle()
        case.goes(way(2, family), family)
        case.goes(way(1, lacks), lacks)
    finally:
        case.lab.ip("client", default.replace(" del ", " add "))
        case.settle()


def test_from_link_loss_to_return_through_restart_kill_and_rewrites() -> None:
    """Not one packet of the session by another link; and it goes on by its own when that returns."""
    with Case(args=("--mpathrouting", "--keep")) as case:
        case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
        sources = [address for family in FAMILIES for address in OF[family]]
        case.reset()
        with Stream(case, sources=sources) as stream:

            def step() -> None:
                stream.goes_on()
                case.watch.packets()  # makes room

            step()
            case.carrier(2, up=False)
            step()
            assert case.agent.stop() == 0  # keeps, as told
            step()
            case.agent.start()
            step()
            case.agent.kill()
            step()
            case.agent.start()
            case.settle()
            step()
            case.session("s", allowed_interface="vethc2", flow_selectors=FLOW, description="changed")
            step()
            case.session("s", allowed_interface="vethc2", flow_selectors=[*FLOW, "*-*-udp-*-99"])
            step()
            case.agent.signal(1)
            case.settle()
            case.arrived()
            during = case.ways(dport=PORT)
            case.watch.clear()
            case.carrier(2, up=True)
            step()
            for family in FAMILIES:
                case.watch.wait(
                    lambda seen, family=family: any(  # type: ignore[misc]
                        p.way == "in" and p.family == family and p.dport == PORT and p.dev == "vethr2" for p in seen
                    )
                )
            case.agent.kill()
            step()
            case.agent.start()
            step()
            assert case.agent.stop() == 0
            step()
        case.arrived()
        after = case.ways(dport=PORT)
    assert set(during) <= {way(2, 4), way(2, 6)}
    assert set(after) == {way(2, 4), way(2, 6)}


@both_engines
def test_a_session_that_changes_links_never_uses_a_third_one(case: Case, engine: Engine) -> None:
    engine.session("s", allowed_interface="vethc2")
    case.reset()
    with Stream(case, sources=[OF[4][1], OF[6][1]]) as stream:
        for number in (3, 2) * 5:
            engine.session("s", allowed_interface=UPLINKS[number - 1])
            stream.goes_on()
            case.watch.packets()
    case.arrived()
    assert set(case.ways(dport=PORT)) == {way(number, family) for number in (2, 3) for family in FAMILIES}


# Law 6: main's specific routes.


@both_engines
@pytest.mark.parametrize("family", FAMILIES)
def test_mains_host_route_never_leads_over_a_forbidden_uplink(case: Case, engine: Engine, family: int) -> None:
    route = f"-{family} route add {SERVER[family]}/{BITS[family]} via {GATEWAY[family][2]} dev vethc3"
    engine.session("s", allowed_interface="vethc2")
    case.lab.ip("client", route)
    try:
        case.settle()
        with engine.outside():
            case.goes(way(3, family), family, OTHER)
        for kind in KINDS:
            went = case.reach(kind, family, answer=kind in {"tcp", "mptcp"})
            assert went.ways == (), kind
            assert went.error, kind
        dropped = re.findall(r"counter d_\d+ \{\s+packets (\d+) bytes", case.nft())
        assert sum(map(int, dropped)) >= len(KINDS)  # and it is counted
    finally:
        case.lab.ip("client", route.replace(" add ", " del "))
        case.settle()


@both_engines
@pytest.mark.parametrize("family", FAMILIES)
def test_mains_specific_route_by_a_member(case: Case, engine: Engine, family: int) -> None:
    """A session that may use that link follows main's route."""
    route = f"-{family} route add {SERVER[family]}/{BITS[family]} via {GATEWAY[family][2]} dev vethc3"
    engine.session("s", allowed_bearers=["ethernet"])
    case.lab.ip("client", route)
    try:
        case.settle()
        case.goes(way(3, family), family)
    finally:
        case.lab.ip("client", route.replace(" add ", " del "))
        case.settle()


@both_engines
@pytest.mark.parametrize("family", FAMILIES)
def test_a_split_default_does_not_swallow_a_session(case: Case, engine: Engine, family: int) -> None:
    routes = [f"-{family} route add {half} via {GATEWAY[family][2]} dev vethc3" for half in HALVES[family]]
    engine.session("s", allowed_interface="vethc2")
    for route in routes:
        case.lab.ip("client", route)
    try:
        case.settle()
        with engine.outside():
            case.goes(way(3, family), family, OTHER)
        case.goes(way(2, family), family)
    finally:
        for route in routes:
            case.lab.ip("client", route.replace(" add ", " del "))
        case.settle()


@pytest.mark.parametrize("usable", [True, False], ids=["service", "no service"])
def test_a_lan_without_gateway_is_no_uplink(usable: bool) -> None:
    """Main's specifics keep working for session traffic: a link that leads to no other network is a LAN."""
    with Case(start=False) as case:
        for family in FAMILIES:
            case.lab.ip("client", f"-{family} route del default via {GATEWAY[family][2]} dev vethc3 metric 300")
        case.agent.start()
        flow = ["*-*-udp-*-5"]
        case.session("s", allowed_interface="vethc2" if usable else "nosuch0", flow_selectors=flow)
        for family in FAMILIES:
            went = case.reach("udp", GATEWAY[family][2], 5, answer=False)
            assert went.ways == (way(3, family),)
            if not usable:
                case.refused(family, 5, ["udp"])


@pytest.mark.parametrize("usable", [True, False], ids=["service", "no service"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_lan_behind_a_bridge(family: int, usable: bool) -> None:
    far = (("isp1", "lan"), ("isp2", "lan"), ("pc1", "eth0"))
    with Case("home-router", client="router", far=far, links=("wan1", "wan2", "br-lan")) as case:
        case.session("s", allowed_interface="wan2" if usable else "nosuch0", flow_selectors=["*-*-*"])
        pc = {4: "192.168.1.11", 6: "fd00:168:1::11"}[family]
        router = {4: "192.168.1.1", 6: "fd00:168:1::1"}[family]

        went = case.reach("udp", pc, answer=False)

        assert (went.ways, went.error) == ((("eth0", router),), 0)
        if usable:
            case.goes(("lan", {4: "10.1.2.2", 6: "fd00:1:2::2"}[family]), family)
        else:
            case.refused(family)


# The post's picture.


def lines(case: Case, family: int) -> list[str]:
    """The rules of sessions without today's additions, as the post shows them: source, mark, table."""
    out = []
    for line in case.rules(family):
        if "suppress" not in line and "unreachable" not in line:
            out.append(re.sub(r"^\d+: |/0x\w+| proto 109", "", line))
    return out


@pytest.mark.parametrize("family", FAMILIES)
def test_the_posts_picture(case: Case, family: int) -> None:
    """One session, three services routed: two of them are members, the default service is not."""
    case.session("post", allowed_bearers=["ethernet"], flow_selectors=["*-*-udp-7777-8888"])
    (mark,) = case.marks()
    tables = [255 + case.lab.index("client", dev) for dev in UPLINKS]

    assert lines(case, family) == [
        f"from {OF[family][1]} fwmark {mark:#x} lookup {tables[1]}",
        f"from {OF[family][2]} fwmark {mark:#x} lookup {tables[2]}",
        f"from all fwmark {mark:#x} lookup {mark}",
    ]
    assert any(line.startswith(f"default via {GATEWAY[family][0]} dev vethc1") for line in case.table(mark, family))


@pytest.mark.parametrize("family", FAMILIES)
def test_all_rules_of_a_session_in_their_order(case: Case, family: int) -> None:
    case.session("post", allowed_bearers=["ethernet"], flow_selectors=FLOW)
    (mark,) = case.marks()
    with_mask = f"fwmark {mark:#x}/0x7fff0000"
    split = {4: 1, 6: 3}[family]
    tables = [255 + case.lab.index("client", dev) for dev in UPLINKS]
    members = list(zip(OF[family][1:], tables[1:], strict=True))

    wanted = [f"20000: from {a} {with_mask} lookup {t} suppress_prefixlength 0 proto 109" for a, t in members]
    wanted.append(f"20001: from all {with_mask} lookup {mark} suppress_prefixlength 0 proto 109")
    wanted.append(f"20002: from all {with_mask} lookup main suppress_prefixlength {split} proto 109")
    wanted += [f"20003: from {a} {with_mask} lookup {t} proto 109" for a, t in members]
    wanted += [f"20004: from {a} {with_mask} unreachable proto 109" for a, _ in members]
    wanted.append(f"21000: from all {with_mask} lookup {mark} proto 109")
    wanted.append(f"21001: from all {with_mask} unreachable proto 109")
    assert sorted(case.rules(family)) == sorted(wanted)


@pytest.mark.parametrize("family", FAMILIES)
def test_services_by_hand(case: Case, family: int) -> None:
    services = case.services()

    def members() -> list[str]:
        found = (re.match(r"from (\S+) fwmark", line) for line in lines(case, family))
        return [m[1] for m in found if m and m[1] != "all"]

    def have(chosen: object) -> None:
        values: dict[str, Any] = {"multipath_routed_services": chosen, "flow_selectors": FLOW}
        case.session("s", allowed_bearers=["ethernet"], **values)

    have([services["vethc3"]])
    assert members() == [OF[family][2]]
    case.goes(way(3, family), family, source=OF[family][2])
    have([])
    assert members() == []
    have("auto")
    assert sorted(members()) == sorted(OF[family][1:])
    have(["*"])
    assert sorted(members()) == sorted(OF[family][1:])


def test_the_rules_of_a_member_go_when_it_disconnects(case: Case) -> None:
    """Rules of sessions do go when a service disconnects, as the post shows; those of the service stay (law 1)."""
    case.session("s", allowed_bearers=["ethernet"], flow_selectors=FLOW)
    assert any(OF[4][1] in line for line in case.rules(4))

    case.carrier(2, up=False)
    assert not any(OF[4][1] in line for line in case.rules(4))
    case.carrier(2, up=True)
    eventually(lambda: any(OF[4][1] in line for line in case.rules(4)))
