"""Live connections by uplink, their speeds, and which endpoints bring lost subflows back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mpathd.model.connections import Connection, Speed, Subflow, TcpState
from mpathd.model.mptcp import Endpoint, Flag
from mpathd.model.policy import ServiceSettings
from mpathd.model.view import Service
from mpathd.model.words import Address, Family, ServiceState, Technology
from mpathd.model.world import Link, LinkAddress
from mpathd.plan.connections import by_uplink, connections, forgetting, mendable, speeds

A1, A2, A9, FAR = Address("10.0.1.2"), Address("10.0.2.2"), Address("10.9.9.9"), Address("192.0.2.9")


def address(text: Address) -> LinkAddress:
    """An IPv4 address on a link."""
    return LinkAddress(Family.INET, text, 24)


def service(index: int, text: Address) -> Service:
    """An uplink with an address."""
    return Service(
        f"ethernet_{index}", "Wired", Technology.ETHERNET, ServiceState.READY, index, f"up{index}", "", 1500,
        255 + index, ServiceSettings(), routed=True, because="", addresses=(address(text),),
    )  # fmt: skip


SERVICES = (service(2, A1), service(3, A2))
LINKS = {
    2: Link(2, "up2", addresses=(address(A1),)),
    3: Link(3, "up3", addresses=(address(A2),)),
    4: Link(4, "br0", addresses=(address(A9),)),
}


def connection(token: int = 7, source: Address = A1, **more: object) -> Connection:
    """A connection to the far side."""
    made = Connection(token, source, 1000 + token, FAR, 443, subflows_max=2, cookie=token)
    return replace(made, **more)  # type: ignore[arg-type]


def subflow(token: int = 7, source: Address = A1, **more: object) -> Subflow:
    """A subflow of it."""
    made = Subflow(token, source, 1000 + token, FAR, 443, cookie=100 + token)
    return replace(made, **more)  # type: ignore[arg-type]


def test_subflows_stand_with_their_connection_and_their_uplink() -> None:
    second = subflow(source=A2, index=3, local=201, joined=True, cookie=1)
    (view,) = connections([connection()], [second, subflow()], SERVICES, LINKS)

    assert [(part.subflow.local, part.service, part.interface) for part in view.subflows] == [
        (0, "ethernet_2", "up2"),  # the first one first
        (201, "ethernet_3", "up3"),
    ]
    assert (view.service, view.interface) == ("ethernet_2", "up2")
    assert view.services == ("ethernet_2", "ethernet_3")


def test_the_device_that_a_socket_is_bound_to_counts_before_its_address() -> None:
    (view,) = connections([connection()], [subflow(source=A1, index=3)], SERVICES, LINKS)

    assert view.subflows[0].service == "ethernet_3"


def test_links_that_are_no_services_and_addresses_that_are_gone() -> None:
    views = connections(
        [connection(1, A9), connection(2, Address("10.8.8.8"))],
        [subflow(1, A9), subflow(2, Address("10.8.8.8"))],
        SERVICES,
        LINKS,
    )

    assert [(v.subflows[0].service, v.subflows[0].interface, v.services) for v in views] == [
        ("", "br0", ()),
        ("", "", ()),
    ]


def test_an_address_on_two_links_is_the_first_services() -> None:
    twin = replace(SERVICES[1], addresses=(address(A1),))
    (view,) = connections([connection()], [subflow()], (SERVICES[0], twin), LINKS)

    assert view.services == ("ethernet_2",)


def test_a_subflow_without_its_connection_is_passed_over() -> None:
    (view,) = connections([connection(7)], [subflow(8)], SERVICES, LINKS)

    assert view.subflows == ()


def test_a_connection_that_fell_back_is_its_own_subflow() -> None:
    (view,) = connections([connection(fallback=True)], [], SERVICES, LINKS)

    assert view.services == ("ethernet_2",)
    (young,) = connections([connection()], [], SERVICES, LINKS)
    assert young.services == ()


def test_connections_stand_by_their_far_end() -> None:
    far = [replace(connection(n), destination=Address(to), dport=port)
           for n, to, port in ((1, "192.0.2.9", 80), (2, "192.0.2.1", 443), (3, "192.0.2.9", 22))]  # fmt: skip

    assert [view.connection.token for view in connections(far, [], SERVICES, LINKS)] == [2, 3, 1]


def test_by_uplink() -> None:
    parts = [subflow(1), subflow(2), subflow(2, A2, joined=True), subflow(1, A9)]
    views = connections([connection(1), connection(2)], parts, SERVICES, LINKS)

    found = by_uplink(views)
    assert {name: [part.subflow.token for part in parts] for name, parts in found.items()} == {
        "ethernet_2": [1, 2],
        "ethernet_3": [2],
        "": [1],
    }


def test_speeds_are_those_of_sockets_that_were_there() -> None:
    before = [subflow(1, acked=1000, received=500), subflow(2)]
    now = [subflow(1, acked=3000, received=500), subflow(3, acked=9)]

    assert speeds(before, now, 2.0) == {101: Speed(8000.0, 0.0)}
    assert speeds(now, before, 1.0)[101] == Speed(0.0, 0.0)  # never backwards


# Subflows that are to come back.

ENDPOINT1 = Endpoint(200, A1, 2, flags=Flag.SUBFLOW)
ENDPOINT2 = Endpoint(201, A2, 3, flags=Flag.SUBFLOW | Flag.BACKUP)


def mended(found: list[Connection], parts: list[Subflow], *endpoints: Endpoint) -> tuple[Endpoint, ...]:
    """The endpoints that a delete and add would help."""
    return mendable(connections(found, parts, SERVICES, LINKS), endpoints or (ENDPOINT1, ENDPOINT2))


def test_a_lost_subflow_is_mendable() -> None:
    assert mended([connection()], [subflow()]) == (ENDPOINT2,)


def test_never_where_a_living_subflow_would_be_reset() -> None:
    whole = [subflow(1), subflow(1, A2, joined=True)]

    assert mended([connection(1), connection(2)], [*whole, subflow(2)]) == ()
    dying = [subflow(1), subflow(1, A2, joined=True, state=TcpState.LAST_ACK)]
    assert mended([connection(1)], dying) == (ENDPOINT2,)
    assert mended([connection(1), connection(2, A2, fallback=True)], [subflow(1)]) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"fallback": True},
        {"subflows": 2},
        {"state": TcpState.FIN_WAIT2},
        {"destination": Address("2001:db8::9")},
    ],
)
def test_connections_that_it_would_not_help(change: dict[str, object]) -> None:
    one = replace(connection(), **change)  # type: ignore[arg-type]

    assert mended([one], [subflow()], ENDPOINT2) == ()


def test_an_endpoint_that_makes_no_subflows_mends_none() -> None:
    assert mended([connection()], [subflow()], replace(ENDPOINT2, flags=Flag.SIGNAL)) == ()


def test_only_the_address_that_a_connection_began_with_waits_until_its_id_is_forgotten() -> None:
    views = connections([connection()], [subflow(source=A2, rtt=100_000), subflow(rtt=20_000)], SERVICES, LINKS)
    first, second = (Endpoint(200 + n, text, flags=Flag.SUBFLOW) for n, text in enumerate((A1, A2)))

    assert forgetting(views, first) == pytest.approx(0.25)  # behind what waits at the slowest
    assert forgetting(views, second) == 0.0
    slow = connections([connection()], [subflow(source=A2, rtt=9_000_000)], SERVICES, LINKS)
    assert forgetting(slow, first) == 2.0
