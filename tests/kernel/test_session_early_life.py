"""Early rules of sessions: which one wins, how many there are, how long they stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from kernel.helpers_early import Told, added, connect, early, knows, no_early, way
from kernel.helpers_sessions import FAMILIES, FLOW, OTHER, PORT, SERVER, Case, Went
from kernel.helpers_shared import answers, keeping, lab
from labkit.agent import eventually

USER = 41201
MOST = 32


shared = lab(keeping, answers)


# Sessions that overlap.

OVER: Mapping[str, tuple[list[str], list[str]]] = {
    "address in prefix": ([f"*-{SERVER[4]}-udp"], ["*-192.0.2.0/24-udp"]),
    "port in all": ([f"*-*-udp-*-{PORT}"], ["*-*-udp"]),
    "port in range": ([f"*-*-udp-*-{PORT}"], ["*-*-udp-*-1:1000"]),
    "protocol in all": (["*-*-udp"], ["*-*-*"]),
    "address and port in address": ([f"*-{SERVER[4]}-udp-*-{PORT}"], [f"*-{SERVER[4]}-*"]),
}


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("first", ["narrow", "wide"])
def test_the_more_specific_one_wins(case: Case, first: str, over: str) -> None:
    """Whichever came first, and whatever their priorities."""
    narrow, wide = OVER[over]
    sessions: dict[str, dict[str, Any]] = {
        "wide": {"flow_selectors": wide, "priority": 1000, "allowed_interface": "vethc2"},
        "narrow": {"flow_selectors": narrow, "priority": 0, "allowed_interface": "vethc3"},
    }
    for name in sorted(sessions, key=lambda name: name != first):
        case.session(name, **sessions[name])

    knows(case, way(3, 4), 4, kinds=["udp"])


@pytest.mark.parametrize("family", FAMILIES)
def test_then_the_priority_and_the_age(case: Case, family: int) -> None:
    case.session("z", flow_selectors=FLOW, allowed_interface="vethc2")
    case.session("a", flow_selectors=FLOW, allowed_interface="vethc3")
    knows(case, way(2, family), family)  # the older one

    case.session("a", flow_selectors=FLOW, allowed_interface="vethc3", priority=101)
    knows(case, way(3, family), family)

    case.drop("a")
    knows(case, way(2, family), family)


@pytest.mark.parametrize("selector", ["*-*-*", "*-*-udp", f"*-*-udp-*-{PORT}", f"*-{SERVER[4]}-udp"])
@pytest.mark.parametrize("first", ["user", "flow"])
def test_rules_and_marks_agree_about_a_user_and_a_selector(case: Case, first: str, selector: str) -> None:
    """Whichever of both wins, the source that the socket has is the one that it leaves with."""
    sessions: dict[str, dict[str, Any]] = {
        "user": {"users": [USER], "allowed_interface": "vethc2"},
        "flow": {"flow_selectors": [selector], "allowed_interface": "vethc3"},
    }
    for name in sorted(sessions, key=lambda name: name != first):
        case.session(name, **sessions[name])

    told = connect(case, "udp", 4, user=USER)
    assert told.ways in {(way(2, 4),), (way(3, 4),)}
    assert told == Told(told.ways[0][1], told.ways, 0, answered=True)


# How many, and how long.


@pytest.mark.parametrize("family", FAMILIES)
def test_a_session_with_more_selectors_is_right_by_translation(case: Case, family: int) -> None:
    """What has no rule of its own is translated; and there are no more rules than settled."""
    flow = [f"*-*-{p}-*-{port}" for port in range(10000, 10050) for p in ("udp", "tcp")]
    case.settle()
    before = early(case, family)
    case.session("s", allowed_interface="vethc2", flow_selectors=[*flow, *FLOW])

    case.goes(way(2, family), family)
    assert len(added(case, family, before)) <= MOST
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    knows(case, way(2, family), family)


def test_early_rules_are_ours_and_in_their_place(case: Case) -> None:
    case.settle()
    before = {family: early(case, family) for family in FAMILIES}
    case.session("s", allowed_bearers=["ethernet"], flow_selectors=FLOW, users=[USER])
    for family in FAMILIES:
        lines = early(case, family)
        assert all("proto 109" in line for line in lines), lines
        assert 0 < len(added(case, family, before[family])) <= MOST


def test_they_go_with_their_session(case: Case) -> None:
    case.settle()
    bare = {family: early(case, family) for family in FAMILIES}
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    case.session("t", allowed_interface="vethc3", users=[USER])
    both = {family: added(case, family, bare[family]) for family in FAMILIES}
    case.drop("s")
    for family in FAMILIES:
        left = added(case, family, bare[family])
        assert 0 < len(left) < len(both[family])
        assert f"dport {PORT}" not in str(left)
        knows(case, way(1, family), family)
        knows(case, way(3, family), family, OTHER, user=USER)
    case.drop("t")
    for family in FAMILIES:
        assert early(case, family) == bare[family]


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_they_stay_while_mpathd_is_away(case: Case, how: str) -> None:
    """It keeps what it made; a crash keeps all."""
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    before = {family: early(case, family) for family in FAMILIES}
    assert all(before.values())
    if how == "kill":
        case.agent.kill()
    else:
        assert case.agent.stop() == 0
    for family in FAMILIES:
        knows(case, way(2, family), family)
    case.agent.start()
    case.settle()
    assert {family: early(case, family) for family in FAMILIES} == before
    for family in FAMILIES:
        knows(case, way(2, family), family)


def test_a_crash_leaves_none_of_a_session_that_is_gone(case: Case) -> None:
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    assert not no_early(case)
    case.agent.kill()
    case.drop_files()
    case.agent.start()
    eventually(lambda: no_early(case), what="no early rule")


@pytest.mark.parametrize("family", FAMILIES)
def test_one_that_somebody_deletes_is_back(case: Case, family: int) -> None:
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
    before = early(case, family)
    assert before
    for line in before:
        case.lab.ip("client", f"-{family} rule del pref {line.partition(':')[0]}", check=False)

    eventually(lambda: sorted(early(case, family)) == sorted(before), what="early rules as before")
    case.settle()
    assert early(case, family) == before  # also in their order
    knows(case, way(2, family), family)


def test_a_foreign_rule_among_them_is_left_alone(case: Case) -> None:
    rule = "-4 rule add pref 19500 ipproto udp dport 4999 lookup 253"
    case.lab.ip("client", rule)
    try:
        case.session("s", allowed_interface="vethc2", flow_selectors=FLOW)
        knows(case, way(2, 4), 4)
        case.drop("s")
        assert "dport 4999" in case.lab.ip("client", "-4 rule")
    finally:
        case.lab.ip("client", rule.replace(" add ", " del "))


@pytest.fixture(scope="module", params=[0, 3])
def few(request: pytest.FixtureRequest) -> Iterator[tuple[Case, int]]:
    """A lab where mpathd may make few early rules, or none."""
    with Case(config=f"[sessions]\nearly_rules = {request.param}\n") as made:
        yield made, request.param


def test_as_many_as_settled(few: tuple[Case, int]) -> None:
    """The traffic is right all the same."""
    case, most = few
    case.settle()
    before = {family: early(case, family) for family in FAMILIES}
    case.session("s", allowed_interface="vethc2", flow_selectors=FLOW, users=[USER])
    for family in FAMILIES:
        assert len(added(case, family, before[family])) <= most
        assert most or not early(case, family)
        case.goes(way(2, family), family)
        for kind in ("udp", "tcp"):
            assert case.as_user(kind, family, OTHER, user=USER) == Went((way(2, family),), 0, answered=True)
    case.drop()


@pytest.mark.parametrize("value", ["-1", '"many"', "true", "100000"])
def test_what_cannot_be_settled(case: Case, value: str) -> None:
    path = case.folder / "bad.conf"
    path.write_text(f"[sessions]\nearly_rules = {value}\n")
    done = case.agent.once("--config", str(path), "--dry-run")
    assert done.returncode
    assert "early_rules" in done.stderr
    assert f"{path}:2:" in done.stderr
    assert "no key" not in done.stderr
