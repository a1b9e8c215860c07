"""Random events, kills among them, while a session's traffic goes on: not one packet of it by another link, and at
rest the kernel is as a fresh look says. The seed that is told makes the same events again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from kernel.helpers_sessions import BITS, FAMILIES, FLOW, GATEWAY, OF, PORT, TCP, UPLINKS, Case, Stream, toml
from kernel.helpers_shared import keeping
from labkit.agent import eventually
from trouble.outside import force

EVENTS, ROUNDS = 8, 6
OWN: dict[str, Any] = {"flow_selectors": FLOW, "allowed_interface": "vethc2"}
OTHERS = 99  # protocol of another program
LATER = ("bpf mark", "ip mptcp")  # a fresh look does not know what runs; the kernel has no event, others may contest


@pytest.fixture
def case() -> Iterator[Case]:
    """The post's lab, and mpathd that keeps."""
    with keeping() as made:
        made.lab.sysctl("client", {"net.ipv6.conf.all.keep_addr_on_down": 1})
        made.lab.sysctl("client", {"net.ipv4.conf.all.promote_secondaries": 1})
        yield made


class Chaos:
    """What may happen to a machine.

    Args:
        case: the lab.
        seed: what makes it repeatable.
    """

    def __init__(self, case: Case, seed: int) -> None:
        self._case, self._random = case, random.Random(seed)
        self._happens: tuple[Callable[[], None], ...] = (
            *(self._link, self._carrier, self._address, self._prefix, self._gateway, self._rewrite, self._numbers),
            *(self._tables, self._rules, self._kill, self._kill_soon, self._stop, self._all_up),
        )

    def event(self) -> str:
        """Let something happen and give its name."""
        happens = self._random.choice(self._happens)
        happens()
        self._case.watch.packets()  # makes room
        return happens.__name__.strip("_")

    def back(self) -> None:
        """Have mpathd run, all links up, and others' rules gone."""
        if not self._case.agent.running:
            self._case.agent.start()
        self._all_up()
        for family in FAMILIES:
            rules = self._case.lab.ip("client", f"-{family} rule").splitlines()
            self._ip(family, *("rule del " + " ".join(rule.split()[1:]) for rule in rules if f"proto {OTHERS}" in rule))

    def _ip(self, family: int, *lines: str) -> None:
        force(self._case.lab, "client", lines, family=f"-{family}")

    def _one(self) -> int:
        return self._random.randint(1, 3)

    def _gateways(self, number: int) -> None:
        for family in FAMILIES:
            gateway = GATEWAY[family].format(number)
            self._ip(family, f"route replace default via {gateway} dev vethc{number} metric {number}00")

    def _all_up(self) -> None:
        for number in (1, 2, 3):
            self._case.lab.ip(f"r{number}", f"link set vethr{number} up")
            self._ip(4, f"link set vethc{number} up")
            for family in FAMILIES:
                address = OF[family][number - 1]
                self._ip(family, f"addr replace {address}/{BITS[family]} dev vethc{number} nodad")
            self._gateways(number)

    def _link(self) -> None:
        number = self._one()
        self._ip(4, f"link set vethc{number} {self._random.choice(('up', 'down'))}")
        self._gateways(number)

    def _carrier(self) -> None:
        number = self._one()
        self._case.lab.ip(f"r{number}", f"link set vethr{number} {self._random.choice(('up', 'down'))}")

    def _address(self) -> None:
        number, family = self._one(), self._random.choice(FAMILIES)
        verb = self._random.choice(("replace", "del"))
        self._ip(family, f"addr {verb} {OF[family][number - 1]}/{BITS[family]} dev vethc{number}")
        self._gateways(number)

    def _prefix(self) -> None:
        number, bits = self._one(), self._random.choice((16, 24, 28))
        address = OF[4][number - 1]
        self._ip(4, f"addr flush dev vethc{number}", f"addr add {address}/{bits} dev vethc{number}")
        self._gateways(number)

    def _gateway(self) -> None:
        number, family = self._one(), self._random.choice(FAMILIES)
        self._ip(family, f"route del default dev vethc{number}")

    def _rewrite(self) -> None:
        path = self._case.policies / "s.toml"
        text = toml("s", {**OWN, "priority": self._random.randint(0, 1000)})
        if self._case.agent.running:  # slowly: half of it is a policy that allows more
            with path.open("w") as file:
                for line in text.splitlines(keepends=True):
                    file.write(line)
                    file.flush()
        else:
            self._case.put("s.toml", text)

    def _numbers(self) -> None:
        mark = self._random.randint(1, 3) << 16
        self._ip(4, f"rule add pref 31000 fwmark {mark:#x}/0x7fff0000 lookup main protocol {OTHERS}")

    def _tables(self) -> None:
        table = self._random.choice((279, 281, 283, 0x10000, 0x20000))
        for family in FAMILIES:
            self._ip(family, f"route flush table {table}")

    def _rules(self) -> None:
        rest = "rule add pref 32766 lookup main", "rule add pref 32767 lookup default"
        self._ip(self._random.choice(FAMILIES), "rule flush", *rest)

    def _kill(self) -> None:
        if self._case.agent.running:
            self._case.agent.kill()
        if self._random.random() < 0.7:
            self._case.agent.start()

    def _kill_soon(self) -> None:
        """In the midst of a pass, most times."""
        self._rules()
        until = time.monotonic() + self._random.random() * 0.01
        while time.monotonic() < until:
            pass
        self._kill()

    def _stop(self) -> None:
        if self._case.agent.running:
            assert self._case.agent.stop() == 0
        self._case.agent.start()


def _wanted(case: Case) -> list[str]:
    """What a fresh look would write."""
    case.watch.packets()  # makes room
    lines = case.agent.once("--dry-run").stdout.splitlines()
    return [line for line in lines if not line.startswith(("#", *LATER))]


@pytest.mark.parametrize("service", ["vethc2", "nosuch0"], ids=["a link", "no link"])
def test_no_packet_by_another_link(case: Case, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = random.randrange(1 << 32)
    monkeypatch.setitem(OWN, "allowed_interface", service)
    allowed = {"vethr2"} if service in UPLINKS else set()
    case.session("s", **OWN)
    case.reset()
    chaos = Chaos(case, seed)
    sources = [address for family in FAMILIES for address in OF[family]]
    with Stream(case, sources=sources) as stream:
        for turn in range(ROUNDS):
            told = f"seed {seed}, round {turn}: {' '.join(chaos.event() for _ in range(EVENTS))}"
            chaos.back()
            eventually(partial(lambda: not _wanted(case)), timeout=10.0, what=told)
            stream.goes_on()
            seen = case.watch.packets(way="in", dport=PORT)
            ours = [packet for packet in seen if packet.proto != TCP or packet.sport in stream.ports]
            assert [str(packet) for packet in ours if packet.dev not in allowed] == [], told
            case.watch.clear()
    log = case.agent.log.read_text()
    assert "Traceback" not in log
    assert "pass.failed" not in log
