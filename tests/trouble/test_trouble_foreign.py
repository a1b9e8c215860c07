"""What belongs to others is never touched: not by a start, a pass, a stop, a release, nor in 1,000 random events."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kernel.conftest import FAMILIES, fresh_name, settled
from labkit import Lab
from labkit.agent import Agent, Bus, eventually
from trouble.outside import Ear, force, objects

OTHERS = 99  # protocol of another program
EVENTS, AT_ONCE = 1000, 40
OWN = {4: "10.0.{n}.2", 6: "fd00:0:{n}::2"}
GATEWAY = {4: "10.0.{n}.1", 6: "fd00:0:{n}::1"}


@pytest.fixture
def lab() -> Iterator[Lab]:
    """The post's lab."""
    with Lab("three-uplinks", fresh_name(), quiet=True) as made:
        made.sysctl("client", {"net.ipv4.conf.all.promote_secondaries": 1})
        for number in (1, 2, 3):
            made.sysctl("client", {f"net.ipv6.conf.vethc{number}.keep_addr_on_down": 1})
        yield made


def _table(lab: Lab, number: int) -> int:
    return 255 + lab.index("client", f"vethc{number}")


def _foreign(lab: Lab) -> None:
    """Rules of others at mpathd's priorities, for its sources and tables; routes of others in its tables."""
    for family in FAMILIES:
        for number in (1, 2, 3):
            table, source = _table(lab, number), OWN[family].format(n=number)
            rules = [
                f"pref 22000 from {source} to {GATEWAY[family].format(n=9)} lookup {table}",
                f"pref 22001 from {source} iif lo lookup main suppress_prefixlength 0",
                f"pref 22002 from {source} lookup 9999",
                f"pref 22002 from {source} fwmark 0x7 lookup {table}",
                f"pref 22003 from {source} ipproto tcp dport 4433 unreachable",
                f"pref {19500 + number} from {source} lookup 9999",
            ]
            routes = [
                f"unreachable {({4: '198.18.0.0/15', 6: '2001:2::/48'})[family]} table {table}",
                f"throw {({4: '198.51.100.0/24', 6: '2001:db8:51::/64'})[family]} table {table}",
                f"blackhole {({4: '203.0.113.0/24', 6: '2001:db8:71::/64'})[family]} metric 5000 table {table}",
                f"unreachable default table {table} metric 60000",
            ]
            for rule in rules:
                lab.ip("client", f"-{family} rule add {rule} protocol {OTHERS}")
            for route in routes:
                lab.ip("client", f"-{family} route add {route} proto {OTHERS}")


def _theirs(lab: Lab) -> frozenset[str]:
    """All rules and routes that are not mpathd's and that no link takes with it."""
    rules = lab.ip("client", "-4 -N rule") + lab.ip("client", "-6 -N rule")
    return objects(lab, "client", protocol=OTHERS) | {line for line in rules.splitlines() if "proto 109" not in line}


def test_start_stop_release(lab: Lab) -> None:
    _foreign(lab)
    before = _theirs(lab)
    assert len(before) > 60
    with Ear(lab, "client") as ear:
        with Agent(lab, "client", ["--mpathrouting"]) as agent:
            settled(lab, "client", "vethc3")
            assert len(objects(lab, "client")) == 3 * (4 + 4) + 3 * (2 + 2)
            assert agent.stop() == 0
            assert objects(lab, "client") == frozenset()
            agent.start()
            agent.kill()
            assert agent.once("--release").returncode == 0
            assert objects(lab, "client") == frozenset()
        assert _theirs(lab) == before
        assert not [news for news in ear.heard() if news.protocol == OTHERS]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rule_of_theirs_that_equals_ours(lab: Lab, family: int) -> None:
    # The kernel has room for one of them: theirs serves, is not ours to remove, and is missed when it goes.
    rule = f"pref 22002 from {OWN[family].format(n=2)} lookup {_table(lab, 2)} protocol {OTHERS}"
    lab.ip("client", f"-{family} rule add {rule}")
    theirs = objects(lab, "client", protocol=OTHERS)
    with Agent(lab, "client", ["--mpathrouting"]) as agent:
        settled(lab, "client", "vethc3")
        assert objects(lab, "client", protocol=OTHERS) == theirs
        assert agent.stop() == 0
        assert objects(lab, "client", protocol=OTHERS) == theirs
        agent.start()

        lab.ip("client", f"-{family} rule del {rule}")

        eventually(lambda: len(objects(lab, "client")) == 3 * (4 + 4) + 3 * (2 + 2))


@pytest.mark.parametrize("place", ["prepend", "append"])
def test_a_route_of_theirs_beside_ours(lab: Lab, place: str) -> None:
    # The same destination and metric in the same table; then main's default changes, and ours with it.
    # (IPv6 has no such two: it makes one route with two ways of them.)
    theirs = f"default via 10.0.2.17 dev vethc2 metric 200 table {_table(lab, 2)} proto {OTHERS}"
    with Agent(lab, "client", ["--mpathrouting"]) as agent:
        count = len(objects(lab, "client"))
        lab.ip("client", f"route {place} {theirs}")
        settled(lab, "client", "vethc3")

        lab.ip("client", "route change default via 10.0.2.1 dev vethc2 metric 200 mtu 1400")

        eventually(lambda: any("mtu 1400" in line for line in objects(lab, "client")))
        settled(lab, "client", "vethc3")
        assert ["via 10.0.2.17" in line for line in objects(lab, "client", protocol=OTHERS)] == [True]
        assert len(objects(lab, "client")) == count
        assert agent.stop() == 0
        assert ["via 10.0.2.17" in line for line in objects(lab, "client", protocol=OTHERS)] == [True]
        assert objects(lab, "client") == frozenset()


def test_a_place_that_is_taken(lab: Lab, tmp_path: Path) -> None:
    # The kernel refuses a second IPv6 route there: told, the rest is served, and made good once there is room.
    taken = f"unreachable default table {_table(lab, 2)} metric 200 proto {OTHERS}"
    lab.ip("client", f"-6 route add {taken}")
    theirs = objects(lab, "client", protocol=OTHERS)
    with Bus(tmp_path) as bus, Agent(lab, "client", ["--mpathrouting"], bus=bus) as agent:
        settled(lab, "client", "vethc3")

        status = json.loads(agent.ctl("status", "--json").stdout)

        assert any(f"table {_table(lab, 2)}" in found["Text"] for found in status["Findings"])
        assert objects(lab, "client", protocol=OTHERS) == theirs
        ruled = {a for n in (1, 2, 3) for a in (OWN[4].format(n=n), OWN[6].format(n=n)) if _ruled(lab, a)}
        assert ruled == {"10.0.1.2", "10.0.2.2", "10.0.3.2", "fd00:0:1::2", "fd00:0:3::2"}

        lab.ip("client", f"-6 route del {taken}")

        eventually(lambda: len(objects(lab, "client")) == 3 * (4 + 4) + 3 * (2 + 2))
        assert json.loads(agent.ctl("status", "--json").stdout)["Findings"] == []


def _ruled(lab: Lab, address: str) -> bool:
    return f"from {address} unreachable" in lab.ip("client", f"{'-6' if ':' in address else '-4'} rule")


class Events:
    """Random things that happen to a machine, as lines for `ip -4` and `ip -6`.

    Args:
        seed: what makes them repeatable.
        tables: the services' tables.
    """

    def __init__(self, seed: int, tables: list[int]) -> None:
        self._random = random.Random(seed)
        self._tables = tables

    def some(self, count: int, family: int) -> list[str]:
        """So many of them.

        Args:
            count: how many.
            family: whose words.
        """
        return [self._one(family) for _ in range(count)]

    def _one(self, family: int) -> str:
        n, verb = self._random.randint(1, 3), self._random.choice(("add", "del"))
        k = self._random.randint(1, 9)
        further = {4: f"10.0.{n}.10{k}/24", 6: f"fd00:0:{n}::1:{k}/64"}
        first = {4: f"10.0.{n}.2/24", 6: f"fd00:0:{n}::2/64"}
        net = {4: f"198.51.{k}.0/24", 6: f"2001:db8:{k}::/64"}
        via, table = GATEWAY[family].format(n=n), self._random.choice(self._tables)
        source = OWN[family].format(n=n)
        return self._random.choices(
            (
                f"addr {verb} {further[family]} dev vethc{n}",
                f"addr {verb} {first[family]} dev vethc{n}",
                f"route {verb} default via {via} dev vethc{n} metric {n}00",
                f"route replace default via {via} dev vethc{n} metric {n}00 mtu {self._random.randint(1300, 1500)}",
                f"route {verb} {net[family]} via {via} dev vethc{n}",
                f"route {verb} unreachable {net[family]} metric 77",
                f"rule {verb} pref {self._random.randint(30000, 30009)} from {source} lookup main protocol 55",
                f"rule del pref {self._random.randint(22000, 22003)} from {source} protocol 109",
                f"route flush table {table} proto 109",
                f"route del default table {table} proto 109",
                f"link set vethc{n} {self._random.choice(('up', 'down', 'up'))}",
            ),
            (34, 6, 10, 10, 12, 5, 5, 4, 2, 2, 5),
        )[0]


def _as_at_first(lab: Lab) -> None:
    """Puts the uplinks back to what the lab made, whatever happened to them."""
    for n in (1, 2, 3):
        lab.ip("client", f"link set vethc{n} up")
        lab.ip("client", f"addr flush dev vethc{n} scope global")
        for family, bits in ((4, 24), (6, 64)):
            lab.ip("client", f"addr add {OWN[family].format(n=n)}/{bits} dev vethc{n}")
    for family in FAMILIES:
        for line in lab.ip("client", f"-{family} route show table main").splitlines():
            if not line.startswith("fe80") and "proto kernel" not in line:
                lab.ip("client", f"-{family} route del {line.replace(' linkdown', '').replace(' pref medium', '')}")
        for n in (1, 2, 3):
            lab.ip("client", f"-{family} route add default via {GATEWAY[family].format(n=n)} dev vethc{n} metric {n}00")


def test_a_thousand_events(lab: Lab) -> None:
    seed = random.randrange(1 << 32)
    events = Events(seed, [_table(lab, n) for n in (1, 2, 3)])
    with ExitStack() as stack:
        _foreign(lab)
        before, theirs = _theirs(lab), objects(lab, "client", protocol=OTHERS)
        ear = stack.enter_context(Ear(lab, "client"))
        agent = stack.enter_context(Agent(lab, "client", ["--mpathrouting"]))
        settled(lab, "client", "vethc3")
        wanted = objects(lab, "client")
        for turn in range(EVENTS // AT_ONCE):
            family = FAMILIES[turn % 2]
            force(lab, "client", events.some(AT_ONCE, family), family=f"-{family}")
        assert not [news for news in ear.heard() if news.protocol == OTHERS], f"seed {seed}"

        _as_at_first(lab)

        # What was removed again and again is put back ever more slowly (a contest): hence the patience.
        eventually(lambda: objects(lab, "client") == wanted, timeout=60.0, what=f"all is as it was, seed {seed}")
        assert _theirs(lab) >= before
        assert agent.running
        assert agent.stop() == 0, agent.log.read_text()[-3000:]
        assert objects(lab, "client") == frozenset()
        assert objects(lab, "client", protocol=OTHERS) == theirs
