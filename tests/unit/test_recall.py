"""What is kept from pass to pass changes nothing but the time: every scene, one after the other, with one memory."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from golden.reader import Scene
from mpathd.model.policy import Policy
from mpathd.model.selector import FlowSelector
from mpathd.model.session import Origin, Session, SessionSettings
from mpathd.model.view import View
from mpathd.model.world import World
from mpathd.plan.desire import Decided, desire
from mpathd.plan.recall import Recall
from mpathd.plan.show import show

CASES = sorted((Path(__file__).parents[1] / "golden/cases").glob("*.txt"))
WISHED = (
    SessionSettings("all", Origin.NAMED, "root", selectors=(FlowSelector(),)),
    SessionSettings("web", Origin.NAMED, "root", selectors=(FlowSelector(protocol=6, dport=(443, 443)),), users=(7,)),
)


def scenes() -> list[tuple[World, Policy]]:
    """Every golden scene, without sessions and with them, on a router and not."""
    out = []
    for path in CASES:
        scene = Scene(path)
        world, policy = scene.world(), scene.policy
        for count in range(len(WISHED) + 1):
            sessions = tuple(Session(settings, n, n) for n, settings in enumerate(WISHED[:count], 1))
            for forwarding in (False, True):
                out.append((replace(world, forwarding=forwarding), replace(policy, sessions=sessions)))
    return out


def both(world: World, policy: Policy, known: Recall) -> tuple[Decided, View]:
    """What is decided, and what is shown of it."""
    decided = desire(world, policy, known)
    return decided, show(world, policy, decided, known)


def test_there_are_scenes() -> None:
    assert len(scenes()) > 30


def test_a_memory_changes_no_result() -> None:
    known = Recall()
    every = scenes()
    for world, policy in (*every, *reversed(every)):
        known.turn()
        decided = desire(world, policy, known)
        assert decided == desire(world, policy)
        assert show(world, policy, decided, known) == show(world, policy, decided)


def test_what_is_the_same_is_the_same_object() -> None:
    for world, policy in scenes():
        known = Recall()
        first, seen = both(world, policy, known)
        known.turn()
        second, again = both(replace(world), replace(policy), known)

        assert first.kernel.routes is second.kernel.routes
        assert first.kernel.rules is second.kernel.rules
        assert first.kernel.packets is second.kernel.packets
        assert all(a is b for a, b in zip(seen.services, again.services, strict=True))
        assert all(a is b for a, b in zip(seen.sessions, again.sessions, strict=True))


def test_what_a_pass_does_not_ask_for_is_forgotten() -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number

    known = Recall()
    for turn, ask in enumerate((True, True, False, True)):
        known.turn()
        if ask:
            assert known.of("place", make, 7) == 7
        assert len(made) == (1 if turn < 3 else 2)


def test_one_link_less_leaves_the_others_parts() -> None:
    for (world, policy), _ in pairwise(scenes()):
        if len(world.links) < 3:
            continue
        known = Recall()
        _, before = both(world, policy, known)
        known.turn()
        index = max(world.links)
        rest = {i: link for i, link in world.links.items() if i != index}
        _, after = both(replace(world, links=rest), policy, known)
        kept = {s.index: s for s in before.services}
        assert all(kept[s.index] is s for s in after.services if kept[s.index] == s)
