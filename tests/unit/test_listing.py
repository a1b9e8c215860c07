"""A list that is read again: it is what the kernel says, whatever has changed, and only what is new is decoded."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpathd.kernel.netlink import F_DUMP_INTR, HEADER, NLMSG_DONE, NLMSG_ERROR, S32
from mpathd.kernel.rtnetlink.listing import Listing
from mpathd.kernel.rtnetlink.socket import TRIES, Netlink
from mpathd.kernel.rtnetlink.wire import GETRULE, NEWRULE


class Kernel:
    """Answers dumps as netlink does."""

    def __init__(self) -> None:
        self.objects: Sequence[bytes] = ()
        self.size, self.together = 3, False  # messages of a datagram; whether the end comes with the last of them
        self.interrupt = 0  # dumps that another writer interrupts
        self.errors: list[int] = []
        self.queue: list[bytes] = []
        self.asked: list[int] = []
        self._number = 0

    def number(self) -> int:
        self._number += 1
        return self._number

    def send(self, data: bytes) -> None:
        sequence = HEADER.unpack_from(data)[3]
        self.asked.append(sequence)
        if self.errors:
            self.queue.append(_message(NLMSG_ERROR, 0, sequence, S32.pack(-self.errors.pop(0)) + data[:16]))
            return
        flags = F_DUMP_INTR if self.interrupt else 0
        self.interrupt = max(0, self.interrupt - 1)
        messages = [_message(NEWRULE, 2 | flags, sequence, body) for body in self.objects]
        datagrams = [b"".join(messages[at : at + self.size]) for at in range(0, len(messages), self.size)]
        end = _message(NLMSG_DONE, 2 | flags, sequence, S32.pack(0))
        if self.together and datagrams:
            datagrams[-1] += end
        else:
            datagrams.append(end)
        self.queue += datagrams

    def receive(self, known: bytes = b"") -> bytes:
        data = self.queue.pop(0)
        return known if data == known else data


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return HEADER.pack(16 + len(body), kind, flags, sequence, 7) + body + bytes(-len(body) % 4)


class Read:
    """A listing of numbers, which knows what it decoded."""

    def __init__(self) -> None:
        self.kernel = Kernel()
        self.decoded: list[bytes] = []
        self.listing: Listing[bytes] = Listing(cast("Netlink", self.kernel), GETRULE, bytes(12), self._decode)

    def _decode(self, data: bytes, at: int, end: int) -> bytes:
        self.decoded.append(data[at:end])
        return data[at:end]

    def look(self, objects: Sequence[bytes]) -> bool:
        self.kernel.objects, self.decoded = objects, []
        changed = self.listing.look()
        assert not self.kernel.queue
        return changed


def _body(number: int) -> bytes:
    return bytes((number,)) * (1 + number % 9)


BODIES = st.lists(st.integers(1, 30).map(_body), max_size=40)
SHAPES = st.tuples(st.integers(1, 7), st.booleans())


@given(st.lists(st.tuples(BODIES, SHAPES), min_size=1, max_size=6))
@settings(max_examples=300, deadline=None)
def test_it_is_what_the_kernel_says(looks: list[tuple[list[bytes], tuple[int, bool]]]) -> None:
    read = Read()
    before: list[bytes] = []
    for objects, (read.kernel.size, read.kernel.together) in looks:
        kept = read.listing.values
        changed = read.look(objects)

        assert read.listing.values == objects
        assert changed == (objects != before)
        if changed:
            assert Counter(before) - Counter(read.listing.gone) + Counter(read.listing.come) == Counter(objects)
        else:
            assert read.listing.values is kept
        before = objects
        assert not read.look(objects)
    assert len(set(read.kernel.asked)) == 1


MANY = [_body(number) + bytes((number,)) for number in range(200)]


@pytest.mark.parametrize("together", [False, True])
def test_only_what_is_new_is_decoded(*, together: bool) -> None:
    read = Read()
    read.kernel.size, read.kernel.together = 30, together
    old, new = MANY[:40] + MANY[50:], MANY[40:50]
    assert read.look(old)
    assert read.decoded == old

    assert read.look(MANY)
    assert (read.decoded, read.listing.come, read.listing.gone) == (new, new, [])
    assert read.look(old)
    assert (read.decoded, read.listing.come, read.listing.gone) == ([], [], new)
    assert read.look(MANY)  # what was there lately is still known
    assert (read.decoded, read.listing.come, read.listing.gone) == ([], new, [])


def test_what_changes_where_it_is_and_back_is_all_that_comes() -> None:
    """A link that is lost and found again: its routes differ by a flag, and what they say was known before."""
    read = Read()
    read.kernel.size = 30
    places = (0, 1, 2, 60, 61, 199)
    lost = [b"lost" + body if place in places else body for place, body in enumerate(MANY)]
    for old, new in ((MANY, lost), (lost, MANY), (MANY, lost)):
        read.look(old)
        assert read.look(new)
        assert (read.listing.come, read.listing.gone) == ([new[p] for p in places], [old[p] for p in places])


def test_values_that_stay_are_the_same_objects() -> None:
    read = Read()
    read.look(MANY)
    before = list(read.listing.values)
    read.look([*MANY[5:], _body(3)])

    assert all(new is old for new, old in zip(read.listing.values, before[5:], strict=False))


def test_what_is_expected_is_taken_for_what_was_said() -> None:
    read = Read()
    mine = bytes(bytearray(_body(7)))
    read.listing.expect(_body(7), mine)
    read.listing.expect(_body(8), b"never said")
    read.look([_body(7), _body(9)])

    assert read.listing.values[0] is mine
    assert read.decoded == [_body(9)]
    read.look([_body(8)])
    assert read.listing.values == [_body(8)]  # expected by the next look only


def test_what_is_forgotten_is_decoded_anew() -> None:
    read = Read()
    read.look(MANY)
    read.listing.forget()

    assert read.look(MANY)
    assert read.decoded == MANY


def test_what_has_gone_is_not_remembered_for_ever() -> None:
    read = Read()
    for number in range(5000):
        read.look([number.to_bytes(4, "little")])

    assert len(read.listing._memo) < 300


def test_an_interrupted_answer_is_not_taken() -> None:
    read = Read()
    read.look(MANY[:5])
    read.kernel.interrupt = TRIES - 1
    assert read.look(MANY[:7])
    assert read.listing.values == MANY[:7]

    read.kernel.interrupt = TRIES  # an event is under way: the last one counts, until then
    assert read.look(MANY[:9])
    assert read.listing.values == MANY[:9]
    assert read.look(MANY[3:9])
    assert read.listing.values == MANY[3:9]


def test_late_answers_are_nobodys() -> None:
    read = Read()
    read.look(MANY[:9])
    read.kernel.send(_message(GETRULE, 0, read.kernel.number(), b""))
    read.kernel.objects = MANY[20:22]
    read.kernel.send(_message(GETRULE, 0, read.kernel.number(), b""))

    assert not read.look(MANY[:9])
    assert read.listing.values == MANY[:9]


def test_after_a_question_that_was_given_up_another_number_is_asked() -> None:
    read = Read()
    read.look(MANY[:9])
    read.kernel.errors = [errno.EPERM]
    with pytest.raises(PermissionError):
        read.look(MANY[:9])
    left = read.kernel.asked[-1]

    assert not read.look(MANY[:9])
    assert read.kernel.asked[-1] != left
    assert read.listing.values == MANY[:9]


def test_a_kernel_that_still_answers_is_asked_again() -> None:
    read = Read()
    read.kernel.errors = [errno.EBUSY] * 3
    assert read.look(MANY[:9])
    assert read.listing.values == MANY[:9]

    read.kernel.errors = [errno.EBUSY] * TRIES
    with pytest.raises(OSError, match="busy"):
        read.look(MANY[:9])


def test_a_family_that_the_kernel_does_not_have_is_empty() -> None:
    read = Read()
    read.look(MANY[:9])
    read.kernel.errors = [errno.EAFNOSUPPORT]

    assert read.look(MANY[:9])
    assert read.listing.values == []
