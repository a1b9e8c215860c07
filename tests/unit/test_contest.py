"""Healing at once, then slower and slower, then forgotten."""

from __future__ import annotations

from mpathd.model.packet import Chain, Connections, Load, Ruleset
from mpathd.model.routing import KernelState, Rule, Step, Verb
from mpathd.model.words import Address, Family, host
from mpathd.plan.contest import LONGEST, PATIENCE, WINDOW, Contest

RULE = Rule(Family.INET, 22000, host(Address("10.0.1.2")), 257, suppress=0)
ADD = Step(Verb.ADD, RULE)
TRUE = KernelState(rules=frozenset({RULE}))


def test_what_was_never_there_is_no_contest() -> None:
    contest = Contest()

    for now in range(100):
        assert contest.judge([ADD], KernelState(), float(now)) == ((ADD,), None)
    assert contest.findings([]) == ()


def test_repairs_are_at_once_for_a_while_then_slow_down() -> None:
    contest, now, repairs = Contest(), 0.0, []
    while now < 120:
        go, wait = contest.judge([ADD], TRUE, now)
        if go:
            repairs.append(now)
        assert (wait is None) == bool(go)
        now += 0.25

    assert repairs[:PATIENCE] == [0.0, 0.25, 0.5, 0.75, 1.0]
    gaps = [b - a for a, b in zip(repairs[PATIENCE:], repairs[PATIENCE + 1 :], strict=False)]
    assert gaps == sorted(gaps)
    assert len(repairs) < 20
    assert max(gaps) <= LONGEST


def test_the_finding_names_the_object_and_the_suspect_and_goes_when_all_is_quiet() -> None:
    contest = Contest()
    for n in range(PATIENCE + 1):
        contest.judge([ADD], TRUE, float(n) / 10)

    (finding,) = contest.findings(["systemd-networkd"])

    assert finding.code == "contested"
    assert str(ADD) in finding.text
    assert "systemd-networkd" in finding.text
    assert "ManageForeignRoutingPolicyRules=no" in finding.cure
    assert contest.next_settle is not None
    contest.settle(contest.next_settle + 0.1)
    assert contest.findings([]) == ()
    assert contest.next_settle is None


def test_others_go_on_while_one_waits() -> None:
    contest = Contest()
    for n in range(PATIENCE + 1):
        contest.judge([ADD], TRUE, float(n) / 10)
    fresh = Step(Verb.ADD, Rule(Family.INET, 22003, host(Address("10.0.9.9"))))

    go, wait = contest.judge([ADD, fresh], TRUE, 1.0)

    assert go == (fresh,)
    assert wait is not None
    assert 0 < wait <= WINDOW


def test_forgetting_connections_is_no_fight() -> None:
    contest, step = Contest(), Step(Verb.DELETE, Connections(0x10000, 0x7FFF0000))

    for now in range(3 * PATIENCE):
        assert contest.judge([step], TRUE, now / 10) == ((step,), None)
    assert contest.findings([]) == ()


def _table(*rules: str) -> Ruleset:
    return Ruleset(chains={"output": Chain(rules)})


def test_a_table_that_others_damage_is_repaired_slower_and_slower_however_it_is_reached() -> None:
    contest, whole, halfway, now, repairs = Contest(), _table("all"), _table("all", "old"), 0.0, 0
    first = Step(Verb.REPLACE, Load(halfway, None))
    assert contest.judge([first], KernelState(), now, aim=whole)[0] == (first,)
    true = KernelState(packets=halfway)
    last = Step(Verb.REPLACE, Load(whole, halfway))
    assert contest.judge([last], true, now, aim=whole)[0] == (last,)
    for turn in range(100):
        now += 0.25
        damaged = Step(Verb.REPLACE, Load(halfway, _table(f"theirs {turn}")))
        go, wait = contest.judge([damaged], KernelState(packets=whole), now, aim=whole)
        assert (wait is None) == bool(go)
        if go:
            repairs += 1
            now += 0.02
            assert contest.judge([last], true, now, aim=whole)[0] == (last,)  # and is led to its end
    assert PATIENCE < repairs < 14

    other = _table("more")  # whoever asks for something else does not wait for it
    step = Step(Verb.REPLACE, Load(other, _table("theirs")))
    assert contest.judge([step], KernelState(packets=whole), now, aim=other) == ((step,), None)
