"""Law 6: what main knows better than "by an uplink" holds for bound sockets too; a VPN that takes all does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kernel.conftest import FAMILIES, PORT, SERVER, UNREACHABLE, Tries, fresh_name, settled
from labkit import Echo, Lab, Watch
from labkit.agent import Agent, Bus, eventually

WAN = {4: {1: "10.1.1.2", 2: "10.1.2.2"}, 6: {1: "fd00:1:1::2", 2: "fd00:1:2::2"}}
ISP = {4: {1: "10.1.1.1", 2: "10.1.2.1"}, 6: {1: "fd00:1:1::1", 2: "fd00:1:2::1"}}
PC = {4: {1: "192.168.1.11", 2: "192.168.1.12"}, 6: {1: "fd00:168:1::11", 2: "fd00:168:1::12"}}
FAR = {4: ("198.51.100.0/24", "198.51.100.9"), 6: ("2001:db8:51::/64", "2001:db8:51::9")}
BITS = {4: 32, 6: 128}

HOME = [("isp1", "lan"), ("isp2", "lan"), ("pc1", "eth0"), ("pc2", "eth0")]


@pytest.fixture(scope="module")
def home() -> Iterator[Lab]:
    """A router with two uplinks and a LAN, and mpathd on it."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("home-router", fresh_name(), quiet=True))
        for family in FAMILIES:  # a further network of the server's
            lab.ip("server", f"addr add {FAR[family][1]}/{BITS[family]} dev lo")
        for host in ("server", "pc1", "pc2", "isp1", "isp2"):
            stack.enter_context(Echo(lab, host, PORT))
        stack.enter_context(Agent(lab, "router", ["--mpathrouting"]))
        yield lab


@pytest.fixture
def watch(home: Lab) -> Iterator[Watch]:
    """All that the router can send to."""
    with Watch(home, HOME) as made:
        yield made


@pytest.fixture
def added(home: Lab) -> Iterator[list[str]]:
    """What a test has added to the router's main table, as after `ip -N route add`; taken away at the end."""
    lines: list[str] = []
    yield lines
    for line in lines:
        home.ip("router", line.replace("route add", "route del", 1))
    settled(home, "router", "wan1")


def _reach(lab: Lab, watch: Watch, dst: str, source: str, host: str, *, kinds: int = 4) -> None:
    """Every kind of traffic from a source gets to `dst` by this host, and by no other, and is answered."""
    found = Tries(lab, watch, host="router").every(dst, source)
    assert len(found) == kinds
    for kind, went in found.items():
        assert (went.error, went.source, went.answered) == (0, source, True), kind
    seen = {packet.host for packet in watch.packets(way="in", dst=dst)}
    assert seen == {host}


def _add(lab: Lab, added: list[str], line: str) -> None:
    lab.ip("router", line)
    added.append(line)
    settled(lab, "router", "wan1")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("wan", [1, 2])
def test_the_lan_is_reached_from_uplink_addresses(home: Lab, watch: Watch, wan: int, family: int) -> None:
    for pc in (1, 2):
        _reach(home, watch, PC[family][pc], WAN[family][wan], f"pc{pc}")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("wan", [1, 2])
def test_a_static_route_by_another_link(home: Lab, watch: Watch, added: list[str], wan: int, family: int) -> None:
    _reach(home, watch, FAR[family][1], WAN[family][wan], f"isp{wan}")

    _add(home, added, f"-{family} route add {FAR[family][0]} via {ISP[family][3 - wan]}")

    _reach(home, watch, FAR[family][1], WAN[family][wan], f"isp{3 - wan}")
    _reach(home, watch, SERVER[family], WAN[family][wan], f"isp{wan}")


@pytest.mark.parametrize("family", FAMILIES)
def test_one_host_by_another_link(home: Lab, watch: Watch, added: list[str], family: int) -> None:
    # As VPN clients do it: the VPN's server is reached by the old default.
    _add(home, added, f"-{family} route add {SERVER[family]}/{BITS[family]} via {ISP[family][2]}")

    _reach(home, watch, SERVER[family], WAN[family][1], "isp2")
    _reach(home, watch, FAR[family][1], WAN[family][1], "isp1")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_route_that_refuses(home: Lab, watch: Watch, added: list[str], family: int) -> None:
    for kind in ("unreachable", "blackhole", "prohibit"):
        _add(home, added, f"-{family} route add {kind} {FAR[family][0]}")

        for went in Tries(home, watch, host="router").every(FAR[family][1], WAN[family][1]).values():
            assert went.error
            assert not went.devices

        home.ip("router", added.pop().replace("route add", "route del"))
        settled(home, "router", "wan1")
    _reach(home, watch, FAR[family][1], WAN[family][1], "isp1")


# Inside an uplink's own prefix, more specific: a host, and a part, of wan1's network that is really in the LAN.
INSIDE = {4: ("10.1.1.77", "10.1.1.77/32", "10.1.1.64/26"), 6: ("fd00:1:1::77", "fd00:1:1::77/128", "fd00:1:1::/120")}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("part", [1, 2], ids=["host", "part"])
@pytest.mark.parametrize("wan", [1, 2])
def test_inside_an_uplinks_own_prefix(
    home: Lab, watch: Watch, added: list[str], wan: int, part: int, family: int
) -> None:
    inside = INSIDE[family]
    home.ip("pc1", f"addr add {inside[0]}/{BITS[family]} dev lo")
    try:
        _add(home, added, f"-{family} route add {inside[part]} via {PC[family][1]}")

        _reach(home, watch, inside[0], WAN[family][wan], "pc1")
        if part == 1:  # the rest of the prefix is still the uplink's
            _reach(home, watch, ISP[family][1], WAN[family][1], "isp1")
    finally:
        home.ip("pc1", f"addr del {inside[0]}/{BITS[family]} dev lo")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_that_comes_and_goes(home: Lab, watch: Watch, family: int) -> None:
    # As containers' networks do: a new device with an address, beyond it a host.
    near, far, bits = {4: ("172.30.0.1", "172.30.0.2", 24), 6: ("fd00:30::1", "fd00:30::2", 64)}[family]
    home.ip("router", "link add ctr0 type veth peer name inner netns " + home.ns("pc2"))
    try:
        for host, dev, address in (("router", "ctr0", near), ("pc2", "inner", far)):
            home.ip(host, f"addr add {address}/{bits} dev {dev} {'nodad' if family == 6 else ''}")
            home.ip(host, f"link set {dev} up")
        eventually(lambda: home.ip("router", "-o link show dev ctr0 up").count("LOWER_UP"))
        home.ip("pc2", f"-{family} route add {WAN[family][1]}/{BITS[family]} via {near}")
        settled(home, "router", "wan1")
        with Watch(home, [*HOME, ("pc2", "inner")]) as watch_it:
            for kind, went in Tries(home, watch_it, host="router").every(far, WAN[family][1]).items():
                assert (went.error, went.devices, went.answered) == (0, ("inner",), True), kind
    finally:
        home.ip("router", "link del ctr0")
    settled(home, "router", "wan1")
    went = Tries(home, watch, host="router").udp(far, WAN[family][1], answer=False)
    assert went.devices == ("lan",)  # nothing more specific is left: by its own uplink
    assert {packet.host for packet in watch.packets(way="in", dst=far)} == {"isp1"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lost_gateway_leaves_the_specifics(home: Lab, watch: Watch, added: list[str], family: int) -> None:
    _add(home, added, f"-{family} route add {FAR[family][0]} via {ISP[family][2]}")
    home.ip("router", f"-{family} route del default dev wan1")
    try:
        settled(home, "router", "wan2")

        _reach(home, watch, PC[family][1], WAN[family][1], "pc1")
        _reach(home, watch, FAR[family][1], WAN[family][1], "isp2")
        _reach(home, watch, ISP[family][1], WAN[family][1], "isp1")
        for went in Tries(home, watch, host="router").every(SERVER[family], WAN[family][1]).values():
            assert (went.error in UNREACHABLE, went.devices) == (True, ())
    finally:
        home.ip("router", f"-{family} route add default via {ISP[family][1]} dev wan1 metric 100")


# A VPN. Its server side is r2; what is behind it has an address there.
UP = {4: "10.0.1.2", 6: "fd00:0:1::2"}
TUN = {4: "10.9.0.2", 6: "fd00:9::2"}
BEHIND = {4: ("10.50.0.0/16", "10.50.0.9"), 6: ("fd00:50::/48", "fd00:50::9")}
SPLITS = {
    4: (("0.0.0.0/1", "128.0.0.0/1"),),
    6: (("2000::/3",), ("::/1", "8000::/1"), ("::/2", "4000::/2", "8000::/2", "c000::/2")),
}
CASES = [(family, split) for family in FAMILIES for split in SPLITS[family]]


@pytest.fixture(scope="module")
def road() -> Iterator[Lab]:
    """An uplink and a tunnel whose own way is no uplink of main: as with a VPN that is connected."""
    with Lab("point-to-point", fresh_name(), quiet=True) as lab, Echo(lab, "server", PORT), Echo(lab, "r2", PORT):
        for family, default in ((4, "0.0.0.0/0"), (6, "::/0")):
            lab.ip("r2", f"addr add {BEHIND[family][1]}/{BITS[family]} dev lo")
            lab.ip("r2", f"-{family} route add {UP[family]}/{BITS[family]} dev tun0")
            lab.ip("client", f"-{family} route del {default} dev tun0 metric 200")
        yield lab


@pytest.fixture
def eyes(road: Lab) -> Iterator[Watch]:
    """Behind the uplink and at the tunnel's end."""
    with Watch(road, [("r1", "lan"), ("r2", "tun0")]) as made:
        yield made


@pytest.fixture(params=["all", "uplink only"])
def vpn(road: Lab, request: pytest.FixtureRequest) -> Iterator[Agent]:
    """The agent, with the tunnel as a multipath-routed service too, and with the tunnel left alone."""
    config = '[uplinks]\nexclude = ["tun*"]\n' if request.param == "uplink only" else ""
    with Agent(road, "client", ["--mpathrouting"], config=config) as agent:
        yield agent


@pytest.mark.parametrize("family", FAMILIES)
def test_a_vpns_subnet(road: Lab, eyes: Watch, vpn: Agent, family: int) -> None:
    line = f"route add {BEHIND[family][0]} dev tun0"
    road.ip("client", f"-{family} {line}")
    try:
        settled(road, "client", "up1")
        for kind, went in Tries(road, eyes).every(BEHIND[family][1], UP[family]).items():
            assert (went.error, went.devices, went.answered) == (0, ("tun0",), True), kind
        assert Tries(road, eyes).udp(SERVER[family], UP[family]).devices == ("lan",)
    finally:
        road.ip("client", f"-{family} {line.replace('add', 'del')}")


@pytest.mark.parametrize(
    ("family", "split"), CASES, ids=lambda value: str(value) if isinstance(value, int) else "+".join(value)
)
def test_a_split_default_does_not_swallow_an_uplink(
    road: Lab, eyes: Watch, vpn: Agent, family: int, split: tuple[str, ...]
) -> None:
    for prefix in split:
        road.ip("client", f"-{family} route add {prefix} dev tun0")
    try:
        settled(road, "client", "up1")
        tries = Tries(road, eyes)
        assert {went.devices for went in tries.every(SERVER[family]).values()} == {("tun0",)}  # as the VPN wants it
        for kind, went in tries.every(SERVER[family], UP[family]).items():
            assert (went.error, went.devices, went.answered) == (0, ("lan",), True), kind
        for kind, went in tries.every(SERVER[family], TUN[family]).items():
            assert (went.error, went.devices, went.answered) == (0, ("tun0",), True), kind
    finally:
        for prefix in split:
            road.ip("client", f"-{family} route del {prefix} dev tun0")


LONGER = {
    "quarters": (4, ("0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2")),
    "half and quarters": (4, ("0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/2")),
    "halves of 2000::/3": (6, ("2000::/4", "3000::/4")),
    "sixteenths": (6, tuple(f"{n:x}000::/4" for n in range(16))),
}


@pytest.mark.parametrize("which", LONGER)
def test_a_longer_split_is_a_finding(road: Lab, which: str, tmp_path: Path) -> None:
    family, parts = LONGER[which]
    with Bus(tmp_path) as bus, Agent(road, "client", ["--mpathrouting"], bus=bus) as agent:
        for part in parts:
            road.ip("client", f"-{family} route add {part} dev tun0")
        try:
            settled(road, "client", "up1")
            found = [one for one in _findings(agent) if "tun0" in one["Text"] and "longer than" in one["Text"]]
            assert len(found) == 1
            assert found[0]["Cure"]
        finally:
            for part in parts:
                road.ip("client", f"-{family} route del {part} dev tun0")
        settled(road, "client", "up1")
        assert not [one for one in _findings(agent) if "longer than" in one["Text"]]


def _findings(agent: Agent) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(agent.ctl("status", "--json").stdout)["Findings"]
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_two_uplinks_in_one_subnet(family: int) -> None:
    # Each address reaches the neighbours by its own link, although main knows one way to their subnet first.
    own = {4: {1: "10.0.0.11", 2: "10.0.0.12"}, 6: {1: "fd00:0:0:1::11", 2: "fd00:0:0:1::12"}}[family]
    gateway = {4: "10.0.0.1", 6: "fd00:0:0:1::1"}[family]
    with ExitStack() as stack:
        lab = stack.enter_context(Lab("same-subnet", fresh_name(), quiet=True))
        for host in ("server", "gw"):
            stack.enter_context(Echo(lab, host, PORT))
        stack.enter_context(Agent(lab, "client", ["--mpathrouting"]))
        watch = stack.enter_context(Watch(lab, [("switch", "p1"), ("switch", "p2")]))
        for number, address in own.items():
            for dst in (gateway, SERVER[family]):
                for kind, went in Tries(lab, watch).every(dst, address).items():
                    assert (went.error, went.devices, went.answered) == (0, (f"p{number}",), True), (kind, dst)
