"""The laws of diff, on any two states: apply(diff(w, h), h) == w, diff(w, w) == (), and the order of writes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mpathd.model.numbers import MAIN
from mpathd.model.routing import Action, Hop, KernelState, Route, Rule, Step, Verb
from mpathd.model.words import Address, Family, Prefix
from mpathd.plan.diff import Phase, diff, held_back, phase

V4 = st.sampled_from([Prefix("10.0.1.0/24"), Prefix("10.0.2.0/24"), Prefix("0.0.0.0/0"), Prefix("10.9.0.0/16")])
V6 = st.sampled_from([Prefix("fd00:1::/64"), Prefix("::/0"), Prefix("2001:db8::/32")])
HOPS = st.builds(
    Hop,
    index=st.integers(2, 4),
    via=st.sampled_from([None, Address("10.0.1.1"), Address("10.0.2.1")]),
    onlink=st.booleans(),
)
ROUTES = st.one_of(
    *(
        st.builds(
            Route,
            family=st.just(family),
            table=st.sampled_from([257, 258]),
            destination=prefixes,
            hops=st.tuples(HOPS),
            metric=st.sampled_from([0, 100]),
        )
        for family, prefixes in ((Family.INET, V4), (Family.INET6, V6))
    )
)
RULES = st.builds(
    Rule,
    family=st.sampled_from(Family),
    priority=st.sampled_from([22000, 22001, 22002, 22003]),
    source=st.sampled_from([Prefix("10.0.1.2/32"), Prefix("10.0.2.2/32"), None]),
    table=st.sampled_from([257, 258, MAIN]),
    suppress=st.sampled_from([None, 0, 1]),
    action=st.sampled_from([Action.LOOKUP, Action.UNREACHABLE]),
)


def _unique(routes: list[Route]) -> frozenset[Route]:
    return frozenset({route.key: route for route in routes}.values())


STATES = st.builds(KernelState, st.lists(ROUTES, max_size=12).map(_unique), st.lists(RULES, max_size=12).map(frozenset))


def apply(steps: tuple[Step, ...], have: KernelState) -> KernelState:
    """The kernel's own meaning of steps, for values."""
    routes = {route.key: route for route in have.routes}
    rules = set(have.rules)
    for step in steps:
        match step.what, step.verb:
            case Route() as route, Verb.ADD:
                assert route.key not in routes
                routes[route.key] = route
            case Route() as route, Verb.REPLACE:
                assert route.key in routes
                routes[route.key] = route
            case Route() as route, Verb.DELETE:
                del routes[route.key]
            case Rule() as rule, Verb.ADD:
                assert rule not in rules
                rules.add(rule)
            case Rule() as rule, Verb.DELETE:
                rules.remove(rule)
            case _:
                raise AssertionError(step)
    return KernelState(frozenset(routes.values()), frozenset(rules))


@given(STATES, STATES)
@settings(max_examples=400, deadline=None)
def test_diff_leads_from_what_is_to_what_should_be(want: KernelState, have: KernelState) -> None:
    assert apply(diff(want, have), have) == want


@given(STATES)
@settings(max_examples=100, deadline=None)
def test_nothing_is_written_when_nothing_differs(state: KernelState) -> None:
    assert diff(state, state) == ()


@given(STATES, STATES)
@settings(max_examples=200, deadline=None)
def test_phases_come_in_order_and_the_end_rule_goes_first(want: KernelState, have: KernelState) -> None:
    steps = diff(want, have)

    assert [phase(step) for step in steps] == sorted(phase(step) for step in steps)
    for due, sign in ((Phase.RULE_ADD, 1), (Phase.RULE_DELETE, -1)):
        per_source: dict[object, list[int]] = {}
        for step in steps:
            if phase(step) is due and isinstance(step.what, Rule):
                per_source.setdefault((step.what.family, step.what.source), []).append(sign * step.what.priority)
        assert all(seen == sorted(seen) for seen in per_source.values())


def test_routes_on_the_link_come_before_routers_and_leave_after_them() -> None:
    link = Route(Family.INET, 257, Prefix("10.0.1.0/24"), (Hop(2),), link_scope=True)
    way = Route(Family.INET, 257, Prefix("0.0.0.0/0"), (Hop(2, Address("10.0.1.1")),))
    throw = Route(Family.INET, 257, Prefix("10.0.1.128/25"), (), throw=True)
    state = KernelState(frozenset({way, throw, link}))

    assert [step.what for step in diff(state, KernelState())] == [link, throw, way]
    assert [step.what for step in diff(KernelState(), state)] == [way, throw, link]


def test_a_rule_of_others_that_equals_ours_is_used_as_it_is() -> None:
    ours = Rule(Family.INET, 22000, Prefix("10.0.1.2/32"), 257, suppress=0)
    theirs = Rule(Family.INET, 22000, Prefix("10.0.1.2/32"), 257, suppress=0, protocol=3)

    assert diff(KernelState(rules=frozenset({ours})), KernelState(), [theirs]) == ()


def test_rules_wait_for_their_table_but_never_leave_an_address_that_has_them() -> None:
    source = Prefix("10.0.1.2/32")
    rules = [
        Rule(Family.INET, 22000, source, 257, suppress=0),
        Rule(Family.INET, 22001, source, MAIN, suppress=1),
        Rule(Family.INET, 22002, source, 257),
        Rule(Family.INET, 22003, source, action=Action.UNREACHABLE),
    ]
    other = Rule(Family.INET, 22002, Prefix("10.0.2.2/32"), 258)
    steps = diff(KernelState(rules=frozenset([*rules, other])), KernelState())
    broken = frozenset({(int(Family.INET), 257)})

    assert {step.what for step in held_back(steps, broken, KernelState())} == set(rules)
    assert not held_back(steps, frozenset(), KernelState())
    assert not held_back(steps, broken, KernelState(rules=frozenset(rules[:1])))
