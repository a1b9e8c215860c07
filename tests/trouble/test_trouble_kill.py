"""kill -9 in the middle of writing, 50 times: after the restart the kernel is as wanted, and no bound flow strayed.

Two labs are alike. In the first mpathd is stopped (SIGSTOP), a lot changes, and as it goes on it is killed at a random
write of the pass that follows; then it is started again. In the second the same changes are made and nobody disturbs
mpathd: what the kernel holds there is what is wanted here. A kill counts as one between the first and the last write
of a pass when the kernel then holds neither what it held before the pass nor what is wanted.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from kernel.conftest import Stream, fresh_name, settled, sink, strays
from labkit import Lab, Watch
from labkit.agent import Agent
from trouble.outside import Ear, frozen, objects

KILLS, MIDDLE = 50, 40
UPLINKS, FURTHER = 8, 12  # links, and further addresses on each that come and go, per family
LAST = f"up{UPLINKS}"  # never changed: it carries the marker that tells when the undisturbed one is done
PRIMARY = {address: f"net{n}" for n in range(1, UPLINKS + 1) for address in (f"10.64.{n}.2", f"fd00:64:{n:x}::2")}


@pytest.fixture
def labs() -> Iterator[tuple[Lab, Lab]]:
    """The one where mpathd is killed, and the one where it is not."""
    with ExitStack() as stack:
        made = [stack.enter_context(Lab(f"uplinks-{UPLINKS}", fresh_name(), quiet=True)) for _ in range(2)]
        for lab in made:
            lab.sysctl("client", {"net.ipv4.conf.all.promote_secondaries": 1})
            for n in range(1, UPLINKS + 1):
                lab.sysctl("client", {f"net.ipv6.conf.up{n}.keep_addr_on_down": 1})
        yield made[0], made[1]


class Changes:
    """Random changes of the uplinks, as lines for `ip -batch`; the same for both labs.

    Args:
        seed: what makes them repeatable.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._further = dict.fromkeys(range(1, UPLINKS), False)
        self._gateway = {(n, family): True for n in range(1, UPLINKS) for family in (4, 6)}
        self._down: set[int] = set()

    def next(self) -> list[str]:
        """What happens now: most links get or lose further addresses, some a gateway, some are set down or up."""
        lines: list[str] = []
        chosen = set(self._random.sample(range(1, UPLINKS), self._random.randint(5, UPLINKS - 1)))
        for n in range(1, UPLINKS):
            if self._random.random() < 0.2:
                lines += self._switch(n)
            if n in chosen:
                lines += self._addresses(n)
            if n not in self._down and self._random.random() < 0.4:
                lines += self._routes(n, self._random.choice((4, 6)))
        return lines

    def _addresses(self, n: int) -> list[str]:
        verb = "del" if self._further[n] else "add"
        self._further[n] = not self._further[n]
        lines = [f"addr {verb} 10.64.{n}.{100 + k}/24 dev up{n}" for k in range(FURTHER)]
        return lines + [f"addr {verb} fd00:64:{n:x}::1:{k:x}/64 dev up{n} nodad" for k in range(FURTHER)]

    def _switch(self, n: int) -> list[str]:
        if n in self._down:
            self._down.remove(n)
            return [f"link set up{n} up"]
        self._down.add(n)
        self._gateway[n, 4] = self._gateway[n, 6] = False  # the kernel takes its routes away
        return [f"link set up{n} down"]

    def _routes(self, n: int, family: int) -> list[str]:
        way = f"0.0.0.0/0 via 10.64.{n}.1" if family == 4 else f"::/0 via fd00:64:{n:x}::1"
        there = self._gateway[n, family]
        self._gateway[n, family] = not there
        return [f"route {'del' if there else 'add'} {way} dev up{n} metric {100 + n}"]


def test_killed_while_writing(labs: tuple[Lab, Lab], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killed, twin = labs
    seed = random.randrange(1 << 32)
    changes, choice = Changes(seed), random.Random(seed + 1)
    middle: list[str] = []
    with ExitStack() as stack:
        folder = tmp_path / "killed"
        folder.mkdir()
        agent = stack.enter_context(Agent(killed, "client", ["--mpathrouting"], folder=folder))
        stack.enter_context(Agent(twin, "client", ["--mpathrouting"]))
        stack.enter_context(sink(killed, "net"))
        watch = stack.enter_context(Watch(killed, [("net", f"net{n}") for n in range(1, UPLINKS + 1)]))
        stream = stack.enter_context(Stream(killed, "client", PRIMARY, pause=0.01))
        ear = stack.enter_context(Ear(killed, "client"))
        settled(killed, "client", LAST)
        settled(twin, "client", LAST)
        assert objects(killed, "client") == objects(twin, "client")

        for kill in range(1, KILLS + 1):
            with ExitStack() as ahead:
                with frozen(agent):
                    lines = changes.next()
                    for lab in labs:
                        lab.batch("client", lines)
                    settled(twin, "client", LAST)
                    wanted, before = objects(twin, "client"), objects(killed, "client")
                    writes = len(before ^ wanted)
                    assert writes > 200, "the change is too small to be killed in"
                    ear.heard()
                    moment = choice.randrange(1, writes // 2)
                    ahead.enter_context(_ahead_of(agent))
                seen = ear.wait(moment, timeout=5.0)
                agent.kill()

            after = objects(killed, "client")
            seen += len(ear.ours())
            if after not in (before, wanted):
                middle.append(f"{len(before ^ after)}/{writes}")
            agent.start()
            assert objects(killed, "client") == wanted, f"kill {kill} of seed {seed}, at write {moment}, {seen} seen"
            assert strays(watch, PRIMARY) == [], f"kill {kill} of seed {seed}"
            watch.clear()
        assert all(stream.sent(address) for address in PRIMARY)
    with capsys.disabled():
        print(f"\nkills: {KILLS}, between the first and the last write of a pass: {len(middle)} ({', '.join(middle)})")
    assert len(middle) >= MIDDLE


@contextmanager
def _ahead_of(agent: Agent) -> Iterator[None]:
    """This thread and mpathd share one processor, and this one goes first: what it hears of, it answers before more.

    Without that a busy machine lets mpathd finish its pass before the killer gets its turn.

    Args:
        agent: which.
    """
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(agent.pid, {min(everywhere)})
    os.sched_setaffinity(0, {min(everywhere)})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.sched_setaffinity(0, everywhere)


def test_killed_while_taking_all_away(labs: tuple[Lab, Lab]) -> None:
    lab, _ = labs
    changes, choice = Changes(1), random.Random(1)
    while len(lines := changes.next()) < 150:
        pass
    lab.batch("client", [line for line in lines if line.startswith("addr add")])
    with Agent(lab, "client", ["--mpathrouting"]) as agent, Ear(lab, "client") as ear:
        for _ in range(5):
            settled(lab, "client", LAST)
            whole = objects(lab, "client")
            ear.heard()

            agent.signal(signal.SIGTERM)
            ear.wait(choice.randrange(1, len(whole) // 2), timeout=5.0)
            agent.kill()

            assert objects(lab, "client") < whole
            if choice.random() < 0.5:
                assert agent.once("--release").returncode == 0
                assert objects(lab, "client") == frozenset()
            agent.start()
            settled(lab, "client", LAST)
            assert objects(lab, "client") == whole
