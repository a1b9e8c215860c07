"""sock_diag's messages, which all hands that ask for sockets share: include/uapi/linux/inet_diag.h."""

from __future__ import annotations

import struct

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY, TCPDIAG_GETSOCK = 20, 18

# inet_diag_sockid: ports in network order, addresses in 16 bytes each, interface, cookie.
ID = struct.Struct(">HH16s16s")
ID_REST = struct.Struct("=IQ")
MESSAGE = struct.Struct("=BBBB")  # family, state, timer, retransmissions; then the id, and then:
TAIL = struct.Struct("=IIIII")  # expires, receive queue, send queue, user, inode
ID_AT, TAIL_AT, ATTRS_AT = 4, 52, 72

_REQUEST = struct.Struct("=BBBxI")  # family, protocol, extensions, states; then the id


def request(family: int, protocol: int, states: int, extensions: int = 0) -> bytes:
    """Build a question for sockets; attributes may follow.

    Args:
        family: of their addresses.
        protocol: the lower eight bits of it.
        states: wanted, a bit for each.
        extensions: attributes wanted, a bit for each.
    """
    return _REQUEST.pack(family, protocol & 0xFF, extensions, states) + bytes(ID.size + ID_REST.size)


def old_request(states: int) -> bytes:
    """Build the old question, TCPDIAG_GETSOCK, which asks for TCP's sockets of both families at once.

    Args:
        states: wanted, a bit for each.
    """
    return bytes(4) + bytes(ID.size + ID_REST.size) + struct.pack("=II", states, 0)
