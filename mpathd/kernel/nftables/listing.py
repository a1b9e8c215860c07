"""What stands in our table, elements aside, as the kernel's own bytes.

libnftables' terse listing fetches every element only to leave it out: 70 ms with 10,000 of them, 1 ms without any.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from hashlib import sha256

from ...model.packet import TABLE
from ..netlink import ATTR, attribute
from .netlink import NFT_SUBSYS, Netfilter

NAME = TABLE.partition(" ")[2]
GETCHAIN, GETRULE, GETSET, GETSETELEM, GETOBJ = 4, 7, 10, 13, 19
SET_ATTRIBUTE = 2  # NFTA_SET_ELEM_LIST_SET
COUNTING = b"counter\0"  # in a set that says so of its elements (NFTA_SET_EXPR)
TABLE_ATTRIBUTE = 1  # NFTA_CHAIN_TABLE, NFTA_RULE_TABLE and NFTA_SET_TABLE are one number
# What a rule's counters have counted: name, header of NFTA_EXPR_DATA, bytes and packets. How often a chain is used
# (NFTA_CHAIN_USE), which a transaction that fails changes for a moment.
COUNTED = re.compile(rb"counter\0.{28}", re.DOTALL)
USE = re.compile(rb"\x08\0\x06\0.{4}", re.DOTALL)
# An element that counts (NFTA_SET_ELEM_EXPR: NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS), and behind it its comment
# (NFTA_SET_ELEM_USERDATA: NFTNL_UDATA_SET_ELEM_COMMENT, its length, text).
ELEMENT = re.compile(rb"counter\0.{4}\x0c\0\x01\0(.{8})\x0c\0\x02\0(.{8})..\x06\0\0.([^\0]*)\0", re.DOTALL)
# NFTA_OBJ_TYPE is a counter (1), and NFTA_OBJ_DATA has NFTA_COUNTER_BYTES and NFTA_COUNTER_PACKETS.
VALUES = re.compile(rb"\x08\0\x03\0\0\0\0\x01.*?\x0c\0\x01\0(.{8})\x0c\0\x02\0(.{8})", re.DOTALL)
SEAL = "seen_"  # name of the set that says: the table is as its maker left it


@dataclass(frozen=True, slots=True)
class Listing:
    """Our table at one moment.

    Args:
        sets: names of sets and maps, without the seal's.
        content: a digest of chains, rules and declarations of sets.
        seal: the name of the set that seals it; empty if there is none.
    """

    sets: frozenset[str] = frozenset()
    content: str = ""
    seal: str = ""

    @property
    def wanted_seal(self) -> str:
        """The seal that fits the content."""
        return f"{SEAL}{self.content[:16]}"

    @property
    def sealed(self) -> Listing:
        """The same with the seal that fits."""
        return replace(self, seal=self.wanted_seal)

    @property
    def intact(self) -> bool:
        """Whether it is as its maker left it."""
        return bool(self.seal) and self.seal == self.wanted_seal


def listing(netfilter: Netfilter, name: str) -> Listing | None:
    """Give what a table holds; None if there is none.

    Args:
        netfilter: the socket to ask by.
        name: of a table of family inet.
    """
    if not netfilter.has_table(name):
        return None
    head = table(name)
    # The kernel gives the chains of all tables. A set cannot be replaced under rules that use it: its name suffices.
    chains = b"".join(one for one in netfilter.dump(NFT_SUBSYS | GETCHAIN, head) if one.startswith(head))
    rules = b"".join(netfilter.dump(NFT_SUBSYS | GETRULE, head))
    names = [_name(one, len(head)) for one in netfilter.dump(NFT_SUBSYS | GETSET, head) if one.startswith(head)]
    sets = frozenset(one for one in names if not one.startswith(SEAL))
    content = sha256(USE.sub(b"", chains) + COUNTED.sub(b"", rules) + "\n".join(sorted(sets)).encode()).hexdigest()
    return Listing(sets, content, next((one for one in names if one.startswith(SEAL)), ""))


def counters(netfilter: Netfilter, name: str) -> dict[str, tuple[int, int]]:
    """Give packets and bytes of what counts in a table: counters by their names, elements by their comments.

    nft would fetch all elements of all sets for it.

    Args:
        netfilter: the socket to ask by.
        name: of a table of family inet.
    """
    head, out = table(name), {}
    for one in netfilter.dump(NFT_SUBSYS | GETOBJ, head):
        if one.startswith(head) and (found := VALUES.search(one, len(head))):
            octets, packets = struct.unpack(">QQ", found[1] + found[2])
            out[_name(one, len(head))] = (packets, octets)
    for one in netfilter.dump(NFT_SUBSYS | GETSET, head):
        if one.startswith(head) and COUNTING in one:
            asked = head + attribute(SET_ATTRIBUTE, _name(one, len(head)).encode() + b"\0")
            for part in netfilter.dump(NFT_SUBSYS | GETSETELEM, asked):
                for found in ELEMENT.finditer(part):
                    octets, packets = struct.unpack(">QQ", found[1] + found[2])
                    out[found[3].decode()] = (packets, octets)
    return out


def table(name: str) -> bytes:
    """Give the attribute that says of which table an object is.

    Args:
        name: of the table.
    """
    return attribute(TABLE_ATTRIBUTE, name.encode() + b"\0")


def _name(data: bytes, offset: int) -> str:
    """The text behind an object's first attribute."""
    length, _ = ATTR.unpack_from(data, offset)
    return data[offset + ATTR.size : offset + length].rstrip(b"\0").decode(errors="replace")
