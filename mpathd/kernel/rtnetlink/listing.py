"""A list of the kernel that is asked for again and again; only what is new in it is decoded.

Rule 1: a question keeps its sequence number, so what has not changed comes back byte for byte, headers and all. A
datagram that equals the one at its place of the last time is not even walked over.
Rule 2: nothing is inferred: the kernel is asked for all of it, and every byte is compared.
Rule 3: a question that was not answered to its end never asks under that number again: late answers are nobody's.
"""

from __future__ import annotations

import errno
import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import is_
from typing import Generic, TypeVar

from ..netlink import F_DUMP, F_DUMP_INTR, HEADER, NLMSG_DONE, NLMSG_ERROR, S32, message
from .socket import EMPTY, TRIES, Interrupted, Netlink

SPARE = 256  # bodies that may be remembered beyond twice of what is there

T = TypeVar("T")


@dataclass(slots=True)
class Answer(Generic[T]):
    """What the kernel has answered.

    Args:
        datagrams: as they came.
        firsts: how many messages come before each of them.
        text: all messages that are about an object, one behind the other.
        ends: where the first one begins in it, and where each one ends.
        values: what they mean.
    """

    datagrams: list[bytes] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    text: bytes = b""
    ends: list[int] = field(default_factory=lambda: [0])
    values: list[T] = field(default_factory=list)


class Listing(Generic[T]):
    """One list.

    Args:
        netlink: the socket.
        kind: the GET message.
        body: of the question.
        decode: makes a value of a message's body. The same bytes always give the same value.
    """

    def __init__(self, netlink: Netlink, kind: int, body: bytes, decode: Callable[[bytes, int, int], T]) -> None:
        self._netlink, self._kind, self._body, self._decode = netlink, kind, body, decode
        self._sequence = 0
        self._expected: dict[bytes, T] = {}
        self.gone: list[T] = []  # what the last look did not find any more
        self.come: list[T] = []  # what it found anew
        self.forget()

    def forget(self) -> None:
        """Decode all of it anew at the next look."""
        self._memo: dict[bytes, T] = {}
        self._answer: Answer[T] = Answer()
        self.values: list[T] = []
        self._expected.clear()

    def expect(self, body: bytes, value: T) -> None:
        """Say how the kernel will tell of what was just written. What it tells in other words is decoded.

        Args:
            body: of the message.
            value: what it means.
        """
        self._expected[body] = value

    def look(self) -> bool:
        """Ask, and tell whether the answer is another than the last time; `gone` and `come` say in what.

        Raises:
            OSError: the kernel refuses.
        """
        for turn in range(1, TRIES + 1):
            try:
                return self._look(last=turn == TRIES)
            except Interrupted:
                continue
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def _look(self, *, last: bool) -> bool:
        sequence, self._sequence = self._sequence or self._netlink.number(), 0
        receive = self._netlink.receive
        self._netlink.send(message(self._kind, F_DUMP, sequence, self._body))
        place, data = 0, b""
        for place, before in enumerate(self._answer.datagrams):  # noqa: B007
            data = receive(before)
            if data is not before:
                break
        else:
            if data:  # the last one says that it was all
                self._sequence = sequence
                return False
            data = receive()
        walk = Walk(self._answer, place, sequence, self._meaning, self._memo)
        while not walk.take(data):
            data = receive()
        self._sequence = sequence
        if walk.interrupted and not last:
            raise Interrupted
        walk.gone.extend(self.values[walk.at :])
        found = walk.new.values
        # Under another number all of it differs, and means the same.
        same = len(found) == len(self.values) and all(map(is_, found, self.values))
        self.gone, self.come = ([], []) if same else (walk.gone, walk.come)
        self.values = self.values if same else found
        self._expected.clear()
        # Where another writer was faster each time there is an event under way: the next look reads all of it.
        self._answer = Answer() if walk.interrupted else walk.whole()
        if len(self._memo) > 2 * len(self.values) + SPARE:
            self._prune()
        return not same

    def _meaning(self, body: bytes) -> T:
        value = self._expected.get(body) if self._expected else None
        if value is None:
            value = self._decode(body, 0, len(body))
        self._memo[body] = value
        return value

    def _prune(self) -> None:
        text, ends = self._answer.text, self._answer.ends
        there = zip(ends, ends[1:], self._answer.values, strict=False)
        self._memo = {text[start + HEADER.size : end]: value for start, end, value in there}


class Walk(Generic[T]):
    """Reads an answer from the first datagram on that differs, run by run: a run is what came in this order before.

    Args:
        old: the answer of the last time.
        place: which datagram that is.
        sequence: of the question.
        meaning: what a body means that is not known.
        memo: what bodies mean.
    """

    def __init__(
        self, old: Answer[T], place: int, sequence: int, meaning: Callable[[bytes], T], memo: dict[bytes, T]
    ) -> None:
        self._old, self._sequence, self._meaning, self._memo = old, sequence, meaning, memo
        self.at = at = old.firsts[place] if place else 0  # the message that came next the last time
        datagrams, firsts, values = old.datagrams[:place], old.firsts[:place], old.values[:at]
        self.new = Answer(datagrams, firsts, b"", old.ends[: at + 1], values)
        self._pieces = [old.text[: old.ends[at]]]
        self._seek, self._fresh = True, 0  # messages since the last run
        self.gone: list[T] = []
        self.come: list[T] = []
        self.interrupted = False

    def whole(self) -> Answer[T]:
        """The answer, once it is complete."""
        self.new.text = b"".join(self._pieces)
        return self.new

    def take(self, data: bytes) -> bool:
        """Read a datagram and tell whether it is the last one.

        Args:
            data: the datagram.

        Raises:
            OSError: the kernel refuses.
            Interrupted: it still answers an earlier question.
        """
        size = len(data)
        if size < HEADER.size or HEADER.unpack_from(data)[3] != self._sequence:
            return False
        old, new = self._old, self.new
        new.datagrams.append(data)
        new.firsts.append(len(new.values))
        at, done, view, known = 0, False, memoryview(data), len(old.values)
        while at + HEADER.size <= size:
            if self.at < known and (run := self._run(view, at) or self._replaced(view, at)):
                first, self.at, self._fresh = self.at, self.at + run, 0
                new.values += old.values[first : self.at]
                shift = new.ends[-1] - old.ends[first]
                ends = old.ends[first + 1 : self.at + 1]
                new.ends += [end + shift for end in ends] if shift else ends
                at += old.ends[self.at] - old.ends[first]
                continue
            length, kind, flags, _, _ = HEADER.unpack_from(data, at)
            if length < HEADER.size or at + length > size:
                break
            self.interrupted = self.interrupted or bool(flags & F_DUMP_INTR)
            if kind in {NLMSG_DONE, NLMSG_ERROR}:
                _check(data, at + HEADER.size, at + length)
                done = True
                break
            body, end = data[at + HEADER.size : at + length], min(at + (length + 3 & ~3), size)
            value = self._memo.get(body)
            if value is not None and self._seek and self._skip(data[at:end]):
                continue
            value = self._meaning(body) if value is None else value
            self._fresh += 1
            self.come.append(value)
            new.values.append(value)
            new.ends.append(new.ends[-1] + end - at)
            at = end
        self._pieces.append(data[:at])
        return done

    def _run(self, data: memoryview, at: int) -> int:
        """How many messages are here that came in this order the last time too."""
        text, ends, first = self._old.text, self._old.ends, self.at
        start = ends[first]
        if not text.startswith(data[at : at + ends[first + 1] - start], start):
            return 0
        low, high = first + 1, bisect_right(ends, start + len(data) - at) - 1
        if text.startswith(data[at : at + ends[high] - start], start):  # nearly always: what differs is in one place
            return high - first
        while low < high - 1:
            middle = (low + high) // 2
            if text.startswith(data[at : at + ends[middle] - start], start):
                low = middle
            else:
                high = middle
        return low - first

    def _replaced(self, data: memoryview, at: int) -> int:
        """The run that begins here, if each message before it stands in the place of an old one: a link that is lost
        changes its routes where they are.
        """
        old = self._old
        if not self._fresh or self.at + self._fresh >= len(old.values):
            return 0
        gone, self.at = self.at, self.at + self._fresh
        if run := self._run(data, at):
            self.gone += old.values[gone : self.at]
        else:
            self.at = gone
        return run

    def _skip(self, known: bytes) -> bool:
        """Pass over what has gone, up to a message that is known; where messages have changed places, do not again."""
        old = self._old
        where = old.text.find(known, old.ends[self.at])
        found = bisect_left(old.ends, where) if where >= 0 else 0
        self._seek = found > self.at and old.ends[found] == where
        if self._seek:
            self.gone += old.values[self.at : found]
            self.at = found
        return self._seek


def _check(data: bytes, at: int, end: int) -> None:
    number = -S32.unpack_from(data, at)[0] if end - at >= S32.size else 0
    if number == errno.EBUSY:  # an earlier question was given up, and is read to its end first
        raise Interrupted
    if number and number not in EMPTY:
        raise OSError(number, os.strerror(number))
