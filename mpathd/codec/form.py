"""What messages are: their values, types and header fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Any

# Bytes of a header without its fields.
FIXED = 16

# Flags: no answer is wanted; asking must not start a service.
NO_ANSWER, NO_START = 1, 2

# Types of a fixed size: struct's letter and the number of bytes, which is also what they are aligned to.
NUMBERS = {
    "y": ("B", 1), "b": ("I", 4), "n": ("h", 2), "q": ("H", 2), "i": ("i", 4), "u": ("I", 4),
    "x": ("q", 8), "t": ("Q", 8), "d": ("d", 8), "h": ("I", 4),
}  # fmt: skip
ALIGNED = {**{code: size for code, (_, size) in NUMBERS.items()}, **dict.fromkeys("soa", 4), **dict.fromkeys("({", 8)}

# Types that are remembered; callers choose them.
KNOWN = 256

# Header fields that we read or write: number, signature.
PATH, INTERFACE, MEMBER, ERROR, REPLY, DESTINATION, SENDER, SIGNATURE = range(1, 9)
FIELDS = {PATH: "o", INTERFACE: "s", MEMBER: "s", ERROR: "s", REPLY: "u", DESTINATION: "s", SENDER: "s", SIGNATURE: "g"}


class Kind(IntEnum):
    """What a message is."""

    CALL = 1
    ANSWER = 2
    ERROR = 3
    SIGNAL = 4


@dataclass(frozen=True, slots=True)
class Variant:
    """A value that carries its type.

    Args:
        signature: one complete type.
        value: the value.
    """

    signature: str
    value: Any


class Bag(dict[str, Variant]):
    """An a{sv} that is told several times, and written once; nothing in it changes afterwards.

    Attributes:
        written: its entries as bytes, once they were asked for.
    """

    __slots__ = ("written",)
    written: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A message.

    Args:
        kind: what it is.
        serial: its number.
        fields: header fields by number.
        body: its values.
        flags: NO_ANSWER, NO_START.
    """

    kind: int
    serial: int
    fields: Mapping[int, Any] = field(default_factory=dict)
    body: Sequence[Any] = ()
    flags: int = 0

    @property
    def path(self) -> str:
        """The object that it goes to, or comes from."""
        return str(self.fields[PATH])

    @property
    def interface(self) -> str | None:
        """The object's interface; a call need not name it."""
        return self.fields.get(INTERFACE)

    @property
    def member(self) -> str:
        """The method or signal."""
        return str(self.fields[MEMBER])

    @property
    def sender(self) -> str:
        """Who sent it; empty before the bus says so."""
        return str(self.fields.get(SENDER, ""))

    @property
    def signature(self) -> str:
        """Types of the body."""
        return str(self.fields.get(SIGNATURE, ""))


class Unreadable(Exception):
    """Bytes that are no D-Bus message, or a signature that is none."""


class Unfit(Exception):
    """A value that is not of its type, or that the bus would not take."""


@lru_cache(KNOWN)
def types(signature: str) -> tuple[str, ...]:
    """Split a signature into its complete types.

    Args:
        signature: none, one or several complete types.
    """
    out, at = [], 0
    while at < len(signature):
        end = _end(signature, at)
        out.append(signature[at:end])
        at = end
    return tuple(out)


def _end(signature: str, at: int) -> int:
    """Where the complete type ends that begins here."""
    while signature[at : at + 1] == "a":
        at += 1
    code = signature[at : at + 1]
    if code not in {"(", "{"}:
        if not code or code not in "ybnqiuxtdhsogv":
            raise Unreadable(f"no type at {at} of signature {signature!r}")
        return at + 1
    at += 1
    close = ")" if code == "(" else "}"
    while True:  # at least one: an array of nothings would never end
        at = _end(signature, at)
        if signature[at : at + 1] == close:
            return at + 1


def answer(call: Message, signature: str, body: Sequence[Any]) -> Message:
    """Make the answer to a call.

    Args:
        call: the call.
        signature: types of the results.
        body: the results.
    """
    fields = {REPLY: call.serial, DESTINATION: call.sender}
    return Message(Kind.ANSWER, 0, {**fields, SIGNATURE: signature} if signature else fields, body)


def refusal(call: Message, name: str, text: str) -> Message:
    """Make the error that answers a call.

    Args:
        call: the call.
        name: of the error.
        text: for people.
    """
    return Message(Kind.ERROR, 0, {REPLY: call.serial, DESTINATION: call.sender, ERROR: name, SIGNATURE: "s"}, (text,))
