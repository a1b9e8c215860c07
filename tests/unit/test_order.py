"""The order of services: where a move puts one, and what keeps its place."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.harness import CABLE, SECOND, TUNNEL
from mpathd.model.policy import Policy, ServiceSettings, Stored
from mpathd.model.session import Origin, Session, SessionSettings
from mpathd.model.view import Service, View
from mpathd.model.words import Address, Family, ServiceState
from mpathd.model.world import Gateway, Link, LinkAddress, World
from mpathd.plan.desire import desire
from mpathd.plan.order import moved
from mpathd.plan.show import show

A, B, C = CABLE.id, SECOND.id, TUNNEL.id
HERE = (CABLE, SECOND, TUNNEL)
IDS = [f"ethernet_02000000000{n}_cable" for n in range(1, 4)]


@pytest.mark.parametrize(
    ("what", "other", "before", "wanted"),
    [
        (C, A, True, (C, A, B)),
        (C, A, False, (A, C, B)),
        (A, C, True, (B, A, C)),
        (A, C, False, (B, C, A)),
        (A, B, True, (A, B, C)),
        (B, A, False, (A, B, C)),
    ],
)
def test_it_stands_directly_before_or_behind(what: str, other: str, before: bool, wanted: tuple[str, ...]) -> None:
    assert moved((), HERE, what, other, before=before) == wanted


def test_who_is_connected_at_the_moment_of_a_move_does_not_matter() -> None:
    shown = (SECOND, TUNNEL, replace(CABLE, state=ServiceState.IDLE))
    assert moved((), shown, C, B, before=True) == (A, C, B)


def test_a_service_that_is_away_keeps_its_place() -> None:
    assert moved(("gone", B, A), HERE, C, B, before=True) == ("gone", C, B, A)


@given(st.permutations([CABLE, SECOND, TUNNEL, replace(CABLE, id="x", index=99)]), st.data())
def test_nobody_is_lost_and_the_others_stay(services: list[Service], data: st.DataObject) -> None:
    names = [service.id for service in services]
    known = data.draw(st.lists(st.sampled_from([*names, "away"]), unique=True))
    what, other = data.draw(st.permutations(names))[:2]
    before = data.draw(st.booleans())

    after = moved(known, services, what, other, before=before)

    assert sorted(after) == sorted({*known, *names})
    assert after.index(what) - after.index(other) == (-1 if before else 1)
    rest = [name for name in known if name != what]
    assert [name for name in after if name in rest] == rest


def world() -> World:
    """Three links with a way out."""
    links = {
        n: Link(
            n, f"eth{n}", bytes((2, 0, 0, 0, 0, n)), addresses=(LinkAddress(Family.INET, Address(f"10.0.{n}.2"), 24),)
        )
        for n in (1, 2, 3)
    }
    return World(links, gateways={n: (Gateway(Family.INET, Address(f"10.0.{n}.1"), "main"),) for n in links})


def policy(*order: str) -> Policy:
    """A policy with an order and one session."""
    session = Session(SessionSettings("s", Origin.NAMED, "root"), 1)
    return Policy(ServiceSettings(multipath_routing=True), Stored(order=order), sessions=(session,))


def seen(world: World, policy: Policy) -> View:
    """What is shown."""
    return show(world, policy, desire(world, policy))


def test_the_list_and_the_choice_follow_it() -> None:
    view = seen(world(), policy())
    assert ([s.id for s in view.services], view.sessions[0].service) == (IDS, IDS[0])

    view = seen(world(), policy("away", IDS[2], IDS[0]))
    assert [s.id for s in view.services] == [IDS[2], IDS[0], IDS[1]]
    assert (view.sessions[0].service, view.sessions[0].routed) == (IDS[2], (IDS[0], IDS[1]))


def test_a_connected_service_comes_before_one_that_is_not() -> None:
    here = world()
    down = replace(here, links={**here.links, 3: replace(here.links[3], carrier=False)})

    assert [s.id for s in seen(down, policy(IDS[2], IDS[1], IDS[0])).services] == [IDS[1], IDS[0], IDS[2]]


def test_the_bearers_of_a_session_come_first() -> None:
    here = world()
    mixed = replace(here, links={**here.links, 1: replace(here.links[1], devtype="wlan")})
    wifi = IDS[0].replace("ethernet", "wifi").replace("_cable", "_managed")
    asked = SessionSettings("s", Origin.NAMED, "root", allowed_bearers=("ethernet", "*"))
    wished = replace(policy(wifi, IDS[2]), sessions=(Session(asked, 1),))

    view = seen(mixed, wished)

    assert [s.id for s in view.services] == [wifi, IDS[2], IDS[1]]
    assert (view.sessions[0].service, view.sessions[0].routed) == (IDS[2], (IDS[1], wifi))
