"""Law 2: a socket bound to nothing behaves exactly as without mpathd: the same way, the same source, the same error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from kernel.conftest import FAMILIES, PORT, SERVER, Tries, Went, fresh_name, settled
from labkit import Echo, Lab, Watch
from labkit.agent import Agent, Bus, eventually

# Where the unbound sockets go: the server, and many others of which only the way is looked at (for several ways of
# equal cost the kernel chooses by the address).
OTHERS = {
    4: ["239.9.9.9", *(f"203.0.113.{n}" for n in range(1, 13))],
    6: ["ff1e::9", *(f"2001:db8:77::{n:x}" for n in range(1, 13))],
}
GATEWAY = {4: "10.0.{n}.1", 6: "fd00:0:{n}::1"}
OWN = {4: "10.0.{n}.2", 6: "fd00:0:{n}::2"}
NET = {4: "10.0.{n}.0/24", 6: "fd00:0:{n}::/64"}
FAR = {4: "192.0.2.0/24", 6: "2001:db8:9::/64"}
HOMES = {OWN[family].format(n=n): f"vethr{n}" for family in FAMILIES for n in (1, 2, 3)}
HALVES = {4: ("0.0.0.0/1", "128.0.0.0/1"), 6: ("::/1", "8000::/1")}

Habits = Mapping[str, Went]


@pytest.fixture
def lab() -> Iterator[Lab]:
    """The post's lab."""
    with Lab("three-uplinks", fresh_name(), quiet=True) as made:
        for number in (1, 2, 3):
            for host, dev in (("client", f"vethc{number}"), (f"r{number}", f"vethr{number}")):
                neighbours = {f"net.{ip}.neigh.{dev}.retrans_time_ms": 20 for ip in ("ipv4", "ipv6")}
                made.sysctl(host, {f"net.ipv6.conf.{dev}.keep_addr_on_down": 1, **neighbours})
        made.sysctl("client", {"net.ipv4.conf.all.promote_secondaries": 1})
        yield made


@pytest.fixture
def watch(lab: Lab) -> Iterator[Watch]:
    """The far sides of the three uplinks."""
    with Watch(lab, [(f"r{n}", f"vethr{n}") for n in (1, 2, 3)]) as made, Echo(lab, "server", PORT):
        yield made


def _do(lab: Lab, host: str, lines: Sequence[str]) -> None:
    for line in lines:
        lab.ip(host, line)


def _habits(lab: Lab, watch: Watch, family: int) -> dict[str, Went]:
    tries = Tries(lab, watch, patience=0.5)
    out = tries.every(SERVER[family])
    for other in OTHERS[family]:
        out[f"udp {other}"] = tries.udp(other, answer=False)
        out[f"sendto {other}"] = tries.sendto(other)
    return out


def _unplugged(lab: Lab, watch: Watch, family: int) -> dict[str, Went]:
    """Main's best way has no carrier: IPv4 sends into the void, IPv6 goes by the next once a neighbour is silent."""
    tries = Tries(lab, watch, patience=0.2)
    if family == 6:
        eventually(lambda: tries.udp(SERVER[family]).answered)
        return _habits(lab, watch, family)
    found = {"udp": tries.udp(SERVER[family]), "tcp": tries.tcp(SERVER[family]), "ping": tries.ping(SERVER[family])}
    # By law 1's rules the socket hears of it at once, which it would not without: only the way is the same.
    return {kind: replace(went, error=0) for kind, went in found.items()}


def _same(with_it: Habits, without: Habits) -> None:
    """Both are the same; but a source that another link's way of equal cost sent is sent by its own now (law 1).

    For ways of equal cost the kernel chooses twice: without a source, and with the one that the first choice gave.
    """
    differ = {key: (went, without[key]) for key, went in with_it.items() if went != without[key]}
    for key, (now, before) in list(differ.items()):
        if now == replace(before, devices=(HOMES[before.source],)):
            del differ[key]
    assert differ == {}


def _ways(habits: Habits) -> set[tuple[str, ...]]:
    return {went.devices for went in habits.values()}


# Main tables that people have. Each is made from the lab's, which has a default by every uplink, 1 the best.
def _plain(_family: int) -> list[str]:
    return []


def _equal(family: int) -> list[str]:
    hops = " ".join(f"nexthop via {GATEWAY[family].format(n=n)} dev vethc{n}" for n in (1, 2, 3))
    return [*(f"-{family} route del default dev vethc{n}" for n in (1, 2, 3)), f"-{family} route add default {hops}"]


def _unequal(family: int) -> list[str]:
    return [*_equal(family)[:-1], _equal(family)[-1].replace("dev vethc2", "dev vethc2 weight 5")]


def _source_of_its_own(family: int) -> list[str]:
    # The newest IPv6 address would be chosen without being asked for: so the older one is asked for.
    further, bits = {4: "10.0.1.77", 6: "fd00:0:1::77"}[family], {4: 24, 6: 64}[family]
    wanted = {4: further, 6: OWN[6].format(n=1)}[family]
    return [
        f"addr add {further}/{bits} dev vethc1",
        f"-{family} route replace default via {GATEWAY[family].format(n=1)} dev vethc1 metric 100 src {wanted}",
    ]


def _source_of_another(family: int) -> list[str]:
    borrowed = OWN[family].format(n=2)
    return [f"-{family} route replace default via {GATEWAY[family].format(n=1)} dev vethc1 metric 100 src {borrowed}"]


def _specific(family: int) -> list[str]:
    return [f"-{family} route add {FAR[family]} via {GATEWAY[family].format(n=3)} dev vethc3"]


def _specific_with_source(family: int) -> list[str]:
    return [f"{_specific(family)[0]} src {OWN[family].format(n=2)}"]


def _specifics_on_two(family: int) -> list[str]:
    return [
        f"-{family} route add {FAR[family]} via {GATEWAY[family].format(n=n)} dev vethc{n} metric {500 - n}"
        for n in (1, 2)
    ]


def _refused(family: int) -> list[str]:
    return [f"-{family} route add unreachable {FAR[family]}"]


def _swallowed(family: int) -> list[str]:
    return [f"-{family} route add blackhole {FAR[family]}"]


def _split(family: int) -> list[str]:
    return [f"-{family} route add {half} via {GATEWAY[family].format(n=2)} dev vethc2" for half in HALVES[family]]


def _foreign_rule(family: int) -> list[str]:
    return [
        f"-{family} route add default via {GATEWAY[family].format(n=3)} dev vethc3 table 9000",
        f"-{family} rule add pref 21500 lookup 9000",
    ]


def _foreign_rule_behind(family: int) -> list[str]:
    return [
        f"-{family} route add default via {GATEWAY[family].format(n=3)} dev vethc3 table 9000",
        f"-{family} rule add pref 30000 to {FAR[family]} lookup 9000",
    ]


MAINS: tuple[Callable[[int], list[str]], ...] = (
    _plain, _equal, _unequal, _source_of_its_own, _source_of_another, _specific, _specific_with_source,
    _specifics_on_two, _refused, _swallowed, _split, _foreign_rule, _foreign_rule_behind,
)  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("main", MAINS, ids=lambda main: main.__name__.strip("_"))
def test_as_without(lab: Lab, watch: Watch, main: Callable[[int], list[str]], family: int) -> None:
    _do(lab, "client", main(family))
    without = _habits(lab, watch, family)
    with Agent(lab, "client", ["--mpathrouting"]) as agent:
        with_it = _habits(lab, watch, family)
        if main in {_equal, _unequal}:
            _same(with_it, without)
        else:
            assert with_it == without
        assert _habits(lab, watch, 10 - family)["udp"].devices == ("vethr1",)  # the other family's main is the lab's
        assert agent.stop() == 0
    assert _habits(lab, watch, family) == without


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_ways_are_all_used(lab: Lab, watch: Watch, family: int) -> None:
    _do(lab, "client", _equal(family))
    with Agent(lab, "client", ["--mpathrouting"]):
        assert _ways(_habits(lab, watch, family)) == {("vethr1",), ("vethr2",), ("vethr3",)}


def _events(family: int) -> Sequence[tuple[str, str, list[str]]]:
    """What happens, on which host, and the commands: one after the other."""
    via = {n: GATEWAY[family].format(n=n) for n in (1, 2, 3)}
    back = [f"-{family} route replace {NET[family].format(n=1)} dev vethc1"]
    back.append(f"-{family} route replace default via {via[1]} dev vethc1 metric 1")
    first, further = {4: ("10.0.2.2/24", "10.0.2.88/24"), 6: ("fd00:0:2::2/64", "fd00:0:2::88/64")}[family]
    return (
        ("the best loses its gateway", "client", [f"-{family} route del default dev vethc1"]),
        ("the second comes to be the best", "client", [f"-{family} route add default via {via[2]} metric 5"]),
        ("the second has a further address", "client", [f"addr add {further} dev vethc2"]),
        ("it loses its first", "client", [f"addr del {first} dev vethc2"]),
        ("the first is back", "client", [f"-{family} route add default via {via[1]} dev vethc1 metric 1"]),
        ("it is set down", "client", ["link set vethc1 down"]),
        ("it is set up again", "client", ["link set vethc1 up", *back]),
        ("its cable is pulled", "r1", ["link set vethr1 down"]),
        ("its default goes too, as from a DHCP client", "client", [f"-{family} route del default dev vethc1"]),
    )  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_as_without_after_each_event(lab: Lab, watch: Watch, family: int) -> None:
    agent = Agent(lab, "client", ["--mpathrouting"])
    with agent:
        for what, host, commands in _events(family):
            _do(lab, host, commands)
            settled(lab, "client", "vethc3")
            look = _unplugged if what == "its cable is pulled" else _habits
            with_it = look(lab, watch, family)
            assert agent.stop() == 0
            assert with_it == look(lab, watch, family), what
            agent.start()


UNNUMBERED = {
    4: ["addr flush dev vethc3", "route add default via 10.0.3.1 dev vethc3 onlink metric 5"],
    6: ["addr del fd00:0:3::2/64 dev vethc3", "-6 route add default via {link_local} dev vethc3 metric 5"],
}


def _unnumbered(lab: Lab, family: int) -> None:
    """The third link becomes as an unnumbered tunnel: main's best default, and no address of its own."""
    shown = lab.ip("r3", "-o -6 addr show dev vethr3 scope link").split()
    link_local = shown[shown.index("inet6") + 1].partition("/")[0]
    _do(lab, "client", [line.format(link_local=link_local) for line in UNNUMBERED[family]])


def _findings(agent: Agent) -> dict[str, str]:
    return {found["Code"]: found["Text"] for found in json.loads(agent.ctl("status", "--json").stdout)["Findings"]}


@pytest.mark.parametrize("family", FAMILIES)
def test_an_unnumbered_default_borrows_what_the_kernel_chooses(
    lab: Lab, watch: Watch, family: int, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        bus = stack.enter_context(Bus(tmp_path))
        # A link with a lower index that came later: the kernel goes by the order in which links came.
        _do(lab, "client", ["link add late index 3 type veth peer name later index 4"])
        _do(lab, "client", [f"addr add {({4: '10.77.0.1/24', 6: 'fd00:77::1/64'})[family]} dev late"])
        _do(lab, "client", ["link set late up", "link set later up"])
        _unnumbered(lab, family)
        without = _habits(lab, watch, family)
        assert without["udp"].devices == ("vethr3",)
        lent = without["udp"].source

        agent = stack.enter_context(Agent(lab, "client", ["--mpathrouting"], bus=bus))

        assert _habits(lab, watch, family) == without
        assert lent in _findings(agent)["address-borrowed"]
        assert f"from {lent} " not in lab.ip("client", f"-{family} rule")
        # The tunnel gets an address of its own: all services are routed, the finding is gone.
        lab.ip("client", f"addr add {OWN[family].format(n=3)}/{24 if family == 4 else 64} dev vethc3")
        eventually(lambda: f"from {OWN[family].format(n=1)} " in lab.ip("client", f"-{family} rule"))
        eventually(lambda: "address-borrowed" not in _findings(agent))
        # And when it loses it again, unbound sockets go by it as before. (IPv4 takes all routes with the last address.)
        lab.ip("client", f"addr del {OWN[family].format(n=3)}/{24 if family == 4 else 64} dev vethc3")
        if family == 4:
            lab.ip("client", UNNUMBERED[4][1])
        eventually(lambda: f"from {lent} " not in lab.ip("client", f"-{family} rule"))
        assert _habits(lab, watch, family) == without


@pytest.mark.parametrize("family", FAMILIES)
def test_a_setting_overrides_it(lab: Lab, watch: Watch, family: int, tmp_path: Path) -> None:
    _unnumbered(lab, family)
    lent = Tries(lab, watch).udp(SERVER[family]).source
    config = "[uplinks]\nallow_borrowed = true\n"
    with Bus(tmp_path) as bus, Agent(lab, "client", ["--mpathrouting"], bus=bus, config=config) as agent:
        assert f"from {lent} unreachable" in lab.ip("client", f"-{family} rule")
        assert "address-borrowed" not in _findings(agent)
        for kind, went in Tries(lab, watch).every(SERVER[family], lent).items():
            assert went.devices == (HOMES[lent],), kind
