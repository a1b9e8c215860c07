"""What others undo is put right; who undoes it again and again is met ever more slowly, and named."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from kernel.conftest import FAMILIES, fresh_name, settled
from labkit import Lab
from labkit.agent import Agent, Bus, eventually
from mpathd.model.routing import KernelState, Rule, Step, Verb
from mpathd.model.words import Family, Prefix
from mpathd.plan.contest import LONGEST, WINDOW, Contest
from trouble.outside import Ear, frozen, objects

ALL = 3 * (4 + 4) + 3 * (2 + 2)  # objects of the post's lab: rules and routes of three addresses in two families


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The post's lab, for all: what a test breaks is healed."""
    with Lab("three-uplinks", fresh_name(), quiet=True) as made:
        yield made


@pytest.fixture
def agent(lab: Lab, tmp_path: Path) -> Iterator[Agent]:
    """The daemon with a bus, settled."""
    with Bus(tmp_path) as bus, Agent(lab, "client", ["--mpathrouting"], bus=bus) as made:
        settled(lab, "client", "vethc3")
        assert len(objects(lab, "client")) == ALL
        yield made


def _table(lab: Lab, number: int) -> int:
    return 255 + lab.index("client", f"vethc{number}")


def _damages(lab: Lab) -> dict[str, list[str]]:
    """What can be done to it, by name."""
    tables = [_table(lab, n) for n in (1, 2, 3)]
    return {
        "rule flush": [
            *(f"-{family} rule flush" for family in FAMILIES),
            *(f"-{family} rule add pref 32766 lookup main" for family in FAMILIES),
        ],
        "our rules": [f"-{family} rule flush protocol 109" for family in FAMILIES],
        "a table": [f"-{family} route flush table {tables[0]}" for family in FAMILIES],
        "every table": [f"-{family} route flush table {table}" for family in FAMILIES for table in tables],
        "a default": [f"-4 route del default table {tables[1]}", f"-6 route del default table {tables[2]}"],
        "an on-link route": [
            f"-4 route del 10.0.1.0/24 table {tables[0]}",
            f"-6 route del fd00:0:2::/64 table {tables[1]}",
        ],
        "one rule": ["-4 rule del pref 22003 from 10.0.2.2", "-6 rule del pref 22000 from fd00:0:3::2"],
        "a changed route": [
            f"-4 route change default via 10.0.2.17 dev vethc2 metric 200 table {tables[1]} proto 109",
            f"-6 route change default via fd00:0:2::17 dev vethc2 metric 200 table {tables[1]} proto 109",
        ],
        "a surplus": [
            f"-4 route add 198.51.100.0/24 via 10.0.1.1 dev vethc1 table {tables[0]} proto 109",
            "-4 route add 198.51.100.0/24 via 10.0.1.1 dev vethc1 table 77 proto 109",
            "-4 rule add pref 22002 from 198.51.100.9 lookup 77 protocol 109",
            "-6 rule add pref 77 lookup 77 protocol 109",
        ],
    }  # fmt: skip


DAMAGES = (
    "rule flush", "our rules", "a table", "every table", "a default", "an on-link route", "one rule",
    "a changed route", "a surplus",
)  # fmt: skip


@pytest.mark.parametrize("what", DAMAGES)
def test_damage_is_healed(lab: Lab, agent: Agent, what: str) -> None:
    before = objects(lab, "client")

    for line in _damages(lab)[what]:
        lab.ip("client", line)

    eventually(lambda: objects(lab, "client") == before, what=f"healed: {what}")
    assert _findings(agent) == {}
    if what == "rule flush":
        for family in FAMILIES:  # what the flush took from others is the others' affair: the lab puts it back
            lab.ip("client", f"-{family} rule add pref 32767 lookup default", check=False)


def _findings(agent: Agent) -> dict[str, str]:
    done = agent.ctl("status", "--json")
    return {found["Code"]: found["Text"] for found in json.loads(done.stdout)["Findings"]}


RIVAL = "pref 22002 from 10.0.2.2"


@contextmanager
def _rival(lab: Lab) -> Iterator[list[float]]:
    """Another program: removes one of our rules each time it appears; gives the times at which it had to."""
    times: list[float] = []
    stop = threading.Event()

    def work() -> None:
        with Ear(lab, "client") as ear:
            lab.ip("client", f"rule del {RIVAL}")
            while not stop.is_set():
                if ear.wait(1, timeout=0.05) and "from 10.0.2.2 lookup" in lab.ip("client", "rule show pref 22002"):
                    times.append(time.monotonic())
                    lab.ip("client", f"rule del {RIVAL}")

    thread = threading.Thread(target=work, name="rival")
    thread.start()
    try:
        yield times
    finally:
        stop.set()
        thread.join()


def test_a_contest(lab: Lab, agent: Agent) -> None:
    before = objects(lab, "client")
    with _rival(lab) as times:
        eventually(lambda: "contested" in _findings(agent), timeout=10.0)

        text = _findings(agent)["contested"]
        assert f"{RIVAL} lookup {_table(lab, 2)}" in text
        # It slows down, and only there: what nobody fights over is healed at once, again and again.
        started = time.monotonic()
        for turn in range(3):
            lab.ip("client", "rule del pref 22002 from 10.0.3.2")
            eventually(
                lambda: "from 10.0.3.2 " in lab.ip("client", "rule show pref 22002"), timeout=0.5, what=f"{turn}"
            )
        eventually(lambda: len(times) > 2 and times[-1] - times[-2] > 1.5, timeout=15.0, what="ever longer waits")
        assert len([at for at in times if at > started]) <= (time.monotonic() - started) + 1
    # The contest is over: the rule comes back at the next try, and stays.
    eventually(lambda: objects(lab, "client") == before, timeout=15.0)
    assert "contested" in _findings(agent)  # remembered for a while: the time part is below


def test_a_link_that_flaps_is_no_contest(lab: Lab, agent: Agent) -> None:
    # The kernel takes the routes of a link that is set down, and a busy mpathd sees only that they are gone.
    before = objects(lab, "client")
    for turn in range(10):
        with frozen(agent):
            for line in (
                "link set vethc2 down",
                "link set vethc2 up",
                "-4 route add default via 10.0.2.1 dev vethc2 metric 200",
                "-6 addr replace fd00:0:2::2/64 dev vethc2 nodad",
                "-6 route add default via fd00:0:2::1 dev vethc2 metric 200",
            ):
                lab.ip("client", line)
            assert objects(lab, "client") < before
        eventually(lambda: objects(lab, "client") == before, timeout=0.9, what=f"healed at once, flap {turn}")
    assert _findings(agent) == {}


RULE = Rule(Family.INET, 22002, Prefix("10.0.2.2/32"), 281)
WANTED = KernelState(rules=frozenset({RULE}))
STEP = Step(Verb.ADD, RULE)


def test_a_contest_slows_down_to_a_bound() -> None:
    contest, now, tries = Contest(), 0.0, []
    while now < 600.0:  # somebody undoes each of our writes at once
        go, later = contest.judge([STEP], WANTED, now)
        if go:
            tries.append(now)
        now += 0.01 if later is None else max(0.01, later)
    gaps = [after - before for before, after in pairwise(tries)]
    assert len([gap for gap in gaps if gap < 0.5]) < 10
    assert all(gap <= LONGEST + 0.1 for gap in gaps)
    assert len(tries) < 10 + 600.0 / 2
    assert len(contest.findings([])) == 1
    assert str(STEP) in contest.findings([])[0].text
    assert "systemd-networkd" in contest.findings(["systemd-networkd"])[0].text


def test_a_contest_is_forgotten() -> None:
    contest, now = Contest(), 0.0
    for _ in range(20):
        _, later = contest.judge([STEP], WANTED, now)
        now += 0.01 if later is None else later
    last = now
    assert contest.findings([])
    over = contest.next_settle
    assert over is not None
    assert last < over <= last + WINDOW + LONGEST

    contest.settle(over - 1.0)
    assert contest.findings([])
    contest.settle(over + 0.01)

    assert contest.findings([]) == ()
    assert contest.next_settle is None
    assert contest.judge([STEP], WANTED, over + 1.0) == ((STEP,), None)  # the next undoing is healed at once again


def test_what_was_never_ours_is_no_contest() -> None:
    contest = Contest()
    for now in range(100):
        assert contest.judge([STEP], KernelState(), float(now) / 100) == ((STEP,), None)
    assert contest.findings([]) == ()
