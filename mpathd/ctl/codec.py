"""D-Bus messages as bytes and back, with the stdlib's struct alone.

Importing dbus-next costs 50 ms whatever one uses of it (its first import pulls in asyncio, ssl and an XML parser),
as much as all the rest of mpathctl together; a person who asks for completions would feel it. dbus-next is the oracle
of this codec's tests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any

# Longest message that the specification allows, and a header without its fields.
LONGEST = 1 << 27
FIXED = 16

# Types of a fixed size: struct's letter and the number of bytes, which is also what they are aligned to.
NUMBERS = {
    "y": ("B", 1), "b": ("I", 4), "n": ("h", 2), "q": ("H", 2), "i": ("i", 4), "u": ("I", 4),
    "x": ("q", 8), "t": ("Q", 8), "d": ("d", 8), "h": ("I", 4),
}  # fmt: skip
ALIGNED = {**{code: size for code, (_, size) in NUMBERS.items()}, **dict.fromkeys("soa", 4), **dict.fromkeys("({", 8)}

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


@dataclass(frozen=True, slots=True)
class Message:
    """A message.

    Args:
        kind: what it is.
        serial: its number.
        fields: header fields by number.
        body: its values; variants that were read are plain values.
        flags: 1 expects no answer, 2 starts no service.
    """

    kind: int
    serial: int
    fields: dict[int, Any]
    body: Sequence[Any] = ()
    flags: int = 0


class Unreadable(Exception):
    """Bytes that are no D-Bus message, or values that do not fit their signature."""


@lru_cache(64)
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


class Writer:
    """Bytes in the making, little endian."""

    def __init__(self) -> None:
        self.data = bytearray()

    def pad(self, to: int) -> None:
        """Fill with zeros up to a multiple.

        Args:
            to: the alignment.
        """
        self.data += bytes(-len(self.data) % to)

    def put(self, kind: str, value: Any) -> None:
        """Write a value.

        Args:
            kind: one complete type.
            value: it; for v a Variant.
        """
        self.pad(ALIGNED.get(kind[0], 1))
        match kind[0]:
            case "s" | "o":
                raw = value.encode()
                self.data += struct.pack("<I", len(raw)) + raw + b"\0"
            case "g":
                raw = value.encode()
                self.data += bytes((len(raw),)) + raw + b"\0"
            case "v":
                self.put("g", value.signature)
                self.put(value.signature, value.value)
            case "a":
                self._array(kind[1:], value)
            case "(" | "{":
                for inner, item in zip(types(kind[1:-1]), value, strict=True):
                    self.put(inner, item)
            case code:
                self.data += struct.pack("<" + NUMBERS[code][0], value)

    def _array(self, inner: str, value: Any) -> None:
        place = len(self.data)
        self.data += bytes(4)
        self.pad(ALIGNED.get(inner[0], 1))
        start = len(self.data)
        for item in value.items() if inner[0] == "{" else value:
            self.put(inner, item)
        struct.pack_into("<I", self.data, place, len(self.data) - start)


class Reader:
    """Bytes that are being read.

    Args:
        data: a whole message.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.order = "<" if data[:1] == b"l" else ">"

    def pad(self, to: int) -> None:
        """Go on to the next multiple.

        Args:
            to: the alignment.
        """
        self.at += -self.at % to

    def get(self, kind: str) -> Any:
        """Read a value; variants become what is in them.

        Args:
            kind: one complete type.
        """
        code = kind[0]
        self.pad(ALIGNED.get(code, 1))
        if code in {"s", "o"}:
            return self._text(4, "I")
        if code == "v":
            return self.get(self._text(1, "B"))
        if code == "a":
            return self._array(kind[1:])
        if code == "g":
            return self._text(1, "B")
        if code in {"(", "{"}:
            return [self.get(inner) for inner in types(kind[1:-1])]
        letter, size = NUMBERS[code]
        (value,) = struct.unpack_from(self.order + letter, self.data, self.at)
        self.at += size
        return bool(value) if code == "b" else value

    def _text(self, size: int, letter: str) -> str:
        (length,) = struct.unpack_from(self.order + letter, self.data, self.at)
        start = self.at + size
        self.at = start + length + 1
        return self.data[start : start + length].decode()

    def _array(self, inner: str) -> Any:
        (length,) = struct.unpack_from(self.order + "I", self.data, self.at)
        self.at += 4
        self.pad(ALIGNED.get(inner[0], 1))
        end = self.at + length
        if end > len(self.data):
            raise Unreadable("an array is longer than its message")
        if inner == "y":
            start, self.at = self.at, end
            return list(self.data[start:end])
        return dict(self._items(inner, end)) if inner[0] == "{" else list(self._items(inner, end))

    def _items(self, inner: str, end: int) -> Iterator[Any]:
        while self.at < end:
            yield self.get(inner)


def pack(message: Message) -> bytes:
    """Write a message as bytes.

    Args:
        message: it; a body needs the field SIGNATURE.
    """
    body, head = Writer(), Writer()
    for kind, value in zip(types(message.fields.get(SIGNATURE, "")), message.body, strict=True):
        body.put(kind, value)
    fields = [(number, Variant(FIELDS[number], value)) for number, value in message.fields.items()]
    start = (ord("l"), message.kind, message.flags, 1, len(body.data), message.serial)
    for kind, value in zip("yyyyuu", start, strict=True):
        head.put(kind, value)
    head.put("a(yv)", fields)
    head.pad(8)
    return bytes(head.data + body.data)


def length(start: bytes) -> int:
    """Tell how long a message is.

    Args:
        start: its first FIXED bytes.

    Raises:
        Unreadable: this is no D-Bus, or too long.
    """
    order = {b"l": "<", b"B": ">"}.get(start[:1])
    if order is None:
        raise Unreadable("what came is no D-Bus message")
    body, _, fields = struct.unpack_from(order + "III", start, 4)
    size = int(FIXED + fields + -fields % 8 + body)
    if size > LONGEST:
        raise Unreadable(f"a message of {size} bytes is longer than D-Bus allows")
    return size


def unpack(data: bytes) -> Message:
    """Read a message.

    Args:
        data: as long as length() said.

    Raises:
        Unreadable: it contradicts itself.
    """
    reader = Reader(data)
    try:
        _, kind, flags, _, _, serial = (reader.get(code) for code in "yyyyuu")
        fields = dict(reader.get("a(yv)"))
        reader.pad(8)
        body = [reader.get(one) for one in types(fields.get(SIGNATURE, ""))]
    except (struct.error, LookupError, ValueError, TypeError, RecursionError) as error:
        raise Unreadable(f"a message contradicts itself: {error}") from error
    return Message(kind, serial, fields, body, flags)
