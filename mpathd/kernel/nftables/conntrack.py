"""Connections translated for a link that they no longer leave by are forgotten; their next packet starts anew."""

from __future__ import annotations

import struct

from ..netlink import F_ACK
from .netlink import Netfilter

CT_DELETE = (1 << 8) | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE
CTA_MARK, CTA_MARK_MASK = 8, 21


def forget(netfilter: Netfilter, mark: int, mask: int) -> int:
    """Delete the conntrack entries of a mark and give errno, 0 if it is done.

    Args:
        netfilter: the socket to ask by.
        mark: of the session.
        mask: the bits of it that count; other programs' bits do not.
    """
    attributes = b"".join(struct.pack("=HH", 8, kind) + struct.pack(">I", value)
                          for kind, value in ((CTA_MARK, mark), (CTA_MARK_MASK, mask)))  # fmt: skip
    number, _ = netfilter.ask(CT_DELETE, attributes, F_ACK)
    return number
