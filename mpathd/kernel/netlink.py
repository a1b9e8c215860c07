"""Netlink's framing, which all hands that speak it share: headers, attributes, messages, answers.

Numbers are those of include/uapi/linux/netlink.h.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTR = struct.Struct("=HH")  # length, type
U16, U32, S32 = struct.Struct("=H"), struct.Struct("=I"), struct.Struct("=i")

NLMSG_ERROR, NLMSG_DONE = 2, 3
F_REQUEST, F_ACK, F_DUMP, F_DUMP_INTR = 0x1, 0x4, 0x300, 0x10
F_REPLACE, F_EXCL, F_CREATE, F_APPEND = 0x100, 0x200, 0x400, 0x800  # of requests that make something
F_CAPPED, F_ACK_TLVS = 0x100, 0x200  # flags of an NLMSG_ERROR

DONE = (0, "")  # the answer to a request that is done
NESTED = 0x8000  # NLA_F_NESTED
TYPE_MASK = 0x3FFF  # NLA_F_NESTED and NLA_F_NET_BYTEORDER are flags in the type


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


def messages(data: bytes) -> Iterator[tuple[int, int, int, int, int, int]]:
    """Walk over the messages of a datagram: type, flags, sequence, port, offset of the body, end.

    Args:
        data: what recv() gave.
    """
    at, size = 0, len(data)
    while at + 16 <= size:
        length, kind, flags, sequence, port = HEADER.unpack_from(data, at)
        if length < 16 or at + length > size:
            return
        yield kind, flags, sequence, port, at + 16, at + length
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


def answer(data: bytes, flags: int, at: int, end: int) -> tuple[int, str]:
    """Read an NLMSG_ERROR: errno (0: it is done) and the kernel's words.

    Args:
        data: the buffer.
        flags: of the message.
        at: offset of its body.
        end: offset behind it.
    """
    number = -S32.unpack_from(data, at)[0]
    if not number:
        return DONE
    text = os.strerror(number)
    if flags & F_ACK_TLVS:
        length = 16 if flags & F_CAPPED else HEADER.unpack_from(data, at + 4)[0]
        got = attributes(data, at + 4 + ((length + 3) & ~3), end)
        if 1 in got:  # NLMSGERR_ATTR_MSG
            text += f" ({got[1].rstrip(bytes(1)).decode(errors='replace')})"
    return number, text
