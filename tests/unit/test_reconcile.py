"""The loop on a kernel that refuses and forgets on demand."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from fake import FakeKernel
from mpathd.agent import LiveAgent
from mpathd.model.agent import Edit, Pass
from mpathd.model.config import Config
from mpathd.model.errors import ConfigError, InvalidArguments, MpathError, NotApplied, NotFound
from mpathd.model.numbers import MAIN
from mpathd.model.policy import Policy, ServiceSettings, Stored
from mpathd.model.routing import Hop, KernelState, Route, Step, Verb
from mpathd.model.words import Address, Family, Prefix
from mpathd.model.world import Link, LinkAddress, World
from mpathd.plan.tables import gateways_of_main
from mpathd.ports import Setup
from mpathd.sources.main import Main

ID = "ethernet_020000000002_cable"


def _world() -> World:
    links, main = {}, []
    for n in (2, 3):
        address = Address(f"10.0.{n}.2")
        links[n] = Link(n, f"eth{n}", bytes((2, 0, 0, 0, 0, n)), addresses=(LinkAddress(Family.INET, address, 24),))
        hop = Hop(n, Address(f"10.0.{n}.1"), dev=f"eth{n}")
        main.append(Route(Family.INET, MAIN, Prefix(f"10.0.{n}.0/24"), (Hop(n, dev=f"eth{n}"),), link_scope=True))
        main.append(Route(Family.INET, MAIN, Family.INET.any, (hop,), metric=n))
    return World(links, main=tuple(main))


class Memory:
    """Remembers what was saved."""

    def __init__(self) -> None:
        self.saved: list[Stored] = []

    def save(self, stored: Stored) -> None:
        """Keep it."""
        self.saved.append(stored)


def _setup(*, on: bool = True) -> Setup:
    policy = Policy(defaults=ServiceSettings(multipath_routing=on))
    return Setup(Config(policy), (Main(gateways_of_main),))


def _loop(kernel: FakeKernel, *, on: bool = True, memory: Memory | None = None) -> LiveAgent:
    return LiveAgent(kernel, memory or Memory(), Stored(), _setup(on=on), lambda: _setup(on=on))


def _run(work: Callable[[LiveAgent], Awaitable[None]], loop: Callable[[], LiveAgent]) -> None:
    async def main() -> None:
        made = loop()
        task = asyncio.create_task(made.run())
        try:
            async with asyncio.timeout(5):
                await work(made)
        finally:
            task.cancel()

    asyncio.run(main())


def test_a_second_pass_writes_nothing() -> None:
    kernel = FakeKernel(_world())
    loop = _loop(kernel)

    first, second = loop.pass_(), loop.pass_()

    assert len(first.steps) == 2 * (2 + 4)
    assert second.steps == ()
    assert loop.status.settled
    assert (loop.status.routes, loop.status.rules) == (4, 8)


def test_a_setting_is_saved_and_in_the_kernel_before_the_answer() -> None:
    kernel, memory = FakeKernel(_world()), Memory()

    async def work(loop: LiveAgent) -> None:
        loop.pass_()
        await loop.change(Edit({"multipath_routing": True}, ID))

        assert len(kernel.world.have.rules) == 4
        assert memory.saved == [Stored({}, {ID: {"multipath_routing": True}})]
        assert [s.routed for s in loop.view.services] == [True, False]

    _run(work, lambda: _loop(kernel, on=False, memory=memory))


def test_what_is_to_pass_is_in_the_kernel_and_not_saved() -> None:
    kernel, memory = FakeKernel(_world()), Memory()

    async def work(loop: LiveAgent) -> None:
        loop.pass_()
        await loop.change(Edit({"autoconnect": False}, ID, lasting=False))
        assert [s.routed for s in loop.view.services] == [False, True]
        assert len(kernel.world.have.rules) == 4
        await loop.reload()
        assert [s.settings.autoconnect for s in loop.view.services] == [False, True]
        assert memory.saved == []
        await loop.change(Edit({"mpath_tcp_link": "off"}, ID))
        assert memory.saved[0].services == {ID: {"mpath_tcp_link": "off"}}
        assert [s.settings.autoconnect for s in loop.view.services] == [False, True]

    _run(work, lambda: _loop(kernel, memory=memory))


def test_a_move_is_saved_and_seen_before_the_answer() -> None:
    kernel, memory = FakeKernel(_world()), Memory()

    async def work(loop: LiveAgent) -> None:
        loop.pass_()
        first, second = (service.id for service in loop.view.services)
        await loop.move(second, first, before=True)

        assert memory.saved == [Stored(order=(second, first))]
        assert [service.id for service in loop.view.services] == [second, first]
        await loop.change(Edit({"multipath_routing": True}))
        assert memory.saved[1:] == [Stored({"multipath_routing": True}, {}, (second, first))]

    _run(work, lambda: _loop(kernel, memory=memory))


@pytest.mark.parametrize(
    ("what", "other", "kind", "words"),
    [
        (
            "eth9",
            ID,
            NotFound,
            "no service called 'eth9'\n  services here: ethernet_020000000002_cable, ethernet_02000",
        ),
        (ID, "eth9", NotFound, "no service called 'eth9'\n  services here: "),
        (ID, ID, InvalidArguments, f"'{ID}' cannot stand after itself\n  name two services; others here: ethernet_0"),
    ],
)
def test_a_move_that_cannot_be_changes_nothing(what: str, other: str, kind: type[MpathError], words: str) -> None:
    kernel, memory = FakeKernel(_world()), Memory()

    async def work(loop: LiveAgent) -> None:
        loop.pass_()
        with pytest.raises(kind, match=words):
            await loop.move(what, other, before=False)
        assert memory.saved == []

    _run(work, lambda: _loop(kernel, memory=memory))


def test_what_the_kernel_refuses_is_told_in_ip_words_and_tried_again() -> None:
    kernel = FakeKernel(_world())
    kernel.refuse = lambda step: (
        errno.ENETUNREACH if isinstance(step.what, Route) and step.what.is_default and step.verb is Verb.ADD else 0
    )

    async def work(loop: LiveAgent) -> None:
        loop.pass_()
        with pytest.raises(NotApplied, match=r"route add default via 10.0.2.1 dev eth2 table 257 .*unreachable"):
            await loop.change(Edit({"multipath_routing": True}, ID))

        assert not kernel.world.have.rules, "no rules for a table that could not be filled"
        assert not loop.status.settled
        assert "refused" in {finding.code for finding in loop.view.findings}
        kernel.refuse = lambda _step: 0
        async for news in loop.passes():
            if not news.refused:
                break
        assert len(kernel.world.have.rules) == 4
        assert "refused" not in {finding.code for finding in loop.view.findings}

    _run(work, lambda: _loop(kernel, on=False))


def test_an_unknown_service_changes_nothing() -> None:
    kernel, memory = FakeKernel(_world()), Memory()

    async def work(loop: LiveAgent) -> None:
        loop.pass_()
        with pytest.raises(NotFound, match="eth9"):
            await loop.change(Edit({"multipath_routing": True}, "eth9"))
        assert memory.saved == []

    _run(work, lambda: _loop(kernel, memory=memory))


def test_what_others_take_away_comes_back_and_a_fight_is_named() -> None:
    kernel = FakeKernel(_world())
    kernel.meddlers = ("systemd-networkd",)
    loop = _loop(kernel)
    loop.pass_()
    whole = kernel.world.have

    for _ in range(8):
        kernel.lose(KernelState(rules=whole.rules))
        loop.pass_()

    assert kernel.world.have.rules == frozenset(), "repairs have slowed down"
    (finding,) = [f for f in loop.view.findings if f.code == "contested"]
    assert "systemd-networkd" in finding.text
    assert kernel.world.have.routes == whole.routes


def test_a_flapping_link_is_no_fight() -> None:
    kernel = FakeKernel(_world())
    loop = _loop(kernel)
    loop.pass_()

    for _ in range(30):
        kernel.set_link(2, carrier=False)
        loop.pass_()
        kernel.set_link(2, carrier=True)
        loop.pass_()

    assert not loop.view.findings
    assert len(kernel.world.have.routes) == 4


def test_passes_are_news_only_when_something_is_new() -> None:
    kernel = FakeKernel(_world())

    async def work(loop: LiveAgent) -> None:
        loop.pass_()
        heard: list[Pass] = []

        async def listen() -> None:
            async for news in loop.passes():
                heard.append(news)

        listener = asyncio.create_task(listen())
        await asyncio.sleep(0)
        await loop.refresh()
        await loop.refresh()
        assert heard == []
        await loop.change(Edit({"mpath_tcp_link": "backup"}, ID))
        await asyncio.sleep(0)
        assert [news.steps for news in heard] == [()]
        listener.cancel()

    _run(work, lambda: _loop(kernel))


def test_a_bad_reload_keeps_the_old_configuration_and_says_so() -> None:
    kernel = FakeKernel(_world())
    bad = True

    def load() -> Setup:
        if bad:
            raise ConfigError("/etc/mpathd/mpathd.conf:3: no key 'x'", "keys: y")
        return _setup(on=False)

    async def work(loop: LiveAgent) -> None:
        nonlocal bad
        loop.pass_()
        with pytest.raises(ConfigError):
            await loop.reload()
        await loop.refresh()
        assert [finding.code for finding in loop.view.findings] == ["config"]
        assert len(kernel.world.have.rules) == 8
        bad = False
        await loop.reload()
        assert loop.view.findings == ()
        assert kernel.world.have == KernelState()

    _run(work, lambda: LiveAgent(kernel, Memory(), Stored(), _setup(), load))


def test_pokes_in_a_flood_are_gathered() -> None:
    kernel = FakeKernel(_world())

    async def work(loop: LiveAgent) -> None:
        loop.pass_()
        before = kernel.looks
        for _ in range(2000):
            loop.poke("flood")
            await asyncio.sleep(0)
        await loop.refresh()
        assert kernel.looks - before < 200

    _run(work, lambda: _loop(kernel))


def test_release_is_the_same_road() -> None:
    kernel = FakeKernel(_world())
    loop = _loop(kernel)
    loop.pass_()

    done, refused = loop.release()

    assert refused == ()
    assert all(step.verb is Verb.DELETE for step in done)
    assert kernel.world.have == KernelState()


def test_an_expiring_route_wakes_the_loop() -> None:
    kernel = FakeKernel(replace(_world(), next_expiry=0.02))

    async def work(loop: LiveAgent) -> None:
        loop.poke("start")
        while kernel.looks < 3:
            await kernel.looked.wait()
            kernel.looked.clear()

    _run(work, lambda: _loop(kernel))


def test_steps_of_a_dry_run_are_commands() -> None:
    step = Step(
        Verb.ADD, Route(Family.INET, 257, Family.INET.any, (Hop(2, Address("10.0.2.1"), dev="eth2"),), metric=5)
    )

    assert str(step) == "ip -4 route add default via 10.0.2.1 dev eth2 table 257 proto 109 metric 5"


def test_a_fault_of_mpathd_itself_is_said_and_gone_over() -> None:
    kernel = FakeKernel(_world())
    look, faults = kernel.look, [RuntimeError("a fault")]

    def faulty(protocol: int, *, whole: bool = True) -> World:
        if faults:
            raise faults.pop()
        return look(protocol, whole=whole)

    async def work(loop: LiveAgent) -> None:
        loop.pass_()
        kernel.look = faulty  # type: ignore[method-assign]
        with pytest.raises(MpathError, match="RuntimeError: a fault"):
            await loop.refresh()
        assert [finding.code for finding in loop.view.findings] == ["internal"]
        await loop.refresh()
        assert loop.view.findings == ()

    _run(work, lambda: _loop(kernel))


def test_what_was_written_is_looked_at_once_more_and_then_there_is_rest() -> None:
    kernel = FakeKernel(_world())

    async def work(loop: LiveAgent) -> None:
        loop.poke("start")
        while loop.status.passes < 2:
            kernel.looked.clear()
            await kernel.looked.wait()
        assert kernel.wholes == 1  # the second look is at what was written alone
        await asyncio.sleep(0)
        assert loop.status.settled

    _run(work, lambda: _loop(kernel))


def test_an_event_has_only_that_looked_at_which_it_may_have_moved() -> None:
    kernel = FakeKernel(_world())

    async def work(loop: LiveAgent) -> None:
        await loop.refresh()
        before = kernel.looks, kernel.wholes
        loop.poke("rule", whole=False)
        kernel.looked.clear()
        await kernel.looked.wait()
        assert (kernel.looks, kernel.wholes) == (before[0] + 1, before[1])
        await loop.refresh()
        assert kernel.wholes == before[1] + 1

    _run(work, lambda: _loop(kernel))


def test_a_pass_that_comes_before_the_news_of_a_link_takes_nobody_for_a_rival() -> None:
    """A timer may be due before the event is read, as after a stop of the process; the look finds the routes gone."""
    kernel = FakeKernel(_world())
    loop = _loop(kernel)
    loop.pass_()
    whole = kernel.world.have
    for turn in range(10):
        kernel.lose(KernelState(routes=whole.routes))
        kernel.news = {"link"}
        loop.poke("written", whole=False, paths=False)

        assert loop.pass_().reasons == ("written", "link")

        assert kernel.world.have.routes == whole.routes, f"healed at once, flap {turn}"
    assert loop.view.findings == ()
