"""nft's words for small changes to nf_tables messages; what is not understood here is libnftables' to say.

Why: docs/decisions/015-own-nft-messages.md. Numbers are those of include/uapi/linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from socket import AF_INET, AF_INET6, inet_pton

from ...model.packet import COUNTS, TABLE, Table
from ...model.selector import PROTOCOLS
from ..netlink import F_APPEND, F_CREATE, NESTED, U32, attribute
from .listing import NAME, table
from .netlink import NFT_SUBSYS

LONGEST = 20_000  # letters of a transaction: in a long one words are not what takes time
NEWCHAIN, DELCHAIN, NEWRULE, DELRULE, NEWSET, DELSET = 3, 5, 6, 8, 9, 11
NEWSETELEM, DELSETELEM, NEWOBJ, DELOBJ = 12, 14, 18, 20
GOTO = struct.pack(">i", -4)  # NFT_GOTO
MARKS_TYPE = "{ type mark; }"

COMMENT = 128  # bytes, NFTNL_UDATA_COMMENT_MAXLEN

LINE = re.compile(rf"(add|delete|flush) (\w+) {TABLE} (\S+) ?(.*)")
MARK = r"{} mark set {} mark & (0x[0-9a-f]+) \| (0x[0-9a-f]+) "
MARKING = re.compile(f"(?:{MARK.format('meta', 'meta')})(?:{MARK.format('ct', 'ct')})?goto (\\w+)")

Message = tuple[int, int, bytes]  # kind, flags, attributes


class Unsaid(Exception):
    """Words that are not understood here."""


def _text(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">I", value))


def _nested(kind: int, *parts: bytes) -> bytes:
    return attribute(kind | NESTED, b"".join(parts))


TABLE_OF = table(NAME)
COUNTER = _number(3, 1)  # NFTA_OBJ_TYPE: NFT_OBJECT_COUNTER
# NFTA_OBJ_DATA with NFTA_COUNTER_BYTES and NFTA_COUNTER_PACKETS
ZEROS = _nested(4, attribute(1, bytes(8)), attribute(2, bytes(8)))
# Of a set of marks: no flags, nft's own number of the type, its length, and that it is in the host's byte order.
OF_MARKS = _number(3, 0) + _number(4, 19) + _number(5, 4)
HOST_ORDER = attribute(13, b"\0\4" + U32.pack(1))


def messages(text: str, tables: Mapping[str, Table]) -> list[Message] | None:
    """Give the messages of a transaction, None if it is not understood.

    Args:
        text: in nft's words.
        tables: the sets and maps that it speaks of, by name.
    """
    if len(text) > LONGEST or "\\" in text:
        return None
    try:
        return [
            (NFT_SUBSYS | kind, flags, body)
            for place, line in enumerate(text.splitlines(), 1)
            for kind, flags, body in _line(line, place, tables)
        ]
    except (Unsaid, ValueError, KeyError, OSError, struct.error):
        return None


def _line(line: str, place: int, tables: Mapping[str, Table]) -> Iterator[Message]:
    found = LINE.fullmatch(line)
    if found is None:
        raise Unsaid
    verb, what, name, rest = found.groups()
    named = TABLE_OF + _text(2, name)
    match verb, what, rest:
        case "add", "chain", "":
            yield NEWCHAIN, F_CREATE, TABLE_OF + _text(3, name)
        case "delete", "chain", "":
            yield DELCHAIN, 0, TABLE_OF + _text(3, name)
        case "flush", "chain", "":
            yield DELRULE, 0, named
        case "add", "rule", _:
            yield NEWRULE, F_CREATE | F_APPEND, named + _nested(4, *_marking(rest))
        case "add", "counter", "":
            yield NEWOBJ, F_CREATE, named + COUNTER + ZEROS
        case "delete", "counter", "":
            yield DELOBJ, 0, named + COUNTER
        case "add", "set", _ if rest == MARKS_TYPE:
            yield NEWSET, F_CREATE, named + OF_MARKS + _number(10, place) + HOST_ORDER
        case "delete", "set" | "map", "":
            yield DELSET, 0, named
        case "add", "element", _:
            yield NEWSETELEM, F_CREATE, named + _nested(3, *_elements(rest, tables[name], whole=True))
        case "delete", "element", _:
            yield DELSETELEM, 0, named + _nested(3, *_elements(rest, tables[name], whole=False))
        case _:
            raise Unsaid


# Rules: the one that sets a session's mark.


def _expression(name: str, *parts: bytes) -> bytes:
    return _nested(1, _text(1, name), _nested(2, *parts))


def _marking(rule: str) -> Iterator[bytes]:
    found = MARKING.fullmatch(rule)
    if found is None:
        raise Unsaid
    yield from _mark("meta", 3, found[1], found[2])  # NFTA_META_SREG
    if found[3]:
        yield from _mark("ct", 4, found[3], found[4])  # NFTA_CT_SREG
    yield _expression("immediate", _number(1, 0), _nested(2, _verdict(found[5])))


def _mark(name: str, source: int, mask: str, value: str) -> Iterator[bytes]:
    # NFTA_META_KEY and _DREG, and those of ct, are the same numbers, as NFT_META_MARK and NFT_CT_MARK are.
    which, keep, bits = _number(2, 3), int(mask, 16), int(value, 16)
    yield _expression(name, which, _number(1, 1))
    values = (_nested(kind, attribute(1, U32.pack(data))) for kind, data in ((4, keep & ~bits), (5, bits)))
    yield _expression("bitwise", _number(1, 1), _number(2, 1), _number(6, 0), _number(3, 4), *values)
    yield _expression(name, which, _number(source, 1))


def _verdict(chain: str) -> bytes:
    return _nested(2, attribute(1, GOTO), _text(2, chain))


# Elements. Parts of keys are read to whole registers of four bytes, as they stand in keys of several parts.


def _value(text: str) -> int:
    if not text.isalnum():  # int() knows signs and _, and refuses what nft takes for octal
        raise Unsaid
    return int(text, 0)


def _native(text: str) -> bytes:
    """A mark, a user or a group, in the host's byte order."""
    return U32.pack(_value(text))


def _quoted(text: str, longest: int) -> bytes:
    inside = text[1:-1].encode()
    if text != f'"{text[1:-1]}"' or not 0 < len(inside) <= longest or b'"' in inside:
        raise Unsaid
    return inside


def _name_key(text: str) -> bytes:
    name = _quoted(text, 15)
    if name.endswith(b"*"):
        raise Unsaid
    return name.ljust(16, b"\0")


def _protocol(text: str) -> bytes:
    return bytes((PROTOCOLS[text] if text in PROTOCOLS else _value(text), 0, 0, 0))


def _four(text: str) -> bytes:
    return inet_pton(AF_INET, text)


def _six(text: str) -> bytes:
    return inet_pton(AF_INET6, text)


def _port(text: str) -> bytes:
    return PORT.pack(_value(text))


PORT = struct.Struct(">Hxx")
Reader = Callable[[str], bytes]
READERS: Mapping[str, Reader] = {
    "mark": _native,
    "ifname": _name_key,
    "ipv4_addr": _four,
    "ipv6_addr": _six,
    "ip saddr": _four,
    "ip daddr": _four,
    "ip6 saddr": _six,
    "ip6 daddr": _six,
    "meta l4proto": _protocol,
    "th sport": _port,
    "th dport": _port,
    "meta skuid": _native,
    "meta skgid": _native,
}
ADDRESSES = (_four, _six)
SHORT: Mapping[Reader, int] = {_protocol: 1, _port: 2}  # bytes of keys of one part that take no whole register
# The element, its key and the key's value: length and type of NFTA_LIST_ELEM, NFTA_SET_ELEM_KEY, NFTA_DATA_VALUE.
FRONT = struct.Struct("=HHHHHH")


@cache
def _readers(type_: str) -> tuple[tuple[Reader, ...], str]:
    """Give what reads the parts of a key, and the type of values (empty: a set)."""
    words, _, value = type_.removesuffix(COUNTS).partition(" : ")
    what, _, parts = words.partition(" ")
    if what not in {"type", "typeof"} or ";" in parts:
        raise Unsaid
    return tuple(READERS[part] for part in parts.split(" . ")), value


def _elements(text: str, table: Table, *, whole: bool) -> Iterator[bytes]:
    """Give the elements of a list in braces: of those that come all, of those that go the keys."""
    readers, value = _readers(table.type)
    several = len(readers) > 1
    # Keys with ranges are compared as they stand; those of one part, or with users, nft turns around first.
    if not text.startswith("{ ") or not text.endswith(" }") or (table.interval and (not several or _native in readers)):
        raise Unsaid
    for item in text[2:-2].split(", "):
        key, _, comment = item.partition(" comment ")
        key, _, data = key.partition(" : ")
        parts = zip(readers, key.split(" . "), strict=True)
        more = _more(data, value, comment) if whole else b""
        if table.interval:
            ends = [_span(part, read) for read, part in parts]
            first, last = (b"".join(end) for end in zip(*ends, strict=True))
            more = _nested(10, attribute(1, last)) + more  # NFTA_SET_ELEM_KEY_END
        else:
            first = b"".join([read(part) for read, part in parts])
        size = len(first) if several else SHORT.get(readers[0], len(first))
        rest = len(first) + len(more)
        yield FRONT.pack(12 + rest, 1 | NESTED, 8 + size, 1 | NESTED, 4 + size, 1) + first + more


def _span(part: str, read: Reader) -> tuple[bytes, bytes]:
    """First and last of the values that a prefix or range stands for."""
    base, slash, bits = part.partition("/")
    if slash:
        low = read(base)
        first, rest = int.from_bytes(low, "big"), (1 << len(low) * 8 - int(bits)) - 1
        if first & rest or read not in ADDRESSES:
            raise Unsaid
        return low, (first | rest).to_bytes(len(low), "big")
    begin, _, end = part.partition("-")
    return read(begin), read(end or begin)


def _more(data: str, value: str, comment: str) -> bytes:
    """What an element has besides its key: a map's its value, a set's perhaps a comment."""
    match value:
        case "":
            return _comment(data, comment)
        case _ if comment:
            raise Unsaid
        case "verdict" if data.startswith("goto "):
            return _nested(2, _verdict(data.removeprefix("goto ")))
        case "counter":
            return _text(9, data.strip('"'))  # NFTA_SET_ELEM_OBJREF
        case _:
            return _nested(2, attribute(1, READERS[value](data)))


def _comment(data: str, comment: str) -> bytes:
    if data:
        raise Unsaid
    if not comment:
        return b""
    words = _quoted(comment, COMMENT)
    # NFTA_SET_ELEM_USERDATA: NFTNL_UDATA_SET_ELEM_COMMENT, its length, text
    return attribute(6, bytes((0, len(words) + 1)) + words + b"\0")
