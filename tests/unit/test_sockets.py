"""Which control groups are marked, and what is said where none is: by a machine that cannot, or may not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mpathd.model.marking import home
from mpathd.model.policy import Policy
from mpathd.model.selector import FlowSelector
from mpathd.model.session import Origin, Session, SessionSettings
from mpathd.model.view import Finding
from mpathd.model.words import Severity
from mpathd.model.world import World
from mpathd.plan.desire import desire
from mpathd.plan.show import show

ON = World({}, homes=frozenset({home("exec")}))
SESSIONS = (
    SessionSettings("group", Origin.POLICY, "x", cgroup="/a.slice"),
    SessionSettings("exec", Origin.POLICY, "x", selectors=(FlowSelector(),)),
    SessionSettings("users", Origin.POLICY, "x", users=(7,)),
    SessionSettings("own", Origin.POLICY, "x", selectors=(FlowSelector(),), only_user=7),
    SessionSettings("flows", Origin.POLICY, "x", selectors=(FlowSelector(),)),
)
POLICY = Policy(sessions=tuple(Session(settings, n, n) for n, settings in enumerate(SESSIONS, 1)))
SAID = ("unmarked-group", "unheld-subflows")


def said(world: World, policy: Policy) -> list[Finding]:
    """What is found about sockets."""
    return [finding for finding in show(world, policy, desire(world, policy)).findings if finding.code in SAID]


def test_with_the_socket_engine_groups_are_marked_and_nothing_is_lacking() -> None:
    assert {marking.group for marking in desire(ON, POLICY).kernel.sockets} == {"/a.slice", home("exec")}
    assert said(ON, POLICY) == []


def test_a_user_without_rights_takes_no_group_from_others() -> None:
    """Also not by a higher priority: his programs would mark his own sockets there, and nobody else's."""
    mine = SessionSettings("mine", Origin.DBUS, ":1.7", cgroup="/a.slice", only_user=7, priority=1000)
    policy = Policy(sessions=(Session(mine, 1, 1), Session(SESSIONS[0], 2, 2)))
    (marking,) = desire(ON, policy).kernel.sockets
    assert (marking.mark, marking.user) == (policy.numbers.mark(2), None)


def test_a_user_without_rights_does_not_keep_others_from_their_group() -> None:
    """His selectors and groups catch nothing of theirs."""
    users = SessionSettings("users", Origin.POLICY, "x", users=(7,))
    mine = SessionSettings("mine", Origin.DBUS, ":1.8", selectors=(FlowSelector(),), only_user=8)
    world = World({}, homes=frozenset({"/user.slice/user-7.slice"}))
    policy = Policy(sessions=(Session(users, 1, 1), Session(mine, 2, 2)))
    assert {m.group for m in desire(world, policy).kernel.sockets} >= {"/user.slice/user-7.slice"}


@pytest.mark.parametrize(
    ("world", "policy", "why", "cure"),
    [
        (replace(ON, no_sockets="bpf(2) is refused"), POLICY, "bpf(2) is refused", "cgroup v2 and bpf(2)"),
        (ON, replace(POLICY, socket_engine=False), "socket_engine is off", "socket_engine = true"),
    ],
    ids=["not to be had", "off"],
)
def test_without_it_no_group_is_marked_and_each_session_is_named(
    world: World, policy: Policy, why: str, cure: str
) -> None:
    """With what it does not hold; what selectors say is held."""
    found = said(world, policy)
    assert desire(world, policy).kernel.sockets == frozenset()
    assert all(finding.text.endswith(f": {why}") and cure in finding.cure for finding in found)
    high, low = ([f.text for f in found if f.severity is level] for level in (Severity.HIGH, Severity.LOW))
    assert [text.split()[1] for text in high] == ["exec:", "group:"]
    assert home("exec") in high[0]
    assert "/a.slice" in high[1]
    assert [text.split()[1] for text in low] == ["own:", "users:"]
