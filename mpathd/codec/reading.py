"""Reading, in either order of bytes: one function for each type, made when the type is met first."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from .form import (
    ALIGNED,
    ERROR,
    FIELDS,
    FIXED,
    INTERFACE,
    KNOWN,
    MEMBER,
    NUMBERS,
    PATH,
    REPLY,
    SIGNATURE,
    Message,
    Unreadable,
    Variant,
    types,
)  # fmt: skip

Get = Callable[[bytes, int], tuple[Any, int]]  # gives the value at a place, and the place behind it

LONGEST = 1 << 27  # bytes of a message that the specification allows
NEEDED = {1: {PATH, MEMBER}, 2: {REPLY}, 3: {ERROR, REPLY}, 4: {PATH, INTERFACE, MEMBER}}
NONE: frozenset[int] = frozenset()
TEXTS = {"s", "o"}


@lru_cache(KNOWN)
def reader(kind: str, order: str, *, typed: bool) -> Get:
    """Give what reads a value.

    Args:
        kind: one complete type.
        order: "<" or ">".
        typed: give variants as such, else what is in them.
    """
    match kind[0]:
        case "s" | "o":
            return partial(_get_text, struct.Struct(order + "I").unpack_from)
        case "g":
            return _get_signature
        case "v":
            return partial(_get_variant, order, typed)
        case "b":
            return partial(_get_boolean, struct.Struct(order + "I").unpack_from)
        case "(":
            return partial(_get_struct, tuple(reader(one, order, typed=typed) for one in types(kind[1:-1])))
        case "a":
            length = struct.Struct(order + "I").unpack_from
            if kind == "ay":
                return partial(_get_bytes, length)
            if kind[1] != "{":
                return partial(_get_array, length, reader(kind[1:], order, typed=typed), ALIGNED.get(kind[1], 1))
            key, value = types(kind[2:-1])
            if len(key) != 1 or key == "v":
                raise Unreadable(f"{key} is no type of a key")
            return partial(_get_map, length, reader(key, order, typed=typed), reader(value, order, typed=typed))
        case code:
            letter, size = NUMBERS[code]
            return partial(_get_number, struct.Struct(order + letter).unpack_from, size)


def _get_number(unpack_from: Callable[[bytes, int], tuple[Any]], size: int, data: bytes, at: int) -> tuple[Any, int]:
    at += -at % size
    return unpack_from(data, at)[0], at + size


def _get_boolean(unpack_from: Callable[[bytes, int], tuple[int]], data: bytes, at: int) -> tuple[bool, int]:
    at += -at & 3
    return bool(unpack_from(data, at)[0]), at + 4


def _get_text(unpack_from: Callable[[bytes, int], tuple[int]], data: bytes, at: int) -> tuple[str, int]:
    at += -at & 3
    end = at + 4 + unpack_from(data, at)[0]
    if data[end]:
        raise Unreadable("a text without an end")
    return data[at + 4 : end].decode(), end + 1


def _get_signature(data: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + data[at]
    if data[end]:
        raise Unreadable("a signature without an end")
    return data[at + 1 : end].decode(), end + 1


def _get_variant(order: str, typed: bool, data: bytes, at: int) -> tuple[Any, int]:
    kind, at = _get_signature(data, at)
    if len(types(kind)) != 1:
        raise Unreadable(f"a variant of {kind!r}")
    value, at = reader(kind, order, typed=typed)(data, at)
    return (Variant(kind, value) if typed else value), at


def _get_struct(parts: tuple[Get, ...], data: bytes, at: int) -> tuple[list[Any], int]:
    at += -at & 7
    out = []
    for get in parts:
        value, at = get(data, at)
        out.append(value)
    return out, at


def _extent(data: bytes, at: int, length: int, align: int) -> tuple[int, int]:
    """Where an array's items begin and end."""
    at += -at % align
    if at + length > len(data):
        raise Unreadable("an array is longer than its message")
    return at, at + length


def _get_array(
    unpack_from: Callable[[bytes, int], tuple[int]], get: Get, align: int, data: bytes, at: int
) -> tuple[list[Any], int]:
    at += -at & 3
    at, end = _extent(data, at + 4, unpack_from(data, at)[0], align)
    out = []
    while at < end:
        value, at = get(data, at)
        out.append(value)
    return out, at


def _get_bytes(unpack_from: Callable[[bytes, int], tuple[int]], data: bytes, at: int) -> tuple[list[int], int]:
    at += -at & 3
    at, end = _extent(data, at + 4, unpack_from(data, at)[0], 1)
    return list(data[at:end]), end


def _get_map(
    unpack_from: Callable[[bytes, int], tuple[int]], key: Get, inner: Get, data: bytes, at: int
) -> tuple[dict[Any, Any], int]:
    at += -at & 3
    at, end = _extent(data, at + 4, unpack_from(data, at)[0], 8)
    out = {}
    while at < end:
        name, at = key(data, at + (-at & 7))
        out[name], at = inner(data, at)
    return out, at


def _header(data: bytes, order: str) -> tuple[dict[int, Any], int]:
    """The header's fields, an a(yv), and where the body begins; nearly all of a short message is this."""
    text, number = reader("s", order, typed=True), reader("u", order, typed=True)
    size, _ = number(data, 12)
    at, end = _extent(data, FIXED, size, 8)
    fields: dict[int, Any] = {}
    while at < end:
        at += -at & 7
        field = data[at]
        kind, at = _get_signature(data, at + 1)
        if FIELDS.get(field, kind) != kind:
            raise Unreadable("a header of other types")
        get = text if kind in TEXTS else number if kind == "u" else reader(kind, order, typed=True)
        fields[field], at = get(data, at)
    return fields, at + (-at & 7)


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


def unpack(data: bytes, *, typed: bool = False) -> Message:
    """Read a message.

    Args:
        data: as long as length() said.
        typed: give variants as such, else what is in them.

    Raises:
        Unreadable: it contradicts itself.
    """
    order = "<" if data[:1] == b"l" else ">"
    try:
        _, kind, flags, version, size, serial = struct.unpack_from(order + "cBBBII", data)
        fields, at = _header(data, order)
        if version != 1 or not NEEDED.get(kind, NONE) <= fields.keys():
            raise Unreadable("a header that is not whole")
        body = []
        for one in types(fields.get(SIGNATURE, "")) if size else ():  # a head alone can be read too
            value, at = reader(one, order, typed=typed)(data, at)
            body.append(value)
    except (struct.error, LookupError, ValueError, TypeError, RecursionError) as error:
        raise Unreadable(f"a message contradicts itself: {error}") from error
    return Message(kind, serial, fields, body, flags)
