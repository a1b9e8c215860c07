"""A session in a VPN: its packets enter the tunnel, the tunnel's own leave as without a session, and nothing loops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from kernel.helpers_early import way
from kernel.helpers_sessions import FAMILIES, FLOW, KINDS, OTHER, PORT, SERVER, Case, Went
from kernel.helpers_vpn import DEV, ENDS, METRIC, OUTER, Tunnel

USER = 41101
WHOSE: Mapping[str, Mapping[str, Any]] = {"selectors": {"flow_selectors": FLOW}, "a user": {"users": [USER]}}


@pytest.fixture
def tunnel(case: Case, outer: int) -> Iterator[Tunnel]:
    """A VPN that mpathd knows, carried by datagrams of a family."""
    with Tunnel(case, outer) as made:
        case.settle()
        assert DEV in case.services()
        yield made


def enters(case: Case, tunnel: Tunnel, family: int, kind: str) -> None:
    """Assert that a try is answered through the tunnel, and that no packet of it is beside it."""
    tunnel.watch.clear()
    assert case.reach(kind, family) == Went((), 0, answered=True)
    assert tunnel.seen(dport=PORT, family=family) == {ENDS[family][0]}


@pytest.mark.parametrize("outer", FAMILIES)
@pytest.mark.parametrize("family", FAMILIES)
def test_inner_packets_enter_and_outer_ones_leave_as_ever(case: Case, tunnel: Tunnel, family: int, outer: int) -> None:
    case.session("inside", allowed_bearers=["vpn"], flow_selectors=FLOW)
    case.reset()
    before = tunnel.inner

    for kind in KINDS:
        enters(case, tunnel, family, kind)
    case.arrived()

    assert case.ways(dport=OUTER) == (way(1, outer),)
    carried = case.watch.packets(way="in", dport=OUTER)
    assert len(carried) == tunnel.inner - before  # each once: nothing that carries is carried
    assert tunnel.watch.packets(dport=OUTER) == ()
    case.goes(way(1, family), family, OTHER)


@pytest.mark.parametrize("outer", [4])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_users_session(case: Case, tunnel: Tunnel, kind: str, family: int) -> None:
    """The program that carries is another user's."""
    case.session("inside", allowed_bearers=["vpn"], users=[USER])

    assert case.as_user(kind, family, PORT, user=USER) == Went((), 0, answered=True)
    assert tunnel.seen(dport=PORT, family=family) == {ENDS[family][0]}
    assert tunnel.watch.packets(dport=OUTER) == ()
    case.goes(way(1, family), family)


@pytest.mark.parametrize("outer", FAMILIES)
def test_the_tunnel_in_a_session_of_its_own(case: Case, tunnel: Tunnel, outer: int) -> None:
    """What carries goes by another link than main's, and what is carried still enters."""
    case.session("inside", allowed_bearers=["vpn"], flow_selectors=FLOW)
    case.session("carrier", allowed_interface="vethc2", flow_selectors=[f"*-*-udp-*-{OUTER}"])
    case.reset()

    for family in FAMILIES:
        for kind in KINDS:
            enters(case, tunnel, family, kind)
    case.arrived()

    assert case.ways(dport=OUTER) == (way(2, outer),)
    assert tunnel.watch.packets(dport=OUTER) == ()


@pytest.mark.parametrize("outer", [4])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_vpn_with_a_split_default(case: Case, tunnel: Tunnel, family: int) -> None:
    """Main's traffic goes through the VPN, its own by a host route; a session of the uplinks goes beside it."""
    halves = {4: ("0.0.0.0/1", "128.0.0.0/1"), 6: ("2000::/3",)}[family]
    lines = [f"-4 route add {SERVER[4]} via 10.0.1.1 dev vethc1"] if family == 6 else []
    lines += [f"-{family} route add {half} dev {DEV}" for half in halves]
    case.session("beside", allowed_interface="vethc2", flow_selectors=[f"*-*-udp-*-{OTHER}"])
    case.session("inside", allowed_bearers=["vpn"], flow_selectors=FLOW)
    if family == 4:  # the far side of the VPN has an address of its own
        lines.insert(0, f"-4 route add {SERVER[4]} via 10.0.1.1 dev vethc1 table 4500")
        lines.insert(0, f"-4 rule add pref 100 ipproto udp dport {OUTER} lookup 4500")
    for line in lines:
        case.lab.ip("client", line)
    try:
        case.settle()
        for kind in KINDS:
            enters(case, tunnel, family, kind)
        case.goes(way(2, family), family, OTHER, kinds=["udp", "sendto"])
        tunnel.watch.clear()
        assert case.reach("tcp", family, OTHER) == Went((), 0, answered=True)  # in no session: as main says
        assert tunnel.seen(dport=OTHER) == {ENDS[family][0]}
    finally:
        for line in reversed(lines):
            case.lab.ip("client", line.replace(" add ", " del "))
        case.settle()


def test_a_vpn_that_ends_and_comes_again(case: Case) -> None:
    """While it is gone nothing of the session leaves beside it, also with mpathd killed."""
    case.session("inside", allowed_bearers=["vpn"], flow_selectors=FLOW)
    for family in FAMILIES:
        case.refused(family)
    with Tunnel(case) as tunnel:
        case.settle()
        for family in FAMILIES:
            enters(case, tunnel, family, "udp")
    for family in FAMILIES:
        case.refused(family, kinds=["sendto", "tcp"])
    case.settle()
    for family in FAMILIES:
        case.refused(family)
    case.agent.kill()
    for family in FAMILIES:
        case.refused(family, kinds=["sendto", "tcp"])
        case.goes(way(1, family), family, OTHER)
    case.agent.start()
    with Tunnel(case) as tunnel:
        case.settle()
        for family in FAMILIES:
            enters(case, tunnel, family, "tcp")


@pytest.mark.parametrize("outer", [4])
def test_a_vpn_serves_no_session_that_does_not_name_it(case: Case, tunnel: Tunnel) -> None:
    """Although it is main's best default: `*` means all but VPNs, as in ConnMan."""
    best = [f"-{family} route add {to} dev {DEV} metric 1" for family, to in ((6, "::/0"),)]
    case.session("any", flow_selectors=FLOW)
    for line in best:
        case.lab.ip("client", line)
    try:
        case.settle()
        tunnel.watch.clear()  # what an earlier connection had to say before there was this session
        for family in FAMILIES:
            case.goes(way(1, family), family)
        assert tunnel.seen(dport=PORT) == set()
        assert case.reach("udp", 6, OTHER) == Went((), 0, answered=True)
    finally:
        for line in best:
            case.lab.ip("client", line.replace(" add ", " del "))
    assert f"metric {METRIC}" in case.lab.ip("client", "-6 route")
