"""Bytes of the kernel to values of the model."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop

from ...model.numbers import SPLIT
from ...model.routing import Action, Hop, Route, Rule, Traffic
from ...model.words import Address, Family, Prefix
from ...model.world import Link, LinkAddress
from ..netlink import ATTR, S32, U32, attributes

FAMILIES = frozenset({AF_INET, AF_INET6})

IFINFO = struct.Struct("=BxHiII")  # family, hardware type, index, flags, change
IFADDR = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst len, src len, tos, table, protocol, scope, type, flags
FRMSG = struct.Struct("=BBBBBxxBI")  # family, dst len, src len, tos, table, action, flags
RTNEXTHOP = struct.Struct("=HBBi")  # length, flags, hops, index

IFF_UP, IFF_LOOPBACK, IFF_POINTOPOINT, IFF_LOWER_UP = 0x1, 0x8, 0x10, 0x10000
OPER_UNKNOWN, OPER_UP = 0, 6
DEVCONF_RP_FILTER, DEVCONF_ARP_IGNORE = 8, 19  # include/uapi/linux/ip.h, counted from 1

IFA_SECONDARY, IFA_DADFAILED, IFA_DEPRECATED, IFA_TENTATIVE, IFA_PERMANENT = 0x1, 0x8, 0x20, 0x40, 0x80
IFA_OPTIMISTIC = 0x4
SCOPE_SITE, SCOPE_LINK = 200, 253

RTN_UNICAST, RTN_THROW = 1, 9
RTN_ERRORS = {6: "blackhole", 7: "unreachable", 8: "prohibit"}
TICK = 0.01  # seconds; USER_HZ is 100
RTM_F_CLONED = 0x200
RTNH_F_DEAD, RTNH_F_ONLINK = 0x1, 0x4
# What a copy of a route keeps (dst, oif, gateway, priority, prefsrc, metrics, multipath, realm, table, via, pref, encap
# type and encap), and what it may lose (cache info, mark of a lookup, expiry, ttl propagation, nexthop id when
# expanded). A source prefix (2) is told by the header.
ROUTE_KNOWN = frozenset({1, 2, 4, 5, 6, 7, 8, 9, 11, 15, 18, 20, 21, 22}) | frozenset({12, 16, 23, 26, 30})

# Attributes of a rule that mpathd sets itself (src, target, priority, mark, table, suppress, mask, protocol), and
# those that say nothing (flow, suppress_ifgroup -1, padding); and those that it sets for packets of this machine
# (dst, iif, uidrange, ipproto, sport, dport; and since 6.15 the masks of single ports, which then are whole).
RULE_KNOWN = frozenset({2, 4, 6, 10, 11, 13, 14, 15, 16, 18, 21})
RULE_TRAFFIC = frozenset({1, 3, 20, 22, 23, 24, 28, 29})
RULE_KNOWN_OWN = RULE_KNOWN | RULE_TRAFFIC
ACTIONS = {int(action): action for action in Action}
BY_NUMBER = {int(family): family for family in Family}
WHOLE_PORT = b"\xff\xff"
UIDS, PORTS = struct.Struct("=II"), struct.Struct("=HH")  # struct fib_rule_uid_range, fib_rule_port_range
NO_SUPPRESS = b"\xff\xff\xff\xff"
FIB_RULE_FLAGS_KEPT = 0x2  # invert; the others say whether a device is there at present


@dataclass(frozen=True, slots=True)
class Found:
    """A route as it was found.

    Args:
        route: the value; None if it is nothing to copy (local, broadcast, unreachable ...).
        expires: seconds until it runs out, None if it does not.
        indexes: links that it leaves by.
        why_not: the attribute that a copy could not keep, empty if there is none.
        destination: its prefix; of an error route, its kind too.
        table: of such an error route.
        dead_end: metric, if it is an error route that takes the place of a default.
        nexthop: id of a nexthop object that the kernel did not expand, else 0.
    """

    route: Route | None
    expires: float | None = None
    indexes: tuple[int, ...] = ()
    why_not: str = ""
    destination: Prefix = Prefix("")
    nexthop: int = 0
    dead_end: int | None = None
    table: int = 0


@lru_cache(maxsize=65536)
def address(raw: bytes) -> Address:
    """Give an address's canonical text.

    Args:
        raw: 4 or 16 bytes.
    """
    return Address(inet_ntop(AF_INET if len(raw) == 4 else AF_INET6, raw))


def link(data: bytes, at: int, end: int) -> Link:
    """Decode the body of RTM_NEWLINK.

    Args:
        data: the buffer.
        at: offset of the body.
        end: offset behind it.
    """
    _, hardware, index, flags, _ = IFINFO.unpack_from(data, at)
    got = attributes(data, at + 16, end)
    kind, vlan = "", None
    if info := got.get(18):  # IFLA_LINKINFO
        nested = attributes(info, 0, len(info))
        kind = nested.get(1, b"").rstrip(b"\0").decode()
        if kind == "vlan" and (inner := nested.get(2)):
            vlan = int.from_bytes(attributes(inner, 0, len(inner)).get(1, b"\0\0"), "little")
    rp_filter = arp_ignore = 0
    if spec := got.get(26):  # IFLA_AF_SPEC: AF_INET: IFLA_INET_CONF, an array of u32
        inet = attributes(spec, 0, len(spec)).get(AF_INET, b"")
        conf = attributes(inet, 0, len(inet)).get(1, b"")
        if len(conf) >= DEVCONF_ARP_IGNORE * 4:
            (rp_filter,) = U32.unpack_from(conf, (DEVCONF_RP_FILTER - 1) * 4)
            (arp_ignore,) = U32.unpack_from(conf, (DEVCONF_ARP_IGNORE - 1) * 4)
    operstate = got.get(16, b"\0")[0]
    mac = got.get(1, b"")
    return Link(
        index=index,
        name=got[3].rstrip(b"\0").decode(errors="replace"),
        mac=mac if len(mac) == 6 and any(mac) else b"",
        hardware=hardware,
        kind=kind,
        up=bool(flags & IFF_UP),
        carrier=bool(flags & IFF_UP and flags & IFF_LOWER_UP) and operstate in {OPER_UNKNOWN, OPER_UP},
        loopback=bool(flags & IFF_LOOPBACK),
        point_to_point=bool(flags & IFF_POINTOPOINT),
        master=U32.unpack(got[10])[0] if 10 in got else 0,
        vlan=vlan,
        mtu=U32.unpack(got[4])[0] if 4 in got else 0,
        rp_filter=rp_filter,
        arp_ignore=arp_ignore,
    )


def link_address(data: bytes, at: int, end: int) -> tuple[int, LinkAddress]:
    """Decode the body of RTM_NEWADDR: the link's index, and the address.

    Args:
        data: the buffer.
        at: offset of the body.
        end: offset behind it.
    """
    family, bits, flags, scope, index = IFADDR.unpack_from(data, at)
    got = attributes(data, at + 8, end)
    if 8 in got:
        (flags,) = U32.unpack(got[8])
    far = got.get(1, b"")
    own = got.get(2, far)
    six = family == AF_INET6
    return index, LinkAddress(
        family=Family(family),
        address=address(own),
        bits=bits,
        peer=address(far) if far and far != own else None,
        universal=scope <= SCOPE_SITE,
        temporary=six and bool(flags & IFA_SECONDARY),
        deprecated=bool(flags & IFA_DEPRECATED),
        tentative=bool(flags & IFA_TENTATIVE) and not flags & IFA_OPTIMISTIC,
        failed=bool(flags & IFA_DADFAILED),
        secondary=not six and bool(flags & IFA_SECONDARY),
        permanent=bool(flags & IFA_PERMANENT),
    )


def _via(got: dict[int, bytes]) -> Address | None:
    if 5 in got:
        return address(got[5])
    if 18 in got:  # RTA_VIA: family, then the address: an IPv4 route by an IPv6 router
        return address(got[18][2:])
    return None


def _encap(got: dict[int, bytes]) -> bytes:
    if 22 not in got:
        return b""
    return got.get(21, b"\0\0")[:2] + got[22]


def _realm(got: dict[int, bytes]) -> int:
    return int(U32.unpack(got[11])[0]) if 11 in got else 0


def _hops(raw: bytes, names: Mapping[int, str]) -> tuple[Hop, ...]:
    out, at = [], 0
    while at + 8 <= len(raw):
        length, flags, weight, index = RTNEXTHOP.unpack_from(raw, at)
        if length < 8:
            break
        got = attributes(raw, at + 8, at + length)
        if not flags & RTNH_F_DEAD:
            onlink, dev = bool(flags & RTNH_F_ONLINK), names.get(index, "")
            out.append(Hop(index, _via(got), onlink, weight + 1, _encap(got), _realm(got), dev))
        at += (length + 3) & ~3
    return tuple(out)


def route(data: bytes, at: int, end: int, names: Mapping[int, str]) -> Found:
    """Decode the body of RTM_NEWROUTE.

    Args:
        data: the buffer.
        at: offset of the body.
        end: offset behind it.
        names: of the links, for printing.
    """
    number, bits, from_bits, tos, table, protocol, scope, kind, flags = RTMSG.unpack_from(data, at)
    if kind in RTN_ERRORS and bits <= SPLIT[number]:
        got = attributes(data, at + 12, end)
        metric = U32.unpack(got[6])[0] if 6 in got else 0
        where = Prefix(f"{RTN_ERRORS[kind]} {'default' if not bits else f'{address(got[1])}/{bits}'}")
        number = U32.unpack(got[15])[0] if 15 in got else table
        return Found(None, dead_end=metric, table=number, destination=where)
    if kind not in {RTN_UNICAST, RTN_THROW} or flags & RTM_F_CLONED:
        return Found(None)
    family = Family(number)
    got = attributes(data, at + 12, end)
    raw = got.get(1, b"")
    destination = Prefix(f"{address(raw)}/{bits}") if raw else family.any
    expires = None
    if cache := got.get(12):  # struct rta_cacheinfo: the third is the rest of life in 1/100 s, 0 for ever
        (left,) = S32.unpack_from(cache, 8)
        expires = left * TICK if left else None
    hops: tuple[Hop, ...] = ()
    throw = kind == RTN_THROW  # IPv6 shows one with device lo
    if 9 in got and not throw:
        hops = _hops(got[9], names)
    elif 4 in got and not throw and not flags & RTNH_F_DEAD:
        (index,) = U32.unpack(got[4])
        hops = (Hop(index, _via(got), bool(flags & RTNH_F_ONLINK), 1, _encap(got), _realm(got), names.get(index, "")),)
    nexthop = U32.unpack(got[30])[0] if 30 in got and not hops else 0
    unknown = [f"attribute {number}" for number in got if number not in ROUTE_KNOWN]
    if from_bits:
        unknown.append("a source prefix")
    if not hops and not nexthop and not throw:
        return Found(None)
    value = Route(
        family=family,
        table=U32.unpack(got[15])[0] if 15 in got else table,
        destination=destination,
        hops=hops,
        metric=U32.unpack(got[6])[0] if 6 in got else 0,
        source=address(got[7]) if 7 in got else None,
        link_scope=scope == SCOPE_LINK,
        tos=tos,
        preference=got[20][0] if 20 in got else 0,
        metrics=got.get(8, b""),
        throw=throw,
        protocol=protocol,
    )
    indexes = tuple(hop.index for hop in hops)
    return Found(value, expires, indexes, ", ".join(unknown), destination, nexthop)


def expiry_at(body: bytes) -> int:
    """Tell where the rest of life stands in the body of RTM_NEWROUTE, 0 if it says none.

    Args:
        body: of the message.
    """
    at = RTMSG.size
    while at + ATTR.size <= len(body):
        length, kind = ATTR.unpack_from(body, at)
        if length < ATTR.size:
            break
        if kind == 12 and length >= ATTR.size + 12:
            return at + ATTR.size + 8
        at += (length + 3) & ~3
    return 0


def source(body: bytes) -> Address | None:
    """Give the source address in the kernel's answer to "how would you send?".

    Args:
        body: of RTM_NEWROUTE.
    """
    raw = attributes(body, RTMSG.size, len(body)).get(7)
    return address(raw) if raw else None


def _traffic(got: dict[int, bytes], to_bits: int) -> Traffic | None:
    """What a rule for the machine's own packets says of them; None if it is not one, or says more than we do."""
    if got.get(3) != b"lo\0":
        return None
    first, last = UIDS.unpack(got[20]) if 20 in got else (0, 0)
    if first != last or {got.get(28, WHOLE_PORT), got.get(29, WHOLE_PORT)} != {WHOLE_PORT}:
        return None
    sport, dport = (PORTS.unpack(got[number]) if number in got else None for number in (23, 24))
    return Traffic(
        Prefix(f"{address(got[1])}/{to_bits}") if 1 in got else None,
        first if 20 in got else None,
        got[22][0] if 22 in got else None,
        sport,
        dport,
    )


def rule(data: bytes, at: int, end: int) -> Rule:
    """Decode the body of RTM_NEWRULE.

    Args:
        data: the buffer.
        at: offset of the body.
        end: offset behind it.
    """
    number, to_bits, from_bits, tos, table, action, flags = FRMSG.unpack_from(data, at)
    got = attributes(data, at + 12, end)
    mark = U32.unpack(got[10])[0] if 10 in got else 0
    mask = U32.unpack(got[16])[0] if 16 in got else 0xFFFFFFFF if mark else 0
    suppress = got.get(14, NO_SUPPRESS)
    traffic = _traffic(got, to_bits) if 3 in got else None
    unknown = got.keys() - (RULE_KNOWN if traffic is None else RULE_KNOWN_OWN)
    other = b"".join(ATTR.pack(len(got[k]), k) + got[k] for k in sorted(unknown)) if unknown else b""
    to_bits = 0 if traffic is not None else to_bits
    if to_bits or tos or flags & FIB_RULE_FLAGS_KEPT or got.get(13, NO_SUPPRESS) != NO_SUPPRESS:
        other += bytes((to_bits, tos, flags & FIB_RULE_FLAGS_KEPT)) + got.get(13, b"")
    return Rule(
        family=BY_NUMBER[number],
        priority=U32.unpack(got[6])[0] if 6 in got else 0,
        source=Prefix(f"{address(got[2])}/{from_bits}") if 2 in got else None,
        table=U32.unpack(got[15])[0] if 15 in got else table,
        suppress=None if suppress == NO_SUPPRESS else U32.unpack(suppress)[0],
        mark=mark,
        mask=mask,
        action=ACTIONS.get(action, Action.OTHER),
        other=other,
        traffic=traffic,
        target=U32.unpack(got[4])[0] if 4 in got else 0,
        protocol=got.get(21, b"\0")[0],
    )
