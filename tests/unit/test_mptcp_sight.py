"""What is seen of connections: ages, sessions, processes, speeds; and the eye, without a kernel."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from mpathd import mptcpview
from mpathd.model.connections import Connection, Owner, Speed, Subflow
from mpathd.model.mptcp import Event, Kind
from mpathd.model.session import Origin, SessionSettings
from mpathd.model.sight import MOST, Age, EventSeen
from mpathd.model.view import SessionView, View
from mpathd.model.words import Address
from mpathd.mptcpview import Eye
from mpathd.plan.ages import Ages
from mpathd.plan.sight import Found, sight

NEAR, OTHER, FAR = Address("10.0.1.2"), Address("10.0.2.2"), Address("192.0.2.9")
FIRST = Subflow(7, NEAR, 1000, FAR, 443, cookie=1)
SECOND = Subflow(7, OTHER, 1001, FAR, 443, index=3, joined=True, cookie=2)
CONNECTION = Connection(7, NEAR, 1000, FAR, 443, inode=99, cookie=3)


def event(kind: Kind, one: Subflow = FIRST) -> Event:
    """What the kernel tells of a subflow."""
    return Event(kind, one.token, one.source, one.sport, one.destination, one.dport)


# Ages.


def test_a_subflow_is_as_old_as_its_event() -> None:
    ages = Ages(100.0)
    ages.heard(event(Kind.CREATED), 110.0)
    ages.heard(event(Kind.ESTABLISHED), 111.0)
    ages.heard(event(Kind.SUB_ESTABLISHED, SECOND), 120.0)

    assert ages.age(FIRST, 130.0) == Age(20.0)
    assert ages.age(SECOND, 130.0) == Age(10.0)


def test_one_that_was_there_before_is_older_than_that() -> None:
    assert Ages(100.0).age(FIRST, 130.0) == Age(30.0, least=True)


def test_one_that_comes_again_is_young() -> None:
    ages = Ages(0.0)
    for kind, now in ((Kind.SUB_ESTABLISHED, 10.0), (Kind.SUB_CLOSED, 20.0), (Kind.SUB_ESTABLISHED, 30.0)):
        ages.heard(event(kind, SECOND), now)
    assert ages.age(SECOND, 40.0) == Age(10.0)
    ages.heard(event(Kind.CLOSED), 50.0)
    ages.heard(event(Kind.CREATED), 60.0)
    assert ages.age(FIRST, 61.0) == Age(1.0)
    assert ages.age(SECOND, 61.0) == Age(61.0, least=True)


def test_one_that_ends_is_as_old_as_before_while_its_last_packets_are_out() -> None:
    ages = Ages(0.0)
    for kind, now in ((Kind.SUB_ESTABLISHED, 10.0), (Kind.SUB_CLOSED, 20.0)):
        ages.heard(event(kind, SECOND), now)
    assert ages.age(SECOND, 21.0) == Age(11.0), "in fin-wait1 it is still listed"


def test_of_those_that_end_the_last_are_remembered() -> None:
    ages = Ages(0.0, most=2)
    ages.heard(event(Kind.CREATED), 1.0)
    for port in (1, 2, 3):
        for kind in (Kind.SUB_ESTABLISHED, Kind.SUB_CLOSED):
            ages.heard(event(kind, replace(SECOND, sport=port)), 10.0 * port)
    assert [ages.age(replace(SECOND, sport=port), 40.0).least for port in (1, 2, 3)] == [True, False, False]
    assert ages.age(FIRST, 40.0) == Age(39.0)


def test_what_is_not_known_after_a_loss_is_older_than_the_loss() -> None:
    ages = Ages(0.0)
    ages.heard(event(Kind.CREATED), 10.0)
    ages.lost(20.0)

    assert ages.age(FIRST, 30.0) == Age(10.0, least=True)


def test_it_remembers_so_many_connections_and_says_so() -> None:
    ages = Ages(0.0, most=2)
    for number in range(4):
        ages.heard(event(Kind.CREATED, replace(FIRST, token=number)), float(number))

    assert [ages.age(replace(FIRST, token=number), 10.0) for number in range(4)] == [
        Age(7.0, least=True), Age(7.0, least=True), Age(8.0), Age(7.0),
    ]  # fmt: skip


def test_events_of_other_kinds_change_nothing() -> None:
    ages = Ages(0.0)
    for kind in (Kind.ANNOUNCED, Kind.SUB_PRIORITY, Kind.LISTENER_CREATED, Kind.OTHER, Kind.SUB_CLOSED, Kind.CLOSED):
        ages.heard(event(kind), 5.0)

    assert ages.age(FIRST, 9.0) == Age(9.0, least=True)


# Joining.


def session(name: str, mark: int) -> SessionView:
    """A session."""
    settings = SessionSettings(name, Origin.NAMED, "root")
    return SessionView(name, mark >> 16, mark, "connected", "", "", "", (), "", True, settings)


SESSIONS = View(sessions=(session("video", 0x10000), session("backup", 0x20000)))
AGES = {1: Age(1.0), 2: Age(2.0)}


@pytest.mark.parametrize(
    ("mark", "first", "second", "name"),
    [
        (0, 0, 0, ""),
        (0x10000, 0, 0, "video"),
        (0x8002_0007, 0, 0, "backup"),  # bits of others
        (0x30000, 0, 0, ""),
        (0, 0, 0x20000, "backup"),  # a kernel that does not tell the connection's own
        (0x10000, 0x20000, 0, "video"),
    ],
)
def test_the_mark_tells_the_session(mark: int, first: int, second: int, name: str) -> None:
    found = Found(
        (replace(CONNECTION, mark=mark),), 1, (replace(FIRST, mark=first), replace(SECOND, mark=second)),
        {99: (Owner(1, "init"),)}, {3: "up2"},
    )  # fmt: skip
    (one,) = sight(found, SESSIONS, 0x7FFF0000, AGES, (), 0.0).connections

    assert (one.session, one.owners, one.speed) == (name, (Owner(1, "init"),), None)
    assert [(part.view.interface, part.age) for part in one.subflows] == [("", Age(1.0)), ("up2", Age(2.0))]


def test_speeds_are_since_the_look_before() -> None:
    now = Found((replace(CONNECTION, acked=2000),), 5, (replace(FIRST, acked=2000, received=50), SECOND))
    seen = sight(now, View(), 0x7FFF0000, AGES, (CONNECTION, FIRST), 2.0)

    assert (seen.total, seen.seconds) == (5, 2.0)
    (one,) = seen.connections
    assert one.speed == Speed(8000.0, 0.0)
    assert [part.speed for part in one.subflows] == [Speed(8000.0, 200.0), None]


# The eye.


class Kernel:
    """Stands in for the hands."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.dumps: list[int] = []
        self.acked = 0
        self.takes = 0.0  # seconds that a dump takes
        self.waiting: list[Event] = []
        self.most: list[int] = []
        self.lost = False
        self.heard = True
        self.closed = 0

    def busiest(self, most: int) -> tuple[tuple[Connection, ...], int]:
        """A dump."""
        self.dumps.append(most)
        self.now += self.takes
        self.acked += 1000
        return (replace(CONNECTION, acked=self.acked),), 1

    def subflows(self, tokens: set[int]) -> tuple[Subflow, ...]:
        """Of that connection."""
        assert tokens == {7}
        return (FIRST,)

    def drain(self, lost: Any, most: int) -> tuple[Event, ...]:
        """Events that wait."""
        self.most.append(most)
        if self.lost:
            lost()
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        return tuple(taken)

    def close(self) -> None:
        """One of both."""
        self.closed += 1


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """A kernel of the test's, and its clock."""
    made = Kernel()
    for name in ("Diag", "Events"):
        monkeypatch.setattr(mptcpview, name, lambda: made)
    monkeypatch.setattr(mptcpview, "owners", lambda inodes: {inode: (Owner(5, "curl"),) for inode in inodes})
    monkeypatch.setattr(mptcpview, "counters", lambda: {"MPJoinRejected": len(made.dumps)})
    monkeypatch.setattr(mptcpview, "monotonic", lambda: made.now)
    return made


def eye(told: list[tuple[EventSeen, ...]] | None = None) -> Eye:
    """One that looks there."""
    return Eye(lambda: (SESSIONS, 0x7FFF0000), (told if told is not None else []).append)


def test_all_who_ask_at_once_get_one_look(kernel: Kernel) -> None:
    async def play() -> None:
        one = eye()
        first = await asyncio.gather(*(one.look() for _ in range(20)))
        assert len(kernel.dumps) == 1
        assert all(seen is first[0] for seen in first)
        kernel.now += mptcpview.FRESH
        assert (await one.look()) is not first[0]
        assert len(kernel.dumps) == 2

    asyncio.run(play())


def test_looks_take_a_quarter_of_the_time_at_most(kernel: Kernel) -> None:
    kernel.takes = 1.0

    async def play() -> int:
        one = eye()
        until = kernel.now + 40.0
        while kernel.now < until:
            await one.look()
            kernel.now += 0.01
        return len(kernel.dumps)

    assert asyncio.run(play()) == 10


def test_more_than_anybody_may_have_is_not_read(kernel: Kernel) -> None:
    asyncio.run(eye().look(10**6))

    assert kernel.dumps == [MOST]


def test_speeds_are_over_a_time_that_tells_something(kernel: Kernel) -> None:
    async def play() -> list[tuple[float, float]]:
        one, out = eye(), []
        for _ in range(5):
            seen = await one.look()
            speed = seen.connections[0].speed
            out.append((round(seen.seconds, 3), round(speed.up, 1) if speed else 0.0))
            kernel.now += 0.1
        return out

    assert asyncio.run(play()) == [(0.0, 0.0), (0.0, 0.0), (0.2, 80000.0), (0.3, 80000.0), (0.2, 80000.0)]


def test_it_closes_what_it_has_opened(kernel: Kernel) -> None:
    one = eye()
    one.close()
    assert kernel.closed == 1
    two = eye()
    asyncio.run(two.look())
    two.close()
    assert kernel.closed == 3


def test_a_kernel_that_cannot_list_sockets(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(93, "Protocol not supported")

    monkeypatch.setattr(mptcpview, "Diag", refuse)

    assert asyncio.run(eye().look()).connections == ()
    assert kernel.dumps == []


def test_findings_are_of_what_has_grown_since(kernel: Kernel) -> None:
    one = eye()
    assert one.findings() == ()
    asyncio.run(one.look())
    assert [finding.code for finding in one.findings()] == ["mptcp-full"]


class Clock:
    """Stands in for the running loop."""

    def __init__(self) -> None:
        self.readers = 0
        self.later: list[Any] = []

    def fileno(self) -> int:
        """Not used."""
        return -1

    def add_reader(self, _file: int, _call: Any) -> None:
        """Listen."""
        self.readers += 1

    def remove_reader(self, _file: int) -> None:
        """Rest."""
        self.readers -= 1

    def call_later(self, _seconds: float, call: Any) -> None:
        """Go on."""
        self.later.append(call)


def test_events_are_told_at_a_pace(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[EventSeen, ...]] = []
    clock = Clock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: clock)
    monkeypatch.setattr(kernel, "fileno", clock.fileno, raising=False)
    one = eye(told)
    one.attend()
    kernel.waiting = [event(Kind.CREATED)] * 1200
    one._heard()
    assert (sum(map(len, told)), clock.readers, len(clock.later)) == (mptcpview.RATE, 0, 1)
    kernel.now += 0.1
    clock.later.pop()()
    one._heard()
    assert sum(map(len, told)) == mptcpview.RATE * 1.1
    kernel.now += 100.0
    clock.later.pop()()
    one._heard()
    assert sum(map(len, told)) == mptcpview.RATE * 2.1
    assert max(kernel.most) == mptcpview.RATE


def test_a_loss_is_told_before_what_came_after_it(kernel: Kernel) -> None:
    told: list[tuple[EventSeen, ...]] = []
    one = eye(told)
    kernel.lost, kernel.waiting = True, [event(Kind.CLOSED)]
    one._heard()

    ((loss, after),) = told
    assert (loss.event, after.event) == (None, event(Kind.CLOSED))
    assert after.words == "00000007 connection closed 10.0.1.2:1000 > 192.0.2.9:443"


def test_where_events_cannot_be_heard_nobody_listens(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: clock)
    kernel.heard = False
    eye().attend()

    assert clock.readers == 0
