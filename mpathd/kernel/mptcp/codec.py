"""Endpoints, limits and events: values of the model to bytes of mptcp_pm, and back."""

from __future__ import annotations

from collections.abc import Mapping
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from ...model.mptcp import Act, Change, Endpoint, Event, Flag, Kind, Limits
from ...model.words import Address, Family
from ..netlink import NESTED, S32, U16, U32, attribute, attributes
from .wire import (
    ADD_ADDR,
    ADDR_4,
    ADDR_6,
    ADDR_FAMILY,
    ADDR_FLAGS,
    ADDR_ID,
    ADDR_INDEX,
    ADDR_PORT,
    BE16,
    DEL_ADDR,
    GENL,
    PM_ACCEPTED,
    PM_ADDR,
    PM_SUBFLOWS,
    PM_VERSION,
    SET_FLAGS,
    SET_LIMITS,
)

COMMANDS = {Act.ADD: ADD_ADDR, Act.CHANGE: SET_FLAGS, Act.DELETE: DEL_ADDR, Act.SET: SET_LIMITS}

# Attributes of an event (enum mptcp_event_attr).
(TOKEN, _, LOC_ID, REM_ID, SADDR4, SADDR6, DADDR4, DADDR6, SPORT, DPORT, BACKUP, ERROR, FLAGS, _, IF_IDX) = range(1, 16)
SERVER_SIDE = 18
EVENT_SERVER_SIDE = 0x2  # in FLAGS, since 6.18, which sends the older attribute too


def question(command: int, number: int = 0) -> bytes:
    """Build the body of a GET.

    Args:
        command: of mptcp_pm.
        number: id of an endpoint, if it is about one.
    """
    about = attribute(PM_ADDR | NESTED, attribute(ADDR_ID, bytes((number,)))) if number else b""
    return GENL.pack(command, PM_VERSION) + about


def endpoint_attribute(value: Endpoint) -> bytes:
    """Build the nest that holds an endpoint.

    Args:
        value: the endpoint.
    """
    v4 = value.family is Family.INET
    inner = attribute(ADDR_FAMILY, U16.pack(value.family))
    if value.id:
        inner += attribute(ADDR_ID, bytes((value.id,)))
    inner += attribute(ADDR_4 if v4 else ADDR_6, inet_pton(AF_INET if v4 else AF_INET6, value.address))
    if value.port:
        inner += attribute(ADDR_PORT, U16.pack(value.port))
    inner += attribute(ADDR_FLAGS, U32.pack(value.flags))
    if value.index:
        inner += attribute(ADDR_INDEX, S32.pack(value.index))
    return attribute(PM_ADDR | NESTED, inner)


def request(change: Change) -> bytes:
    """Build the body of a write.

    Args:
        change: the write.
    """
    head = GENL.pack(COMMANDS[change.act], PM_VERSION)
    if isinstance(change.what, Limits):
        accepted, subflows = U32.pack(change.what.accepted), U32.pack(change.what.subflows)
        return head + attribute(PM_ACCEPTED, accepted) + attribute(PM_SUBFLOWS, subflows)
    assert isinstance(change.what, Endpoint), "flags of links go over rtnetlink"
    return head + endpoint_attribute(change.what)


def endpoint(body: bytes, names: Mapping[int, str]) -> Endpoint | None:
    """Read an answer to GET_ADDR, None if it has no address of a known family.

    Args:
        body: generic netlink header and attributes.
        names: of interfaces by index.
    """
    nest = attributes(body, 4, len(body)).get(PM_ADDR, b"")
    found = attributes(nest, 0, len(nest))
    address = _address(found, ADDR_4, ADDR_6)
    if not address:
        return None
    index = S32.unpack(found[ADDR_INDEX])[0] if ADDR_INDEX in found else 0
    return Endpoint(
        id=found.get(ADDR_ID, b"\0")[0],
        address=address,
        index=index,
        port=U16.unpack(found[ADDR_PORT])[0] if ADDR_PORT in found else 0,
        flags=Flag(U32.unpack(found[ADDR_FLAGS])[0]) if ADDR_FLAGS in found else Flag(0),
        dev=names.get(index, ""),
    )


def limits(body: bytes) -> Limits:
    """Read an answer to GET_LIMITS.

    Args:
        body: generic netlink header and attributes.
    """
    found = attributes(body, 4, len(body))
    number = {kind: U32.unpack(found[kind])[0] if kind in found else 0 for kind in (PM_SUBFLOWS, PM_ACCEPTED)}
    return Limits(number[PM_SUBFLOWS], number[PM_ACCEPTED])


def event(body: bytes) -> Event:
    """Read what the kernel tells.

    Args:
        body: generic netlink header and attributes.
    """
    found = attributes(body, 4, len(body))
    number = body[0]
    flags = found.get(FLAGS, b"\0\0")
    server = bool(found.get(SERVER_SIDE, b"\0")[0]) or bool(U16.unpack(flags[:2])[0] & EVENT_SERVER_SIDE)
    return Event(
        kind=Kind(number) if number in set(Kind) else Kind.OTHER,
        token=U32.unpack(found[TOKEN])[0] if TOKEN in found else 0,
        source=_address(found, SADDR4, SADDR6),
        sport=_port(found, SPORT),
        destination=_address(found, DADDR4, DADDR6),
        dport=_port(found, DPORT),
        local=found[LOC_ID][0] if LOC_ID in found else None,
        remote=found[REM_ID][0] if REM_ID in found else None,
        backup=bool(found[BACKUP][0]) if BACKUP in found else None,
        error=found[ERROR][0] if ERROR in found else 0,
        index=S32.unpack(found[IF_IDX])[0] if IF_IDX in found else 0,
        server=server,
    )


def plain(raw: bytes) -> Address:
    """Give an address as text; one of IPv4 that an IPv6 socket has, as IPv4.

    Args:
        raw: 4 or 16 bytes.
    """
    if len(raw) == 16 and raw.startswith(bytes(10) + b"\xff\xff"):
        raw = raw[12:]
    return Address(inet_ntop(AF_INET if len(raw) == 4 else AF_INET6, raw))


def _address(found: dict[int, bytes], v4: int, v6: int) -> Address:
    raw = found.get(v4) or found.get(v6)
    return plain(raw) if raw else Address("")


def _port(found: dict[int, bytes], kind: int) -> int:
    return int(BE16.unpack(found[kind])[0]) if kind in found else 0
