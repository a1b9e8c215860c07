"""What the kernel does with our writes, asked of the real one and of the fake alike."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake import FakeKernel
from labkit.netns import in_ns
from mpathd.kernel.machine import Machine
from mpathd.model.errors import Refusal
from mpathd.model.numbers import MAIN, Numbers
from mpathd.model.routing import Action, Hop, KernelState, Route, Rule, Step, Verb
from mpathd.model.words import Address, Family, Prefix, host
from mpathd.model.world import Link, LinkAddress, World
from mpathd.plan.diff import diff
from mpathd.plan.services import service_rules

A1, A6 = Address("10.0.1.2"), Address("fd00:0:1::2")
NS = "contract-kernel"


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", "-n", NS, *words], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout


class Real:
    """The kernel in a namespace of the test's own."""

    def __init__(self) -> None:
        subprocess.run(["ip", "netns", "add", NS], check=True, timeout=10)
        _ip("link", "set", "lo", "up")
        for name in ("up1", "up2"):
            _ip("link", "add", name, "type", "veth", "peer", "name", f"far-{name}")
            _ip("link", "set", f"far-{name}", "up")
            _ip("link", "set", name, "addrgenmode", "none", "up")
        _ip("addr", "add", f"{A1}/24", "dev", "up1")
        _ip("-6", "addr", "add", f"{A6}/64", "dev", "up1", "nodad")
        self.machine: Machine = in_ns(NS, Machine)

    def look(self) -> World:
        """Look at the namespace."""
        return in_ns(NS, lambda: self.machine.look(109))

    def apply(self, *steps: Step) -> tuple[tuple[Step, ...], tuple[tuple[Step, Refusal], ...]]:
        """Write into it."""
        return in_ns(NS, lambda: self.machine.apply(steps))

    def down(self, name: str) -> None:
        """Set a link down."""
        _ip("link", "set", name, "down")

    def index(self, name: str) -> int:
        """A link's index."""
        return next(link.index for link in self.look().links.values() if link.name == name)

    def close(self) -> None:
        """Leave nothing behind."""
        self.machine.close()
        subprocess.run(["ip", "netns", "del", NS], check=True, timeout=10)


class Fake:
    """The fake, set up as the same machine."""

    def __init__(self) -> None:
        addresses = (LinkAddress(Family.INET, A1, 24), LinkAddress(Family.INET6, A6, 64))
        links = {2: Link(2, "up1", kind="veth", addresses=addresses), 3: Link(3, "up2", kind="veth")}
        main = (
            Route(Family.INET, MAIN, Prefix("10.0.1.0/24"), (Hop(2, dev="up1"),), link_scope=True),
            Route(Family.INET6, MAIN, Prefix("fd00:0:1::/64"), (Hop(2, dev="up1"),), metric=256),
        )
        self.kernel = FakeKernel(World(links, main=main))

    def look(self) -> World:
        """Look at it."""
        return self.kernel.look(109)

    def apply(self, *steps: Step) -> tuple[tuple[Step, ...], tuple[tuple[Step, Refusal], ...]]:
        """Write into it."""
        return self.kernel.apply(steps)

    def down(self, name: str) -> None:
        """Set a link down."""
        self.kernel.set_link(self.index(name), up=False, carrier=False)

    def index(self, name: str) -> int:
        """A link's index."""
        return next(link.index for link in self.look().links.values() if link.name == name)

    def close(self) -> None:
        """Nothing to leave behind."""


@pytest.fixture(params=[Fake, Real], ids=["fake", "real"])
def kernel(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The same machine twice."""
    made = request.param()
    yield made
    made.close()


def _table(kernel: Any) -> int:
    return Numbers().table(kernel.index("up1"))


def _routes(kernel: Any) -> tuple[Route, ...]:
    index, table = kernel.index("up1"), _table(kernel)
    return (
        Route(Family.INET, table, Prefix("10.0.1.0/24"), (Hop(index, dev="up1"),), source=A1, link_scope=True),
        Route(Family.INET, table, Prefix("10.0.1.128/25"), (), throw=True),
        Route(Family.INET, table, Family.INET.any, (Hop(index, Address("10.0.1.1"), dev="up1"),)),
        Route(Family.INET6, table, Prefix("fd00:0:1::/64"), (Hop(index, dev="up1"),), metric=256),
        Route(Family.INET6, table, Prefix("fd00:0:1:0:8000::/65"), (), metric=1024, throw=True),
        Route(Family.INET6, table, Family.INET6.any, (Hop(index, Address("fd00:0:1::1"), dev="up1"),), metric=1024),
    )


def _state(kernel: Any) -> KernelState:
    rules = [
        rule
        for address, family in ((A1, Family.INET), (A6, Family.INET6))
        for rule in service_rules(Numbers(), _table(kernel), host(address), family)
    ]
    return KernelState(frozenset(_routes(kernel)), frozenset(rules))


def test_what_is_written_is_read_back_the_same(kernel: Any) -> None:
    state = _state(kernel)

    _, refused = kernel.apply(*diff(state, KernelState()))

    assert refused == ()
    assert kernel.look().have == state
    assert diff(state, kernel.look().have) == ()


def test_everything_can_be_taken_away(kernel: Any) -> None:
    kernel.apply(*diff(_state(kernel), KernelState()))

    _, refused = kernel.apply(*diff(KernelState(), kernel.look().have))

    assert refused == ()
    assert kernel.look().have == KernelState()


def test_replacing_changes_a_route_in_place(kernel: Any) -> None:
    kernel.apply(*diff(_state(kernel), KernelState()))
    old = _routes(kernel)[2]
    fresh = replace(old, hops=(replace(old.hops[0], via=Address("10.0.1.9")),))

    done, refused = kernel.apply(Step(Verb.REPLACE, fresh))

    assert (len(done), refused) == (1, ())
    routes = kernel.look().have.routes
    assert fresh in routes
    assert old not in routes


def test_a_second_route_of_the_same_key_is_refused(kernel: Any) -> None:
    route = _routes(kernel)[0]
    kernel.apply(Step(Verb.ADD, route))

    _, refused = kernel.apply(Step(Verb.ADD, route))

    assert [refusal.errno for _, refusal in refused] == [errno.EEXIST]


def test_a_second_rule_that_is_the_same_is_refused(kernel: Any) -> None:
    rule = service_rules(Numbers(), 300, host(A1), Family.INET)[0]
    kernel.apply(Step(Verb.ADD, rule))

    _, refused = kernel.apply(Step(Verb.ADD, rule))

    assert [refusal.errno for _, refusal in refused] == [errno.EEXIST]


def test_removing_what_is_gone_is_done(kernel: Any) -> None:
    rule = service_rules(Numbers(), 300, host(A1), Family.INET)[0]

    done, refused = kernel.apply(Step(Verb.DELETE, rule), Step(Verb.DELETE, _routes(kernel)[0]))

    assert (len(done), refused) == (2, ())


@pytest.mark.parametrize("family", list(Family))
def test_a_router_that_no_route_leads_to_is_refused_and_the_rest_is_done(kernel: Any, family: Family) -> None:
    far = Address("10.77.0.1" if family is Family.INET else "fd77::1")
    metric = 0 if family is Family.INET else 1024
    bad = Route(family, _table(kernel), family.any, (Hop(kernel.index("up1"), far, dev="up1"),), metric=metric)
    good = _routes(kernel)[0]

    done, refused = kernel.apply(Step(Verb.ADD, bad), Step(Verb.ADD, good))

    assert [step.what for step in done] == [good]
    assert [refusal.errno for _, refusal in refused] == [
        errno.ENETUNREACH if family is Family.INET else errno.EHOSTUNREACH
    ]


def test_onlink_makes_any_router_possible(kernel: Any) -> None:
    hop = Hop(kernel.index("up1"), Address("10.77.0.1"), onlink=True, dev="up1")
    route = Route(Family.INET, _table(kernel), Family.INET.any, (hop,))

    _, refused = kernel.apply(Step(Verb.ADD, route))

    assert refused == ()
    assert route in kernel.look().have.routes


def test_a_link_that_is_not_there_is_refused(kernel: Any) -> None:
    route = Route(Family.INET, 999, Prefix("10.3.0.0/16"), (Hop(999),), link_scope=True)

    _, refused = kernel.apply(Step(Verb.ADD, route))

    assert [refusal.errno for _, refusal in refused] == [errno.ENODEV]


def test_setting_a_link_down_drops_its_routes_in_every_table_and_no_rule(kernel: Any) -> None:
    kernel.apply(*diff(_state(kernel), KernelState()))

    kernel.down("up1")

    look = kernel.look()
    assert {route for route in look.have.routes if not route.throw} == set()
    assert look.have.rules == _state(kernel).rules
    assert not [route for route in look.main if route.family is Family.INET]


def test_rules_of_one_priority_are_told_apart(kernel: Any) -> None:
    first = Rule(Family.INET, 22003, host(A1), action=Action.UNREACHABLE)
    second = Rule(Family.INET, 22003, host(Address("10.0.2.2")), action=Action.UNREACHABLE)
    kernel.apply(Step(Verb.ADD, first), Step(Verb.ADD, second))

    kernel.apply(Step(Verb.DELETE, first))

    assert kernel.look().have.rules == frozenset({second})


def test_no_namespace_is_left() -> None:
    assert not (Path("/run/netns") / NS).exists()
