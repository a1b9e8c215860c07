"""Rules of other nft tables that look at bits of marks, or set them; iptables' are among them where it writes to nft.

Numbers are those of include/uapi/linux/netfilter/nf_tables.h and xt_mark.h. Marks in sets and maps are not looked for.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from ...model.world import Stranger
from ..netlink import ATTR, U32, attributes
from .netlink import NFPROTO_INET, NFT_SUBSYS, Netfilter

GETRULE = 7
FAMILIES = {NFPROTO_INET: "inet", 2: "ip", 10: "ip6", 5: "netdev", 7: "bridge"}
TABLE, CHAIN, EXPRESSIONS = 1, 2, 4  # NFTA_RULE_*
NAME, DATA = 1, 2  # NFTA_EXPR_*; NFTA_MATCH_NAME and NFTA_TARGET_NAME are 1 too
VALUE, INFO = 1, 3  # NFTA_DATA_VALUE; NFTA_MATCH_INFO and NFTA_TARGET_INFO
ALL = 0xFFFFFFFF
# NFTA_META_KEY and NFTA_CT_KEY are one number, and so are NFT_META_MARK and NFT_CT_MARK. Most rules have neither.
KEY = b"\x08\0\x02\0\0\0\0\x03"
XT = (b"MARK\0", b"mark\0")  # also the ends of CONNMARK and connmark
SOURCE = {"meta": 3, "ct": 4}  # NFTA_META_SREG and NFTA_CT_SREG: there if the mark is set


def strangers(netfilter: Netfilter, name: str) -> tuple[Stranger, ...]:
    """Give the chains of other tables that use marks, with the bits that they use.

    Args:
        netfilter: the socket to ask by.
        name: of our table, of family inet.
    """
    found: dict[str, int] = {}
    for family, word in FAMILIES.items():
        for rule in netfilter.dump(NFT_SUBSYS | GETRULE, b"", family):
            if KEY not in rule and XT[0] not in rule and XT[1] not in rule:
                continue
            of = attributes(rule, 0, len(rule))
            table, chain = _text(of.get(TABLE, b"")), _text(of.get(CHAIN, b""))
            if (family, table) != (NFPROTO_INET, name) and (bits := used(of.get(EXPRESSIONS, b""))):
                where = f"{word} {table} {chain}"
                found[where] = found.get(where, 0) | bits
    return tuple(Stranger(where, bits) for where, bits in sorted(found.items()))


def used(expressions: bytes) -> int:
    """Give the bits of marks that a rule asks for, or sets.

    Args:
        expressions: NFTA_RULE_EXPRESSIONS.
    """
    bits = 0
    masks: dict[bytes, int] = {}  # registers that hold a mark, and its bits that are left
    values: dict[bytes, int] = {}  # registers that hold a number
    for name, of in _expressions(expressions):
        if name in SOURCE and KEY[4:] == of.get(2):
            if (source := of.get(SOURCE[name])) is not None:
                bits |= values.get(source, 0)
            else:
                masks[of.get(1, b"")] = ALL
        elif name == "immediate":
            values[of.get(1, b"")] = _number(of.get(2, b""))
        elif name == "bitwise" and of.get(1, b"") in masks:
            masks[of.get(2, b"")] = masks[of.get(1, b"")] & _number(of.get(4, b""))
            values[of.get(2, b"")] = _number(of.get(5, b""))
        elif name == "cmp" and of.get(1, b"") in masks:
            bits |= _asked(_number(of.get(3, b"")), masks[of.get(1, b"")])
        elif name in {"match", "target"}:
            if of.get(NAME, b"").endswith(XT) and len(of.get(INFO, b"")) >= 2 * U32.size:
                bits |= _asked(*struct.unpack_from("=II", of[INFO]))
        else:  # whatever else there is may use a register anew
            for register in (of.get(1, b""), of.get(2, b"")):
                masks.pop(register, None)
                values.pop(register, None)
    return bits


def _asked(value: int, mask: int) -> int:
    return value or (mask if mask != ALL else 0)


def _expressions(data: bytes) -> Iterator[tuple[str, dict[int, bytes]]]:
    at = 0
    while at + ATTR.size <= len(data):
        length, _ = ATTR.unpack_from(data, at)
        if length < ATTR.size:
            return
        one = attributes(data, at + ATTR.size, min(at + length, len(data)))
        inner = one.get(DATA, b"")
        yield _text(one.get(NAME, b"")), attributes(inner, 0, len(inner))
        at += (length + 3) & ~3


def _number(data: bytes) -> int:
    """The mark in NFTA_DATA_VALUE; they are in the order of bytes of the machine."""
    value = attributes(data, 0, len(data)).get(VALUE, b"")
    return int(U32.unpack(value)[0]) if len(value) == U32.size else 0


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")
