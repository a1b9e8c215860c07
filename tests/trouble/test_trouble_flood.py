"""Thousands of events at once: passes go on, none is delayed without bound, and afterwards the kernel is right."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kernel.conftest import Stream, fresh_name, settled, sink, strays
from labkit import Lab, Watch
from labkit.agent import Agent, Bus, eventually
from trouble.outside import NEWADDR, NEWRULE, Ear, News, force, frozen, objects

EVENTS = 10_000
PRIMARY = {address: f"vethr{n}" for n in (1, 2, 3) for address in (f"10.0.{n}.2", f"fd00:0:{n}::2")}


@pytest.fixture
def lab() -> Iterator[Lab]:
    """The post's lab."""
    with Lab("three-uplinks", fresh_name(), quiet=True) as made:
        yield made


def _flood(mark: str) -> list[str]:
    """Addresses and routes that come and go, on links that are services and on one that is none; once, the mark."""
    lines: list[str] = []
    for turn in range(EVENTS // 4):
        a, b = turn >> 8 & 255, turn & 255
        if turn % 2:
            lines += [f"addr add 10.{200 + a}.{b}.1/32 dev lo", f"route add 198.18.{b}.0/24 via 10.0.{turn % 3 + 1}.1"]
            lines += [f"addr del 10.{200 + a}.{b}.1/32 dev lo", f"route del 198.18.{b}.0/24 via 10.0.{turn % 3 + 1}.1"]
        else:
            dev = f"vethc{turn % 3 + 1}"
            lines += [f"addr add 10.{200 + a}.{b}.1/32 dev {dev}", f"addr add fd00:{a:x}:{b:x}::1/128 dev {dev} nodad"]
            lines += [f"addr del 10.{200 + a}.{b}.1/32 dev {dev}", f"addr del fd00:{a:x}:{b:x}::1/128 dev {dev}"]
    lines.insert(len(lines) // 3, mark)
    return lines


def _place(heard: list[News], kind: int, address: bytes) -> int:
    return next(place for place, news in enumerate(heard) if news.kind == kind and address in news.raw)


def test_passes_go_on_in_a_flood(lab: Lab) -> None:
    with ExitStack() as stack:
        stack.enter_context(sink(lab, "server"))
        watch = stack.enter_context(Watch(lab, [(f"r{n}", f"vethr{n}") for n in (1, 2, 3)]))
        stack.enter_context(Agent(lab, "client", ["--mpathrouting"]))
        settled(lab, "client", "vethc3")
        before = objects(lab, "client")
        stream = stack.enter_context(Stream(lab, "client", PRIMARY, pause=0.02))
        ear = stack.enter_context(Ear(lab, "client"))
        lines = _flood("addr add 10.0.2.77/24 dev vethc2")
        heard: list[News] = []
        flood = threading.Thread(target=force, args=(lab, "client", lines))

        flood.start()
        while flood.is_alive():  # read all along, as the ear's buffer has an end too
            heard += ear.heard()
        flood.join()
        heard += ear.heard()

        # The kernel tells in its order: the address's rules came long before the flood was over.
        mark = bytes((10, 0, 2, 77))
        came, ruled = _place(heard, NEWADDR, mark), _place(heard, NEWRULE, mark)
        last = max(place for place, news in enumerate(heard) if not news.ours)
        assert last > EVENTS
        assert came < ruled < last
        assert ruled - came < (last - came) / 2, "its rules waited for most of the flood"
        wanted = {line for line in objects(lab, "client") if "10.0.2.77" in line}
        assert len(wanted) == 4
        settled(lab, "client", "vethc3")
        eventually(lambda: objects(lab, "client") == before | wanted)
        for address in PRIMARY:
            stream.goes_on(address)
        assert strays(watch, PRIMARY) == []


def test_events_that_were_lost_are_looked_after(lab: Lab, tmp_path: Path) -> None:
    # A daemon that cannot read for a while (here: stopped) loses events: the socket says ENOBUFS, once.
    with Bus(tmp_path) as bus, Agent(lab, "client", ["--mpathrouting"], bus=bus) as agent:
        settled(lab, "client", "vethc3")
        before = objects(lab, "client")
        with frozen(agent):
            lab.ip("client", "addr add 10.0.1.66/24 dev vethc1")
            force(lab, "client", _flood("addr add 10.0.2.77/24 dev vethc2"))
            lab.ip("client", "-6 addr add fd00:0:3::66/64 dev vethc3 nodad")
            assert _dropped(agent), "the flood was too small to be lost"

        eventually(lambda: len(objects(lab, "client") - before) == 3 * 4)
        assert before < objects(lab, "client")
        lab.ip("client", "addr del 10.0.1.66/24 dev vethc1")  # and it still hears
        eventually(lambda: not any("10.0.1.66" in line for line in objects(lab, "client")))
        status = json.loads(agent.ctl("status", "--json").stdout)
        assert (status["Settled"], status["Findings"]) == (True, [])


def _dropped(agent: Agent) -> int:
    """How many messages the daemon's sockets have lost (the last but one column of /proc/net/netlink)."""
    shown = Path(f"/proc/{agent.pid}/net/netlink").read_text().splitlines()[1:]
    return sum(int(line.split()[8]) for line in shown)
