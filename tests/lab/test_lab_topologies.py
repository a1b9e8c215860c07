"""Each topology comes up, and packets take the ways of its drawing, seen at the far side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from labkit import SERVER4, SERVER6, End, Host, Lab, Link, Topology, Watch, names, ping

pytestmark = pytest.mark.kernel
Raise = Callable[[Topology | str], Lab]


@dataclass(frozen=True, slots=True)
class Way:
    """A way through a topology.

    Args:
        host: who asks the server.
        dev: device the question is bound to; None: main's choice.
        seen: (host, device) that see question and answer.
        unseen: (host, device) that see neither.
    """

    host: str
    dev: str | None
    seen: tuple[tuple[str, str], ...]
    unseen: tuple[tuple[str, str], ...]


def uplink(dev: str | None, number: int, count: int, near: str, far: str, host: str = "client") -> Way:
    """A way by uplink `number` of `count`, whose near and far devices are patterns with a place for the number."""
    ends = [tuple(text.format(n).split(":")) for n in range(1, count + 1) for text in (near, far)]
    places = [(end[0], end[1]) for end in ends]
    mine = places[number * 2 - 2 : number * 2]
    return Way(host, dev, tuple(mine), tuple(place for place in places if place not in mine))


WAYS = {
    "three-uplinks": [
        uplink(dev, number, 3, "r{0}:vethr{0}", "server:veths{0}")
        for dev, number in ((None, 1), ("vethc1", 1), ("vethc2", 2), ("vethc3", 3))
    ],
    "home-router": [
        *(
            uplink(dev, n, 2, "isp{0}:lan", "server:veths{0}", "router")
            for dev, n in ((None, 1), ("wan1", 1), ("wan2", 2))
        ),
        *(uplink(None, 1, 2, "isp{0}:lan", "server:veths{0}", host) for host in ("pc1", "pc2")),
    ],
    "same-subnet": [
        Way("client", dev, (("switch", seen), ("gw", "lan"), ("server", "veths")), (("switch", unseen),))
        for dev, seen, unseen in ((None, "p1", "p2"), ("up1", "p1", "p2"), ("up2", "p2", "p1"))
    ],
    "same-gateway": [
        uplink(dev, n, 2, "gw{0}:lan", "server:veths{0}") for dev, n in ((None, 1), ("up1", 1), ("up2", 2))
    ],
    "point-to-point": [
        Way("client", dev, (("r1", "lan"), ("server", "veths1")), (("r2", "tun0"), ("server", "veths2")))
        for dev in (None, "up1")
    ]
    + [Way("client", "tun0", (("r2", "tun0"), ("server", "veths2")), (("r1", "lan"), ("server", "veths1")))],
    "dual-stack": [uplink(dev, n, 2, "r{0}:lan", "server:veths{0}") for dev, n in (("up1", 1), ("up2", 2))],
    "bond-3": [
        Way(
            "client",
            f"up{n}",
            (("router", f"isp{n}"), ("router", "core"), ("server", "wan")),
            (("router", f"isp{n % 3 + 1}"),),
        )
        for n in (1, 2, 3)
    ],
    "uplinks-3": [Way("client", f"up{n}", (("net", f"net{n}"),), (("net", f"net{n % 3 + 1}"),)) for n in (1, 2, 3)],
}


def test_every_topology_is_tried() -> None:
    assert set(names()) <= set(WAYS)


@pytest.mark.parametrize("topology", WAYS)
def test_packets_take_the_ways_of_the_drawing(raised: Raise, topology: str) -> None:
    lab = raised(topology)
    for way in WAYS[topology]:
        with Watch(lab, way.seen + way.unseen) as watch:
            for server in (SERVER4, SERVER6):
                outcome = ping(lab, way.host, server, device=way.dev)
                assert outcome.ok, f"{way} {server}: {outcome}"
                assert places(watch, server) == set(way.seen), f"{way} {server}"


def places(watch: Watch, server: str) -> set[tuple[str, str]]:
    """Where the server's packets were seen, asking and answering."""
    asked = {(packet.host, packet.dev) for packet in watch.packets(dst=server)}
    answered = {(packet.host, packet.dev) for packet in watch.packets(src=server)}
    assert asked == answered
    return asked


def test_rate_and_mtu_hold(raised: Raise) -> None:
    at_once = (("net.ipv6.conf.default.accept_dad", "0"),)
    ends = End("a", "x", addresses=("10.0.0.1/24",), rate="1mbit", mtu=1400), End("b", "y")
    lab = raised(Topology("slow", "", "", (Host("a", sysctls=at_once), Host("b", sysctls=at_once)), (Link(*ends),)))
    assert "tbf" in lab.exec("a", ["tc", "qdisc", "show", "dev", "x"]).stdout
    assert "mtu 1400" in lab.ip("a", "link show x")
