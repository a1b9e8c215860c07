"""Steps of the model to bytes for the kernel.

Attributes stand in the order in which the kernel tells of them (net/core/fib_rules.c, fib_nl_fill_rule;
net/ipv4/fib_semantics.c, fib_dump_info; net/ipv6/route.c, rt6_fill_node; seen on 6.18), and what it always tells is
always said: so what was written is known again by its bytes. A kernel with another order is understood as well.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_pton

from ...model.routing import Action, Hop, Route, Rule, Step, Traffic, Verb
from ...model.words import Address, Family, Prefix
from ..netlink import F_APPEND, F_CREATE, F_EXCL, F_REPLACE, HEADER, U16, U32, attribute, message
from .decode import RTMSG, RTN_THROW, RTN_UNICAST, RTNEXTHOP, RTNH_F_ONLINK, SCOPE_LINK
from .wire import DELROUTE, DELRULE, NEWROUTE, NEWRULE

# struct fib_rule_hdr; then table, suppress_prefixlen and protocol, which every rule has, each with its header.
RULE = struct.Struct("=BBBBBxxBI HHI HHI HHBxxx")
NUMBER = struct.Struct("=HHI")  # an attribute that is a number
TWO = struct.Struct("=HHIHHI")
LOOPBACK = attribute(3, b"lo\0")
NO_SUPPRESS = 0xFFFFFFFF
COMPAT = 252  # RT_TABLE_COMPAT: what stands for a table that an octet cannot name
LASTING = attribute(12, bytes(32))  # struct rta_cacheinfo of an IPv6 route without an end
MEDIUM = attribute(20, b"\0")  # the preference of IPv6 routes that have none
ADDRESSES = 65536  # of which the bytes are remembered

FLAGS = {
    Verb.ADD: F_CREATE | F_EXCL,
    Verb.REPLACE: F_CREATE | F_REPLACE,
    Verb.APPEND: F_CREATE | F_APPEND,
    Verb.DELETE: 0,
}


@lru_cache(ADDRESSES)
def _packed(family: Family, text: str) -> bytes:
    return inet_pton(AF_INET if family is Family.INET else AF_INET6, text)


@lru_cache(ADDRESSES)
def _prefix(family: Family, kind: int, prefix: Prefix) -> tuple[int, bytes]:
    """How long a prefix is, and its attribute."""
    network, _, bits = prefix.partition("/")
    return int(bits), attribute(kind, _packed(family, network))


def _way(family: Family, hop: Hop) -> bytes:
    """What a hop says beside its link."""
    out = b""
    if hop.via is not None:
        if ":" in hop.via and family is Family.INET:
            out += attribute(18, U16.pack(AF_INET6) + _packed(Family.INET6, hop.via))
        else:
            out += attribute(5, _packed(family, hop.via))
    if hop.realm:
        out += NUMBER.pack(8, 11, hop.realm)
    if hop.encap:
        out += attribute(21, hop.encap[:2]) + attribute(22, hop.encap[2:])
    return out


def _hop(family: Family, hop: Hop) -> bytes:
    """The only hop of a route."""
    if hop.via is None or hop.realm or hop.encap:
        return NUMBER.pack(8, 4, hop.index) + _way(family, hop)
    return _way(family, hop) + NUMBER.pack(8, 4, hop.index)


def route(value: Route, *, delete: bool = False) -> bytes:
    """Build the body of RTM_NEWROUTE or RTM_DELROUTE.

    Args:
        value: the route.
        delete: leave out what does not help to find it.
    """
    family, table = value.family, value.table
    bits, destination = _prefix(family, 1, value.destination)
    single = value.hops[0] if len(value.hops) == 1 else None
    flags = RTNH_F_ONLINK if single and single.onlink and not delete else 0
    scope = SCOPE_LINK if value.link_scope and family is Family.INET else 0
    body = RTMSG.pack(
        family, bits, 0, value.tos, table if table < 256 else COMPAT,
        value.protocol, scope, RTN_THROW if value.throw else RTN_UNICAST, flags,
    ) + NUMBER.pack(8, 15, table)  # fmt: skip
    if bits:
        body += destination
    metric = NUMBER.pack(8, 6, value.metric) if value.metric else b""
    source = attribute(7, _packed(family, value.source)) if value.source else b""
    metrics = attribute(8, value.metrics) if value.metrics else b""
    body += metric + metrics + source if family is Family.INET else source + metrics + metric
    if single:
        body += _hop(family, single)
    elif value.hops:
        many = b""
        for hop in value.hops:
            inner = _way(family, hop)
            flag = RTNH_F_ONLINK if hop.onlink else 0
            many += RTNEXTHOP.pack(8 + len(inner), flag, hop.weight - 1, hop.index) + inner
        body += attribute(9, many)
    if value.preference and not delete:
        body += attribute(20, bytes((value.preference,)))
    return body


def rule(value: Rule) -> bytes:
    """Build the body of RTM_NEWRULE or RTM_DELRULE.

    Args:
        value: the rule; one with `other` attributes is not ours to write.
    """
    family, table, traffic = value.family, value.table, value.traffic
    from_bits, source = _prefix(family, 2, value.source) if value.source else (0, b"")
    to_bits, destination = 0, b""
    if traffic is not None and traffic.destination:
        to_bits, destination = _prefix(family, 1, traffic.destination)
    body = RULE.pack(
        family, to_bits, from_bits, 0, table if table < 256 else COMPAT, value.action, 0, 8, 15, table,
        8, 14, NO_SUPPRESS if value.suppress is None else value.suppress, 5, 21, value.protocol,
    )  # fmt: skip
    if traffic is not None:
        body += LOOPBACK
    body += NUMBER.pack(8, 6, value.priority)
    if value.mark:
        body += TWO.pack(8, 10, value.mark, 8, 16, value.mask)
    elif value.mask:
        body += NUMBER.pack(8, 16, value.mask)
    if value.action is Action.GOTO:
        body += NUMBER.pack(8, 4, value.target)
    return body + (_ports(traffic) if traffic is not None else b"") + destination + source


def _ports(traffic: Traffic) -> bytes:
    out = b""
    if traffic.user is not None:
        out += attribute(20, U32.pack(traffic.user) * 2)
    for number, ports in ((23, traffic.sport), (24, traffic.dport)):
        if ports is not None:
            out += attribute(number, U16.pack(ports[0]) + U16.pack(ports[1]))
    if traffic.ipproto is not None:
        out += attribute(22, bytes((traffic.ipproto,)))
    return out


def question(family: Family, destination: Address, index: int) -> bytes:
    """Build the body of an RTM_GETROUTE that asks how the kernel would send.

    Args:
        family: the family.
        destination: where to.
        index: by which link.
    """
    body = RTMSG.pack(family, family.bits, 0, 0, 0, 0, 0, 0, 0)
    return body + attribute(1, _packed(family, destination)) + attribute(4, U32.pack(index))


def step(value: Step, sequence: int) -> bytes:
    """Build the request of a step.

    Args:
        value: the step.
        sequence: comes back in the kernel's answer.
    """
    what, verb = value.what, value.verb
    if isinstance(what, Rule):
        kind, flags, body = DELRULE if verb is Verb.DELETE else NEWRULE, FLAGS[verb], rule(what)
    else:
        assert isinstance(what, Route), "other steps are for other hands"
        kind, flags = DELROUTE if verb is Verb.DELETE else NEWROUTE, FLAGS[verb]
        body = route(what, delete=verb is Verb.DELETE)
    return message(kind, flags, sequence, body)


def echo(what: Route | Rule, request: bytes) -> bytes:
    """Give the body of the message by which the kernel will tell of what was written.

    Args:
        what: the object.
        request: as it was written.
    """
    body = request[HEADER.size :]
    if isinstance(what, Rule) or what.family is Family.INET:
        return body
    return body[: -len(MEDIUM)] + LASTING + body[-len(MEDIUM) :] if what.preference else body + LASTING + MEDIUM
