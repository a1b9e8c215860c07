"""Writing: one function for each type, made when the type is met first; little endian."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from .form import ALIGNED, FIELDS, FIXED, KNOWN, NUMBERS, REPLY, SIGNATURE, Bag, Message, Unfit, Variant, types

Put = Callable[[bytearray, Any], None]  # appends a value, padded; what the bytes belong to begins at a multiple of 8

PADS = {size: tuple(bytes(-at % size) for at in range(size)) for size in (1, 2, 4, 8)}
WORD = struct.Struct("<I")
START = struct.Struct("<cBBBIII")
REPLIES = struct.Struct("<B3sI")
PATHS = re.compile("/|(?:/[A-Za-z0-9_]+)+")


@lru_cache(KNOWN)
def writer(kind: str) -> Put:
    """Give what writes a value.

    Args:
        kind: one complete type.
    """
    match kind[0]:
        case "s":
            return _put_text
        case "o":
            return _put_path
        case "g":
            return _put_signature
        case "v":
            return _put_variant
        case "b":
            return _put_boolean
        case "(":
            return partial(_put_struct, tuple(writer(one) for one in types(kind[1:-1])))
        case "a" if kind == "a{sv}":
            return _put_bag
        case "a" if kind[1] == "{":
            key, value = types(kind[2:-1])
            return partial(_put_map, writer(key), writer(value))
        case "a":
            return partial(_put_array, writer(kind[1:]), ALIGNED.get(kind[1], 1))
        case code:
            letter, size = NUMBERS[code]
            return partial(_put_number, struct.Struct("<" + letter).pack, size)


def _put_number(pack: Callable[[Any], bytes], size: int, out: bytearray, value: Any) -> None:
    out += PADS[size][len(out) % size] + pack(value)


def _put_boolean(out: bytearray, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r} is no boolean")
    out += PADS[4][len(out) & 3] + WORD.pack(value)


def _put_text(out: bytearray, value: Any) -> None:
    if "\0" in value:
        raise ValueError(f"{value!r} has a zero, which the bus does not take")
    raw = value.encode()
    out += PADS[4][len(out) & 3] + WORD.pack(len(raw)) + raw + b"\0"


def _put_path(out: bytearray, value: Any) -> None:
    if not PATHS.fullmatch(value):
        raise ValueError(f"{value!r} is no object path")
    _put_text(out, value)


def _put_signature(out: bytearray, value: Any) -> None:
    raw = value.encode()
    out += bytes((len(raw),)) + raw + b"\0"


def _put_variant(out: bytearray, value: Any) -> None:
    _put_signature(out, value.signature)
    writer(value.signature)(out, value.value)


def _put_struct(parts: tuple[Put, ...], out: bytearray, value: Any) -> None:
    out += PADS[8][len(out) & 7]
    for put, item in zip(parts, value, strict=True):
        put(out, item)


def _begin(out: bytearray, align: int) -> int:
    """Leave room for an array's length, and give the place behind it."""
    out += PADS[4][len(out) & 3] + b"\0\0\0\0"
    place = len(out)
    out += PADS[align][place % align]
    return place


def _finish(out: bytearray, place: int, align: int) -> None:
    WORD.pack_into(out, place - 4, len(out) - place - -place % align)


def _put_array(put: Put, align: int, out: bytearray, value: Any) -> None:
    if isinstance(value, str):
        raise TypeError(f"{value!r} is no list")
    place = _begin(out, align)
    for item in value:
        put(out, item)
    _finish(out, place, align)


def _put_map(key: Put, inner: Put, out: bytearray, value: Any) -> None:
    place = _begin(out, 8)
    for name, item in value.items():
        out += PADS[8][len(out) & 7]
        key(out, name)
        inner(out, item)
    _finish(out, place, 8)


def _put_bag(out: bytearray, value: Any) -> None:
    """Nearly all that mpathd tells comes in these: names and their types are few, and written once."""
    place = _begin(out, 8)
    if isinstance(value, Bag):  # it begins at a multiple of 8 wherever it stands
        if not hasattr(value, "written"):
            entries = bytearray()
            _put_entries(entries, value)
            value.written = bytes(entries)
        out += value.written
    else:
        _put_entries(out, value)
    _finish(out, place, 8)


def _put_entries(out: bytearray, value: Mapping[str, Variant]) -> None:
    for name, item in value.items():
        put, head = _entry(name, item.signature)
        out += PADS[8][len(out) & 7] + head
        put(out, item.value)


@lru_cache(KNOWN)
def _entry(name: str, kind: str) -> tuple[Put, bytes]:
    """What writes a value, and the name and type that stand before it."""
    out = bytearray()
    _put_text(out, name)
    _put_signature(out, kind)
    return writer(kind), bytes(out)


@lru_cache(KNOWN)
def _field(number: int, value: Any) -> bytes:
    """A header field; the same few come again and again."""
    out = bytearray((number,))
    _put_variant(out, Variant(FIELDS[number], value))
    return bytes(out)


def pack(message: Message, serial: int = 0) -> bytes:
    """Write a message as bytes.

    Args:
        message: it; a body needs the field SIGNATURE.
        serial: its number, if it has none yet.

    Raises:
        Unfit: a value does not fit its type.
    """
    body, head = bytearray(), bytearray(FIXED)
    try:
        for kind, value in zip(types(message.fields.get(SIGNATURE, "")), message.body, strict=True):
            writer(kind)(body, value)
        for number, value in message.fields.items():
            head += PADS[8][len(head) & 7]
            head += REPLIES.pack(REPLY, b"\1u", value) if number == REPLY else _field(number, value)
        size = len(head) - FIXED
        START.pack_into(head, 0, b"l", message.kind, message.flags, 1, len(body), serial or message.serial, size)
    except (struct.error, LookupError, ValueError, TypeError, AttributeError) as error:
        raise Unfit(f"a value does not fit its type: {error}") from error
    head += PADS[8][len(head) & 7]
    return bytes(head + body)
