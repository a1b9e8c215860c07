"""Netlink's framing, and the numbers of generic netlink, mptcp_pm and sock_diag that mpathd speaks.

pyroute2's MPTCP has no call for flags, no events, an interface index that it reads as text, and loses the kernel's
words about a refusal; its sock_diag takes no protocol above 255. It is the oracle of this codec in the tests.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

NETLINK_SOCK_DIAG, NETLINK_GENERIC = 4, 16
SOL_NETLINK, SO_RCVBUFFORCE = 270, 33
ADD_MEMBERSHIP, CAP_ACK, EXT_ACK = 1, 10, 11

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTR = struct.Struct("=HH")  # length, type
GENL = struct.Struct("=BBxx")  # command, version
U16, U32, S32, U64 = struct.Struct("=H"), struct.Struct("=I"), struct.Struct("=i"), struct.Struct("=Q")
BE16 = struct.Struct(">H")

NLMSG_ERROR, NLMSG_DONE = 2, 3
F_REQUEST, F_ACK, F_DUMP, F_DUMP_INTR = 0x1, 0x4, 0x300, 0x10
F_CAPPED, F_ACK_TLVS = 0x100, 0x200  # flags of an NLMSG_ERROR
NESTED = 0x8000
TYPE_MASK = 0x3FFF  # NLA_F_NESTED and NLA_F_NET_BYTEORDER are flags in the type

# The controller of generic netlink (include/uapi/linux/genetlink.h).
GENL_ID_CTRL, CTRL_GETFAMILY = 16, 3
CTRL_FAMILY_ID, CTRL_FAMILY_NAME, CTRL_MCAST_GROUPS = 1, 2, 7
CTRL_MCAST_NAME, CTRL_MCAST_ID = 1, 2

# mptcp_pm (include/uapi/linux/mptcp_pm.h).
PM_NAME, PM_EVENTS, PM_VERSION = "mptcp_pm", "mptcp_pm_events", 1
ADD_ADDR, DEL_ADDR, GET_ADDR, SET_LIMITS, GET_LIMITS, SET_FLAGS = 1, 2, 3, 5, 6, 7
PM_ADDR, PM_ACCEPTED, PM_SUBFLOWS = 1, 2, 3
ADDR_FAMILY, ADDR_ID, ADDR_4, ADDR_6, ADDR_PORT, ADDR_FLAGS, ADDR_INDEX = 1, 2, 3, 4, 5, 6, 7


def attributes(data: bytes, at: int, end: int) -> dict[int, bytes]:
    """Cut a run of attributes into type to payload; of a repeated type the last one counts.

    Args:
        data: the buffer.
        at: offset of the first attribute.
        end: offset behind the last.
    """
    out: dict[int, bytes] = {}
    unpack = ATTR.unpack_from
    while at + 4 <= end:
        length, kind = unpack(data, at)
        if length < 4 or at + length > end:
            break
        out[kind & TYPE_MASK] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return out


def attribute(kind: int, payload: bytes) -> bytes:
    """Build one attribute, padded.

    Args:
        kind: its type.
        payload: its value.
    """
    length = 4 + len(payload)
    return ATTR.pack(length, kind) + payload + b"\0" * (-length & 3)


def messages(data: bytes) -> Iterator[tuple[int, int, int, int, int]]:
    """Walk over the messages of a datagram: type, flags, sequence, offset of the body, end.

    Args:
        data: what recv() gave.
    """
    at, size = 0, len(data)
    while at + 16 <= size:
        length, kind, flags, sequence, _ = HEADER.unpack_from(data, at)
        if length < 16 or at + length > size:
            return
        yield kind, flags, sequence, at + 16, at + length
        at += (length + 3) & ~3


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Build one request.

    Args:
        kind: message type.
        flags: besides F_REQUEST.
        sequence: comes back in the answer.
        body: family header and attributes.
    """
    return HEADER.pack(16 + len(body), kind, flags | F_REQUEST, sequence, 0) + body + b"\0" * (-len(body) & 3)
