"""The socket to nf_tables and conntrack: complaints that found no room, and messages that it does not take."""

from __future__ import annotations

import errno
import socket
import struct

from labkit import netns
from mpathd.kernel.nftables.conntrack import BATCH, Talk, introduce
from mpathd.kernel.nftables.encode import messages
from mpathd.kernel.nftables.library import Library
from mpathd.kernel.nftables.netlink import Netfilter
from mpathd.model.packet import Ruleset, Table

HAVE = Ruleset({"marks": Table("set", "type mark")})
KNOWN = [
    Talk(socket.IPPROTO_TCP, socket.inet_pton(socket.AF_INET6, "fd00::1"), port.to_bytes(2),
         socket.inet_pton(socket.AF_INET6, "fd00::2"), b"\x01\xbb")
    for port in range(1, BATCH + 1)
]  # fmt: skip


def sockets(space: str, option: int, size: int) -> tuple[Library, Netfilter]:
    """Hands to nft, of which the second has small buffers, and fails rather than waits for ever."""
    library, netfilter = netns.in_ns(space, Library), netns.in_ns(space, Netfilter)
    netfilter._sock.setsockopt(socket.SOL_SOCKET, option, size)
    netfilter._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 2, 0))
    assert library.run("add table inet mpathd\nadd set inet mpathd marks { type mark; }\n")[1] == ""
    return library, netfilter


def test_complaints_that_find_no_room_hold_nothing_up(space: str) -> None:
    library, netfilter = sockets(space, socket.SO_RCVBUF, 20_000)
    introduce(netfilter, KNOWN)
    more = messages("add element inet mpathd marks { 0x1 }\n", HAVE.tables)
    assert more
    generation = netfilter.generation()
    introduce(netfilter, KNOWN)  # each of them is known by now, of which the kernel complains
    assert netfilter.generation() == generation
    introduce(netfilter, KNOWN)
    assert netfilter.batch(generation, more) == 0
    library.close()
    netfilter.close()


def test_what_the_socket_does_not_take_is_an_error_like_others(space: str) -> None:
    library, netfilter = sockets(space, socket.SO_SNDBUF, 5_000)
    many = messages(f"add element inet mpathd marks {{ {', '.join(f'{n:#x}' for n in range(1000))} }}\n", HAVE.tables)
    assert many

    assert netfilter.batch(netfilter.generation(), many) == errno.EMSGSIZE
    assert "elements" not in library.run("list table inet mpathd")[0]
    library.close()
    netfilter.close()
