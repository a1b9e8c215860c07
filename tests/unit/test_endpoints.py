"""The part of a pass that is about MPTCP, with a hand that refuses on demand; and who brings subflows back."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from mpathd.endpoints import Brought, Endpoints
from mpathd.kernel.mptcp.hand import after
from mpathd.mender import Mender
from mpathd.model.connections import Connection, Subflow, TcpState
from mpathd.model.errors import Refusal
from mpathd.model.mptcp import Act, Change, Endpoint, Event, Kept, Kind, Limits, Mptcp
from mpathd.model.numbers import Numbers
from mpathd.model.policy import Policy, ServiceSettings
from mpathd.model.routing import Hop, KernelState, Route
from mpathd.model.view import Service
from mpathd.model.words import Address, Family, MptcpMode, ServiceState, Technology, host
from mpathd.model.world import LinkAddress
from mpathd.plan.contest import Contest
from mpathd.plan.services import service_rules

NUMBERS = Numbers()
FAR = Address("192.0.2.9")


def service(number: int, *, routed: bool = True) -> Service:
    """An uplink with 10.0.N.2."""
    return Service(
        id=f"ethernet_{number}",
        name="Wired",
        technology=Technology.ETHERNET,
        state=ServiceState.READY,
        index=number,
        interface=f"up{number}",
        mac="",
        mtu=1500,
        table=NUMBERS.table(number),
        settings=ServiceSettings(multipath_routing=True, mpath_tcp_link=MptcpMode.ON),
        routed=routed,
        because="",
        addresses=(LinkAddress(Family.INET, Address(f"10.0.{number}.2"), 24),),
    )


def routing(services: Iterable[Service]) -> KernelState:
    """What is ours once it is written."""
    state = KernelState()
    for one in services:
        way = Route(Family.INET, one.table, Family.INET.any, (Hop(one.index, Address("10.9.9.1")),))
        rules = service_rules(NUMBERS, one.table, host(one.addresses[0].address), Family.INET)
        state = KernelState(state.routes | {way}, state.rules | {*rules})
    return state


@dataclass
class Hand:
    """A hand with a kernel of its own.

    Args:
        room: endpoints that it takes.
    """

    room: int = 8
    found: Mptcp = Mptcp(limits=Limits(2, 0))
    refuse: Callable[[Change], int] = lambda _change: 0
    broken: bool = False
    busy: bool = False
    words: str = "upstream"
    log: list[str] = field(default_factory=list)
    lately: list[tuple[Change, Refusal]] = field(default_factory=list)
    pauses: list[float | None] = field(default_factory=list)

    def adopt(self, kept: Kept) -> None:
        """Take over what was known."""
        self.found = replace(self.found, mine=self.found.mine | kept.mine, room=kept.room)

    def look(self, _names: Mapping[int, str] | None = None) -> Mptcp:
        """Look."""
        self.log.append("look")
        if self.broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.found = replace(self.found, mine=self.found.mine & {e.name for e in self.found.endpoints})
        return self.found

    def apply(self, changes: Sequence[Change]) -> tuple[tuple[Change, ...], tuple[tuple[Change, Refusal], ...]]:
        """Write."""
        done, refused = [], []
        for change in changes:
            self.log.append(str(change))
            number = self.refuse(change)
            if change.act is Act.ADD and len(self.found.endpoints) >= self.room:
                number = errno.ERANGE
                self.found = replace(self.found, room=self.room)
            if number:
                refused.append((change, Refusal(str(change), number, os.strerror(number))))
            else:
                done.append(change)
                self.found = after(self.found, change)
        return tuple(done), tuple(refused)

    def renew(self, old: Endpoint, new: Endpoint, pause: Callable[[], float | None]) -> None:
        """Renew at once."""
        self.pauses.append(pause())
        if self.pauses[-1] is not None:
            self.apply([Change(Act.DELETE, old), Change(Act.ADD, new)])

    def late(self) -> tuple[tuple[Change, Refusal], ...]:
        """Give what was refused later."""
        out, self.lately = tuple(self.lately), []
        return out

    def settle(self) -> None:
        """Nothing is under way."""
        self.log.append("settle")


class Keeper:
    """Remembers, and writes into the hand's log when."""

    def __init__(self, hand: Hand, kept: Kept | None = None) -> None:
        self.hand, self.kept = hand, kept

    def load(self) -> Kept | None:
        """What is kept."""
        return self.kept

    def save(self, kept: Kept) -> None:
        """Keep it."""
        self.hand.log.append("save")
        self.kept = kept


class Stage:
    """A hand, a keeper, and passes."""

    def __init__(self, kept: Kept | None = None, **hand: Any) -> None:
        self.hand = Hand(**hand)
        self.keeper = Keeper(self.hand, kept)
        self.endpoints = Endpoints(self.hand, self.keeper)
        self.contest, self.now = Contest(), 0.0

    def pass_(self, *services: Service, look: bool = True) -> Brought:
        """Run the part of a pass."""
        self.hand.log.clear()
        state = routing(one for one in services if one.routed)
        return self.endpoints.bring(services, state, Policy(), {}, self.contest, self.now, look=look)

    @property
    def addresses(self) -> list[str]:
        """Of the endpoints."""
        return [e.address for e in self.hand.found.endpoints]


def test_what_has_only_to_do_with_sessions_passes_mptcp_by() -> None:
    stage = Stage()
    first = stage.pass_(service(1), service(2))
    stage.hand.broken = True  # whoever asks it hears that

    same = stage.pass_(service(1), service(2), look=False)
    other = stage.pass_(service(1), look=False)

    assert (same.done, same.findings) == ((), first.findings)
    assert [finding.code for finding in other.findings] == ["internal"]
    assert [finding.code for finding in stage.pass_(service(1), service(2)).findings] == ["internal"]


@pytest.mark.parametrize("trouble", ["refused", "busy"])
def test_what_is_not_yet_as_it_should_be_is_looked_at_all_the_same(trouble: str) -> None:
    stage = Stage(refuse=(lambda _change: errno.EPERM)) if trouble == "refused" else Stage()
    stage.pass_(service(1))
    stage.hand.busy = trouble == "busy"
    stage.hand.broken = True

    assert [finding.code for finding in stage.pass_(service(1), look=False).findings] == ["internal"]


def test_a_pass_without_routed_services_asks_nothing() -> None:
    stage = Stage()
    assert stage.pass_(service(1, routed=False)) == Brought()
    assert stage.hand.log == ["look", "look"]  # at the start only: something may be left of the last run
    assert stage.pass_(service(1, routed=False)) == Brought()
    assert stage.hand.log == []


def test_what_is_ours_is_written_down_before_the_kernel_knows_it() -> None:
    stage = Stage()
    done = stage.pass_(service(1), service(2), service(3)).done

    assert stage.hand.log[2:] == ["save", *map(str, done)]
    assert str(done[0]) == "ip mptcp limits set subflows 3 add_addr_accepted 0"
    assert stage.keeper.kept == Kept(stage.hand.found.mine, Limits(2, 0), Limits(3, 0))
    assert stage.pass_(service(1), service(2), service(3)).done == ()
    assert stage.hand.log == ["look"]


def test_room_is_learned_within_the_pass() -> None:
    stage = Stage(room=2)
    brought = stage.pass_(*(service(number) for number in range(1, 5)))

    assert stage.addresses == ["10.0.2.2", "10.0.1.2"]
    assert brought.refused == ()
    assert [finding.code for finding in brought.findings] == ["endpoints-full"]
    assert stage.keeper.kept is not None
    assert stage.keeper.kept.room == 2  # --dry-run knows it from here


def test_while_others_come_and_go_a_refusal_is_tried_again_in_the_same_pass() -> None:
    foreign = Endpoint(7, Address("10.7.0.1"))
    stage = Stage(found=Mptcp(endpoints=(foreign,), limits=Limits(8, 0)))

    def gone(change: Change) -> int:
        if change.act is Act.ADD and foreign in stage.hand.found.endpoints:  # it had gone and others had come
            stage.hand.found = replace(stage.hand.found, endpoints=())
            return errno.ERANGE
        return 0

    stage.hand.refuse = gone

    assert stage.pass_(service(1)).refused == ()
    assert stage.addresses == ["10.0.1.2"]


def test_a_refusal_is_told_and_tried_again() -> None:
    stage = Stage(refuse=lambda change: errno.EPERM if change.act is Act.ADD else 0)
    ((step, refusal),) = stage.pass_(service(1)).refused

    assert refusal.errno == errno.EPERM
    assert str(step).startswith("ip mptcp endpoint add 10.0.1.2")
    assert stage.endpoints.ours == ()
    stage.hand.refuse = lambda _change: 0
    assert stage.pass_(service(1)).refused == ()
    assert stage.addresses == ["10.0.1.2"]


def test_what_was_refused_later_is_told() -> None:
    stage = Stage()
    stage.pass_(service(1))
    change = Change(Act.DELETE, stage.hand.found.endpoints[0])
    stage.hand.lately = [(change, Refusal(str(change), errno.EPERM, "no"))]

    assert [str(refusal) for _, refusal in stage.pass_(service(1)).refused] == [f"{change}: no"]


def test_trouble_with_mptcp_is_a_finding_and_no_failed_pass() -> None:
    stage = Stage()
    stage.pass_(service(1))
    stage.hand.broken = True

    assert [finding.code for finding in stage.pass_(service(1)).findings] == ["internal"]


def test_who_undoes_it_again_and_again_is_slowed_down() -> None:
    stage = Stage()
    stage.pass_(service(1))
    for _ in range(20):
        stage.hand.found = replace(stage.hand.found, endpoints=())
        brought = stage.pass_(service(1))

    assert brought.done == ()
    assert brought.later
    (told,) = stage.contest.findings([])
    assert "ip mptcp endpoint add 10.0.1.2" in told.text


def test_the_end() -> None:
    stage = Stage()
    stage.pass_(service(1), service(2), service(3))
    foreign = Endpoint(7, Address("10.7.0.1"))
    stage.hand.found = replace(stage.hand.found, endpoints=(foreign, *stage.hand.found.endpoints))
    stage.hand.lately = [(Change(Act.ADD, foreign), Refusal("add", errno.ERANGE, "too many"))]  # no failure of a stop
    done, refused = stage.endpoints.release(NUMBERS, KernelState())

    assert [str(step) for step in done] == [
        "ip mptcp limits set subflows 2 add_addr_accepted 0",
        *(f"ip mptcp endpoint delete id {number}" for number in (252, 253, 254)),
    ]
    assert refused == ()
    assert stage.hand.found.endpoints == (foreign,)
    assert stage.keeper.kept == Kept()


def test_what_the_last_run_had_written_down_is_ours() -> None:
    left = Endpoint(77, Address("10.0.9.2"))
    stage = Stage(Kept(frozenset({left.name})), found=Mptcp(endpoints=(left,), limits=Limits(2, 0)))
    stage.pass_(service(1, routed=False))

    assert stage.hand.found.endpoints == ()


def test_what_would_be_done_is_not_more_than_kernels_take() -> None:
    stage = Stage()
    many = tuple(service(number) for number in range(1, 12))
    due, findings = stage.endpoints.intend(many, routing(many), Policy(), {})

    assert sum(change.act is Act.ADD for change in due) == 8
    assert [finding.code for finding in findings] == ["endpoints-full"]
    assert stage.hand.found.endpoints == ()


def test_words() -> None:
    stage = Stage()
    assert stage.endpoints.words == "upstream"
    stage.pass_(service(1))
    assert stage.endpoints.words == "upstream, 1 endpoint"


# Bringing subflows back.


class Eye:
    """One connection, with subflows by some addresses."""

    def __init__(self) -> None:
        self.by = ["10.0.1.2"]

    def connections(self) -> tuple[Connection, ...]:
        """The one."""
        one = Connection(
            token=1,
            source=Address("10.0.1.2"),
            sport=1,
            destination=FAR,
            dport=2,
            state=TcpState.ESTABLISHED,
            subflows=len(self.by) - 1,
            subflows_max=8,
        )
        return (one,)

    def subflows(self) -> tuple[Subflow, ...]:
        """By their addresses."""
        return tuple(
            Subflow(token=1, source=Address(a), sport=1, destination=FAR, dport=2, state=TcpState.ESTABLISHED)
            for a in self.by
        )

    def close(self) -> None:
        """Nothing to do."""


class Ear:
    """Says what it is told to."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.overrun = self.closed = False

    def fileno(self) -> int:
        """None that is used."""
        return 99

    def drain(self, lost: Callable[[], None]) -> tuple[Event, ...]:
        """Give what has come."""
        if self.overrun:
            lost()
        out, self.events = tuple(self.events), []
        return out

    def close(self) -> None:
        """Note it."""
        self.closed = True


class Handle:
    """Of a call that is to come."""

    def __init__(self, clock: Clock, call: tuple[float, Callable[..., None], tuple[Any, ...]]) -> None:
        self._clock, self._call = clock, call

    def cancel(self) -> None:
        """Let it not come."""
        self._clock.calls.remove(self._call)


class Clock:
    """An event loop of which only time is used."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], None]] = {}
        self.calls: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def add_reader(self, fd: int, call: Callable[[], None]) -> None:
        """Note it."""
        self.readers[fd] = call

    def remove_reader(self, fd: int) -> None:
        """Forget it."""
        del self.readers[fd]

    def call_later(self, seconds: float, call: Callable[..., None], *args: Any) -> Handle:
        """Note it."""
        self.calls.append((seconds, call, args))
        return Handle(self, self.calls[-1])

    def ring(self) -> list[float]:
        """Let all calls happen, and give the seconds that they had waited."""
        calls, self.calls = self.calls, []
        for _, call, args in calls:
            call(*args)
        return [seconds for seconds, _, _ in calls]


class Mending:
    """A mender with all that it needs."""

    def __init__(self) -> None:
        self.stage, self.ear, self.eye, self.clock = Stage(), Ear(), Eye(), Clock()
        loop: Any = self.clock
        self.mender = Mender(
            self.stage.endpoints,
            lambda: NUMBERS,
            lambda: self.ear,
            lambda: self.eye,
            loop,
            lambda: lambda _one, _address: False,
        )
        self.stage.endpoints.listen = self.mender.listen
        self.pass_()

    def pass_(self) -> None:
        """Run the part of a pass."""
        self.stage.pass_(service(1), service(2))

    def hears(self, source: str, error: int = errno.ECONNRESET) -> None:
        """Let it hear of a subflow that was closed."""
        self.ear.events.append(Event(Kind.SUB_CLOSED, 1, Address(source), 1, FAR, 2, error=error))
        self.clock.readers[99]()

    @property
    def id(self) -> int:
        """Of the second link's endpoint."""
        return next(e.id for e in self.stage.hand.found.endpoints if e.address == "10.0.2.2")


@pytest.fixture
def mending() -> Mending:
    """Two links; the connection has lost the second one."""
    return Mending()


def test_a_lost_subflow_is_tried_anew_with_growing_pauses_and_forgotten_when_it_is_back(mending: Mending) -> None:
    mending.hears("10.0.2.2")
    first, waited = mending.id, []
    for _ in range(9):
        before = mending.id
        waited += mending.clock.ring()
        assert mending.id != before  # another id each time: the far side is told to forget the old one
        mending.pass_()
    assert waited == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert first != mending.id
    mending.eye.by.append("10.0.2.2")
    here = mending.id
    assert mending.clock.ring() == [60]
    assert mending.clock.ring() == [60]
    assert mending.id == here
    assert mending.clock.calls == []  # idle
    mending.hears("10.0.2.2")
    assert mending.clock.ring() == [0.5]


def test_what_is_lost_again_before_the_last_look_is_a_new_matter(mending: Mending) -> None:
    mending.hears("10.0.2.2")
    for _ in range(4):
        mending.clock.ring()
        mending.pass_()
    mending.eye.by.append("10.0.2.2")
    assert mending.clock.ring() == [8]  # it is back; there is a last look, 16 seconds from now
    mending.eye.by.remove("10.0.2.2")
    mending.hears("10.0.2.2")

    before = mending.id
    assert mending.clock.ring() == [0.5]
    assert mending.id != before


def test_what_a_living_subflow_uses_is_not_touched(mending: Mending) -> None:
    before = [e.id for e in mending.stage.hand.found.endpoints]
    mending.hears("10.0.1.2")
    mending.clock.ring()

    assert [e.id for e in mending.stage.hand.found.endpoints] == before


@pytest.mark.parametrize(("source", "error"), [("10.0.2.2", 0), ("10.7.7.7", errno.ECONNRESET)])
def test_what_is_no_loss_of_ours_is_passed_over(mending: Mending, source: str, error: int) -> None:
    mending.hears(source, error)

    assert mending.clock.calls == []


def test_where_the_kernel_had_more_to_tell_every_endpoint_is_looked_after(mending: Mending) -> None:
    mending.ear.overrun = True
    mending.clock.readers[99]()

    assert len(mending.clock.calls) == 2


def test_an_endpoint_that_is_gone_meanwhile_is_forgotten(mending: Mending) -> None:
    mending.hears("10.0.2.2")
    mending.stage.pass_(service(1))
    mending.clock.ring()

    assert mending.clock.calls == []


def test_without_endpoints_nobody_listens(mending: Mending) -> None:
    assert list(mending.clock.readers) == [99]
    mending.stage.pass_(service(1, routed=False))
    assert (mending.clock.readers, mending.ear.closed) == ({}, True)
