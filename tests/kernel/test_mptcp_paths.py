"""A session's MPTCP connections use exactly its links, though endpoints are there for all links."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import Any

import pytest

from kernel.helpers_cgroup import MPTCP_PORT, MptcpEcho
from kernel.helpers_early import way
from kernel.helpers_peer import Peer
from kernel.helpers_sessions import AT_ONCE, FAMILIES, OF, SERVER, TCP, UPLINKS, Case
from kernel.helpers_shared import Engine, both_engines, lab
from labkit.agent import eventually
from labkit.netns import in_ns
from mpathd.kernel.mptcp import Events
from mpathd.model.mptcp import Event, Kind

pytestmark = pytest.mark.kernel

FLOW = [f"*-*-tcp-*-{MPTCP_PORT}"]
PATIENCE = 30.0  # seconds: each try of a lost subflow comes after twice the time, and may come before the way is free
FORBIDDEN = 3  # the link that the session may not use; the first one is its default service, the second its member


class Heard(Enum):
    """How a subflow learns that it may not be."""

    RESET = auto()
    NO_ROUTE = auto()


# A marked socket of IPv6 that is bound to a link, as subflows are, finds no route by it in the session's table; one of
# IPv4 does, since the kernel then takes what it wants to reach for a neighbour on that link.
HEARS = {"packets": {4: Heard.RESET, 6: Heard.RESET}, "sockets": {4: Heard.RESET, 6: Heard.NO_ROUTE}}


def furnish(case: Case) -> None:
    """Have endpoints for all links, which mpathd makes, and a server that takes them."""
    case.lab.ip("server", "mptcp limits set subflows 8")
    case.enter(MptcpEcho(case))
    case.settle()
    eventually(lambda: endpoints(case) == every(), what="endpoints are there for all links")


shared = lab(furnish=furnish)


@pytest.fixture
def ear(case: Case) -> Iterator[Events]:
    """What the client's kernel tells of subflows."""
    made = in_ns(case.lab.ns("client"), Events)
    yield made
    made.close()


def every() -> set[tuple[str, str]]:
    """Address and link of each endpoint that there should be."""
    return {(OF[family][number], dev) for family in FAMILIES for number, dev in enumerate(UPLINKS)}


def endpoints(case: Case) -> set[tuple[str, str]]:
    """Address and link of each endpoint that is there."""
    lines = [line.split() for line in case.lab.ip("client", "mptcp endpoint show").splitlines()]
    return {(words[0], words[words.index("dev") + 1]) for words in lines}


def unroutable(case: Case) -> int:
    """How many subflows could not even send their first packet, as the client's kernel counts them."""
    said = case.lab.exec("client", ["nstat", "-asz", "MPTcpExtMPJoinSynTxConnectErr"]).stdout
    return int(re.findall(r"MPJoinSynTxConnectErr +(\d+)", said)[0])


def two_links(case: Case) -> Mapping[str, Any]:
    """The settings of a session that may use the first two links."""
    chosen = [case.services()["vethc2"]]
    return {"flow_selectors": FLOW, "allowed_bearers": ["ethernet"], "multipath_routed_services": chosen}


def subflows(case: Case, family: int) -> set[str]:
    """The sources of the subflows to the server that are established, as ss shows them."""
    far = f"[{SERVER[family]}]:{MPTCP_PORT}" if family == 6 else f"{SERVER[family]}:{MPTCP_PORT}"
    lines = case.lab.exec("client", ["ss", "-Htn", "state", "established", "dst", far]).stdout.splitlines()
    ends = (line.split()[2].rpartition(":")[0] for line in lines)
    return {end.partition("%")[0].strip("[]") for end in ends}  # one that is bound to a link has %DEV behind it


def talks(case: Case, peer: Peer, family: int, links: tuple[int, ...]) -> int:
    """Open a connection, and use it until it has a subflow on each of some links; give its number."""
    number = peer.open("mptcp", family)
    assert peer.reach("mptcp", family, MPTCP_PORT, number=number).answered
    sources = {OF[family][link - 1] for link in links}
    eventually(lambda: peer.talk(number) and subflows(case, family) >= sources, what=f"subflows from {sources}")
    assert peer.talk(number, 50) == 50
    return number


@pytest.mark.parametrize("family", FAMILIES)
def test_without_a_session_all_links_are_used(case: Case, family: int) -> None:
    """What the next tests would see if sessions did nothing."""
    with Peer(case, bus=False) as peer:
        number = talks(case, peer, family, (1, 2, 3))
        assert subflows(case, family) == set(OF[family])
        peer.close(number)
    case.arrived()
    assert case.ways(proto=TCP, dport=MPTCP_PORT) == tuple(way(link, family) for link in (1, 2, 3))


@pytest.mark.parametrize("family", FAMILIES)
@both_engines
def test_no_subflow_and_no_packet_on_another_link(case: Case, ear: Events, engine: Engine, family: int) -> None:
    """The one that would join by the forbidden link fails at once, before its first packet would be repeated."""
    engine.session("s", **two_links(case))
    with Peer(case, bus=False) as peer:
        case.reset()
        eventually(lambda: endpoints(case) == every(), what="endpoints are there for all links")
        ear.drain()  # of connections before
        heard: list[Event] = []
        before = unroutable(case)
        number = peer.open("mptcp", family)
        assert peer.reach("mptcp", family, MPTCP_PORT, number=number).answered

        def closed() -> set[tuple[str, int]]:
            heard.extend(ear.drain())
            return {(event.source, event.error) for event in heard if event.kind is Kind.SUB_CLOSED}

        def failed() -> Heard | None:
            return Heard.RESET if closed() else Heard.NO_ROUTE if unroutable(case) > before else None

        assert eventually(failed, AT_ONCE, "the forbidden subflow has failed") is HEARS[engine.name][family]
        eventually(lambda: len(subflows(case, family)) > 1 and peer.talk(number), what="the member's subflow")
        assert peer.talk(number, 50) == 50
        assert subflows(case, family) == set(OF[family][:2])
        assert closed() <= {(OF[family][FORBIDDEN - 1], errno.ECONNREFUSED)}
        peer.close(number)
    case.arrived()
    assert case.ways(proto=TCP, dport=MPTCP_PORT) == (way(1, family), way(2, family))


@pytest.mark.parametrize("family", FAMILIES)
@both_engines
def test_a_link_that_is_taken_from_a_session_is_left_at_once(case: Case, engine: Engine, family: int) -> None:
    """By subflows that are there already; the connection goes on."""
    engine.session("s", allowed_bearers=["ethernet"], flow_selectors=FLOW)
    with Peer(case, bus=False) as peer:
        case.reset()
        number = talks(case, peer, family, (1, 2, 3))
        engine.session("s", **two_links(case))
        case.reset()
        assert peer.talk(number, 50) == 50
        case.arrived()
        assert set(case.ways(proto=TCP, dport=MPTCP_PORT)) <= {way(1, family), way(2, family)}
        peer.close(number)
    case.arrived()
    assert set(case.ways(proto=TCP, dport=MPTCP_PORT)) <= {way(1, family), way(2, family)}  # its last words too


@both_engines
def test_what_a_session_forbids_is_not_tried_again(case: Case, engine: Engine) -> None:
    """Not by the one who brings lost subflows back: each try holds the connection's data up for a while."""
    fault = "add table ip fault; add chain ip fault way { type filter hook forward priority 0; }; "
    fault += f"add rule ip fault way ip saddr {OF[4][1]} tcp dport {MPTCP_PORT} reject with tcp reset"
    engine.session("s", **two_links(case))
    with Peer(case, bus=False) as peer:
        case.reset()
        case.lab.exec("r2", ["nft", fault])
        before = case.lab.ip("client", "mptcp endpoint show")
        number = peer.open("mptcp", 4)
        assert peer.reach("mptcp", 4, MPTCP_PORT, number=number).answered
        eventually(
            lambda: (
                peer.talk(number)
                and any(p.dev == "vethr2" and p.way == "out" and "R" in p.flags for p in case.watch.packets(proto=TCP))
            ),
            what="the member's subflow is reset",
        )
        case.lab.exec("r2", ["nft", "delete table ip fault"])
        # It was lost after the forbidden one: once it is back, that one would have been tried too.
        eventually(lambda: OF[4][1] in subflows(case, 4), PATIENCE, "the member's subflow is brought back")
        forbidden = [line for line in before.splitlines() if line.startswith(f"{OF[4][FORBIDDEN - 1]} ")]
        assert forbidden[0] in case.lab.ip("client", "mptcp endpoint show").splitlines()
        peer.close(number)
