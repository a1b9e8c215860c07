"""Steps of the model to bytes for the kernel."""

from __future__ import annotations

from socket import AF_INET, AF_INET6, inet_pton

from ...model.routing import Action, Hop, Route, Rule, Step, Traffic, Verb
from ...model.words import Address, Family
from .decode import FRMSG, RTMSG, RTN_THROW, RTN_UNICAST, RTNEXTHOP, RTNH_F_ONLINK, SCOPE_LINK
from .wire import (
    DELROUTE,
    DELRULE,
    F_ACK,
    F_APPEND,
    F_CREATE,
    F_EXCL,
    F_REPLACE,
    NEWROUTE,
    NEWRULE,
    U16,
    U32,
    attribute,
    message,
)

FLAGS = {
    Verb.ADD: F_CREATE | F_EXCL,
    Verb.REPLACE: F_CREATE | F_REPLACE,
    Verb.APPEND: F_CREATE | F_APPEND,
    Verb.DELETE: 0,
}
KINDS = {
    (Route, Verb.ADD): NEWROUTE,
    (Route, Verb.REPLACE): NEWROUTE,
    (Route, Verb.APPEND): NEWROUTE,
    (Route, Verb.DELETE): DELROUTE,
    (Rule, Verb.ADD): NEWRULE,
    (Rule, Verb.REPLACE): NEWRULE,
    (Rule, Verb.DELETE): DELRULE,
}


def _packed(family: Family, text: str) -> bytes:
    return inet_pton(AF_INET if family is Family.INET else AF_INET6, text)


def _hop(route_family: Family, hop: Hop) -> bytes:
    out = b""
    if hop.via is not None:
        if ":" in hop.via and route_family is Family.INET:
            out += attribute(18, U16.pack(AF_INET6) + _packed(Family.INET6, hop.via))
        else:
            out += attribute(5, _packed(route_family, hop.via))
    if hop.encap:
        out += attribute(21, hop.encap[:2]) + attribute(22, hop.encap[2:])
    if hop.realm:
        out += attribute(11, U32.pack(hop.realm))
    return out


def route(value: Route, *, delete: bool = False) -> bytes:
    """Build the body of RTM_NEWROUTE or RTM_DELROUTE.

    Args:
        value: the route.
        delete: leave out what does not help to find it.
    """
    network, _, bits = value.destination.partition("/")
    single = value.hops[0] if len(value.hops) == 1 else None
    flags = RTNH_F_ONLINK if single and single.onlink and not delete else 0
    scope = SCOPE_LINK if value.link_scope and value.family is Family.INET else 0
    body = RTMSG.pack(
        value.family, int(bits), 0, value.tos, min(value.table, 255) if value.table < 256 else 0,
        value.protocol, scope, RTN_THROW if value.throw else RTN_UNICAST, flags,
    )  # fmt: skip
    if bits != "0":
        body += attribute(1, _packed(value.family, network))
    body += attribute(15, U32.pack(value.table))
    if value.metric:
        body += attribute(6, U32.pack(value.metric))
    if value.source:
        body += attribute(7, _packed(value.family, value.source))
    if value.metrics:
        body += attribute(8, value.metrics)
    if value.preference and not delete:
        body += attribute(20, bytes((value.preference,)))
    if single:
        body += attribute(4, U32.pack(single.index)) + _hop(value.family, single)
    elif value.hops:
        many = b""
        for hop in value.hops:
            inner = _hop(value.family, hop)
            flag = RTNH_F_ONLINK if hop.onlink else 0
            many += RTNEXTHOP.pack(8 + len(inner), flag, hop.weight - 1, hop.index) + inner
        body += attribute(9, many)
    return body


def rule(value: Rule) -> bytes:
    """Build the body of RTM_NEWRULE or RTM_DELRULE.

    Args:
        value: the rule; one with `other` attributes is not ours to write.
    """
    source, _, bits = (value.source or "").partition("/")
    table = value.table if value.table < 256 else 0
    traffic = value.traffic or Traffic()
    destination, _, to_bits = (traffic.destination or "").partition("/")
    body = FRMSG.pack(value.family, int(to_bits or 0), int(bits or 0), 0, table, value.action.value, 0)
    body += attribute(6, U32.pack(value.priority))
    if source:
        body += attribute(2, _packed(value.family, source))
    if destination:
        body += attribute(1, _packed(value.family, destination))
    if value.traffic is not None:
        body += attribute(3, b"lo\0")
    if value.action is Action.GOTO:
        body += attribute(4, U32.pack(value.target))
    if value.action is Action.LOOKUP:
        body += attribute(15, U32.pack(value.table))
    if value.suppress is not None:
        body += attribute(14, U32.pack(value.suppress))
    if value.mask:
        body += attribute(10, U32.pack(value.mark)) + attribute(16, U32.pack(value.mask))
    if traffic.user is not None:
        body += attribute(20, U32.pack(traffic.user) * 2)
    if traffic.ipproto is not None:
        body += attribute(22, bytes((traffic.ipproto,)))
    for number, ports in ((23, traffic.sport), (24, traffic.dport)):
        if ports is not None:
            body += attribute(number, U16.pack(ports[0]) + U16.pack(ports[1]))
    return body + attribute(21, bytes((value.protocol,)))


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
    what = value.what
    assert isinstance(what, Route | Rule), "other steps are for other hands"
    body = route(what, delete=value.verb is Verb.DELETE) if isinstance(what, Route) else rule(what)
    return message(KINDS[type(what), value.verb], FLAGS[value.verb] | F_ACK, sequence, body)
