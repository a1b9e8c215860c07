"""Numbers of sessions: kept, lowest first, never one that a rule of others would match."""

from __future__ import annotations

from mpathd.model.numbers import Numbers
from mpathd.model.routing import Rule
from mpathd.model.session import Origin, SessionSettings
from mpathd.model.words import Family
from mpathd.plan.numbering import number

NUMBERS = Numbers()


def _wishes(*names: str) -> list[SessionSettings]:
    return [SessionSettings(name, Origin.NAMED, "x") for name in names]


def _given(names: str, kept: dict[str, int] | None = None, *rules: Rule, numbers: Numbers = NUMBERS) -> dict[str, int]:
    was = {name: (n, n) for name, n in (kept or {}).items()}
    found = number(_wishes(*names), was, rules, numbers)
    return {session.settings.name: session.number for session in found}


def _rule(mark: int, mask: int) -> Rule:
    return Rule(Family.INET, 100, None, 5, mark=mark, mask=mask, protocol=0)


def test_lowest_first_and_kept() -> None:
    assert _given("ab") == {"a": 1, "b": 2}
    assert _given("cab", {"a": 1, "b": 7}) == {"a": 1, "b": 7, "c": 2}


def test_a_mark_that_a_rule_of_others_matches_is_skipped_also_when_it_was_kept() -> None:
    assert _given("ab", None, _rule(0x10000, 0xFF0000)) == {"a": 2, "b": 3}
    assert _given("a", {"a": 1}, _rule(0x10000, 0x7FFF0000)) == {"a": 2}


def test_rules_that_look_at_other_bits_say_nothing() -> None:
    assert _given("ab", None, _rule(0, 0xFF), _rule(0x10, 0xFFFF), _rule(0, 0)) == {"a": 1, "b": 2}


def test_there_is_an_end() -> None:
    few = Numbers(mark_mask=0x00030000)

    assert _given("abcde", numbers=few) == {"a": 1, "b": 2, "c": 3}
    assert _given("ab", None, _rule(0x10000, 0x10000), numbers=few) == {"a": 2}
    assert _given("a", None, _rule(0, 0x10000), _rule(0x10000, 0x10000)) == {}


def test_age_is_kept_apart_from_the_number() -> None:
    first = number(_wishes("a", "b"), {}, (), NUMBERS)
    kept = {session.settings.name: (session.number, session.born) for session in first if session.settings.name == "b"}

    second = {s.settings.name: s for s in number(_wishes("b", "young"), kept, (), NUMBERS)}

    assert second["young"].number < second["b"].number
    assert second["young"].born > second["b"].born


def test_a_kept_number_that_no_mark_has_any_more_is_given_anew() -> None:
    """With a narrower mask; whoever comes behind it has one too."""
    few = Numbers(mark_mask=0x00030000)

    assert _given("abc", {"a": 9, "b": 2, "c": -1}, numbers=few) == {"a": 1, "b": 2, "c": 3}
