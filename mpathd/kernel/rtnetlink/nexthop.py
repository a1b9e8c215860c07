"""Nexthop objects, read only where a route names one that the kernel did not spell out (nexthop_compat_mode 0)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from ...model.routing import Hop
from ..netlink import U16, U32, attributes
from .decode import RTNH_F_DEAD, RTNH_F_ONLINK, address

NHMSG = struct.Struct("=BBBxI")  # family, scope, protocol, flags (include/uapi/linux/nexthop.h)
MEMBER = struct.Struct("=IBBH")  # id, weight - 1, its high byte since 6.12, reserved


def decode(bodies: Iterable[bytes]) -> Mapping[int, tuple[Hop, ...]]:
    """Give the hops of every nexthop object and group, by id.

    Args:
        bodies: bodies of RTM_NEWNEXTHOP.
    """
    single: dict[int, Hop] = {}
    groups: dict[int, list[tuple[int, int]]] = {}
    for body in bodies:
        _, _, _, flags = NHMSG.unpack_from(body)
        got = attributes(body, 8, len(body))
        (number,) = U32.unpack(got[1])
        if 2 in got:
            members = MEMBER.iter_unpack(got[2])
            groups[number] = [(member, weight + 1) for member, weight, _, _ in members]
        elif 5 in got and not flags & RTNH_F_DEAD:
            via = address(got[6]) if 6 in got else None
            encap = U16.pack(U16.unpack(got[7])[0]) + got[8] if 8 in got else b""
            single[number] = Hop(U32.unpack(got[5])[0], via, bool(flags & RTNH_F_ONLINK), 1, encap)
    out: dict[int, tuple[Hop, ...]] = {number: (hop,) for number, hop in single.items()}
    for number, wanted in groups.items():
        hops = [(single[member], weight) for member, weight in wanted if member in single]
        out[number] = tuple(Hop(h.index, h.via, h.onlink, weight, h.encap) for h, weight in hops)
    return out
