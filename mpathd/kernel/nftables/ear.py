"""What nft's events tell: which transactions were about our table.

A listing has no elements, since ten thousand of them take long; so nobody but the events tells of these. Nor is there a
listing yet right behind a write of ours, when somebody else's may come. The events of a transaction end with its
generation (nf_tables_gen_notify in net/netfilter/nf_tables_api.c), and ours are known.
What packets put into sets makes no event.
"""

from __future__ import annotations

import errno
import struct

from ..netlink import ATTR, messages
from .listing import NAME, table
from .netlink import NFT_SUBSYS, events

NEWGEN = NFT_SUBSYS | 15
GENERAL = 4  # bytes of nfgenmsg, in front of attributes; the first one is the table's name, or NFTA_GEN_ID
GENERATION = struct.Struct(">I")


class Ear:
    """A subscription to nft's events.

    Attributes:
        heard: the generation of which was heard last; -1 if something was missed since.
    """

    def __init__(self) -> None:
        self.heard = -1
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
        """Take what has arrived, and give the generations that changed something in our table.

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
                self._touched, self.heard = False, -1
                continue
            for kind, _, _, _, at, _ in messages(data):
                if kind == NEWGEN:
                    (self.heard,) = GENERATION.unpack_from(data, at + GENERAL + ATTR.size)
                    if self._touched:
                        found.add(self.heard)
                    self._touched = False
                elif not self._touched:  # each of them begins with the table's name
                    self._touched = data.startswith(self._head, at + GENERAL)
