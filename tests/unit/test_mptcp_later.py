"""Writes that take long, one after the other in a thread: how long it waits between them, and for whom it does not."""

from __future__ import annotations

import threading

import pytest

from mpathd.kernel.mptcp.later import Answer, Later
from mpathd.model.mptcp import Act, Change, Endpoint
from mpathd.model.words import Address

LONG = 30.0  # seconds that no test lasts
OLD, NEW = (Endpoint(number, Address("10.0.1.2")) for number in (254, 253))
RENEWAL = (Change(Act.DELETE, OLD), Change(Act.ADD, NEW))
OTHER = Change(Act.DELETE, Endpoint(252, Address("10.0.2.2")))


class Writes:
    """What was written, in its order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.deleted, self.finished = threading.Event(), threading.Event()
        self.later = Later(self._write, self.finished.set)

    def _write(self, change: Change) -> Answer:
        self.done.append(str(change))
        self.deleted.set()
        return 0, ""


@pytest.fixture
def writes() -> Writes:
    """A thread that writes nowhere."""
    return Writes()


def test_without_a_pause_all_is_written_at_once(writes: Writes) -> None:
    writes.later.put(RENEWAL)
    assert writes.finished.wait(LONG)

    assert writes.done == [str(change) for change in RENEWAL]
    assert [change for change, _ in writes.later.answers()] == [*RENEWAL]
    assert not writes.later.busy


def test_what_is_not_wanted_any_more_is_left(writes: Writes) -> None:
    writes.later.put(RENEWAL, lambda: None)
    assert writes.finished.wait(LONG)

    assert (writes.done, writes.later.answers()) == ([], ())


def test_a_pause_is_kept(writes: Writes) -> None:
    writes.later.put(RENEWAL, lambda: 0.05)
    assert writes.deleted.wait(LONG)
    assert (writes.done, writes.later.busy) == ([str(RENEWAL[0])], True)
    assert writes.finished.wait(LONG)

    assert writes.done == [str(change) for change in RENEWAL]


def test_whatever_else_is_to_be_written_ends_a_pause(writes: Writes) -> None:
    writes.later.put(RENEWAL, lambda: LONG)
    assert writes.deleted.wait(LONG)
    writes.later.put([OTHER])
    assert writes.finished.wait(LONG / 2)

    assert writes.done == [str(change) for change in (*RENEWAL, OTHER)]


def test_the_end_ends_a_pause(writes: Writes) -> None:
    writes.later.put(RENEWAL, lambda: LONG)
    assert writes.deleted.wait(LONG)
    writes.later.join()

    assert writes.finished.is_set()
    assert writes.done == [str(change) for change in RENEWAL]
