"""What nft's events tell: whether somebody else has changed elements of our sets.

A listing has no elements, since ten thousand of them take long; so nobody but the events tells of these. The events of
a transaction end with its generation (nf_tables_gen_notify in net/netfilter/nf_tables_api.c), and ours are known.
What packets put into sets makes no event.
"""

from __future__ import annotations

import errno
import struct

from ..netlink import ATTR, messages
from .listing import NAME, table
from .netlink import NFT_SUBSYS, events

NEWSETELEM, DELSETELEM, NEWGEN = NFT_SUBSYS | 12, NFT_SUBSYS | 14, NFT_SUBSYS | 15
GENERAL = 4  # bytes of nfgenmsg, in front of attributes; the first one is the table's name, or NFTA_GEN_ID
GENERATION = struct.Struct(">I")


class Ear:
    """A subscription to nft's events."""

    def __init__(self) -> None:
        self._head = table(NAME)
        self._touched = False  # in the transaction whose end has not been heard yet
        self._sock = events()

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._sock.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._sock.close()

    def drain(self) -> set[int]:
        """Take what has arrived, and give the generations that came with other elements of our sets.

        What the kernel could not deliver is missed: it is our own load of a large set, nearly always.
        """
        found: set[int] = set()
        while True:
            try:
                data = self._sock.recv(65536)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._touched = False
                continue
            for kind, _, _, _, at, _ in messages(data):
                if kind in {NEWSETELEM, DELSETELEM}:
                    self._touched = self._touched or data.startswith(self._head, at + GENERAL)
                elif kind == NEWGEN:
                    if self._touched:
                        found.add(GENERATION.unpack_from(data, at + GENERAL + ATTR.size)[0])
                    self._touched = False
