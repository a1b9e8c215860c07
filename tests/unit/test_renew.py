"""A value anew is what dataclasses.replace makes of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from mpathd.model.policy import Policy
from mpathd.model.renew import renew
from mpathd.model.world import World


@dataclass(frozen=True, slots=True)
class Thing:
    name: str
    size: int = 1
    known: list[str] = field(default_factory=list, init=False, compare=False)
    colour: str = "red"


def test_it_is_what_replace_makes() -> None:
    thing = Thing("a", 2, "blue")
    thing.known.append("digest")

    for changes in ({}, {"name": "b"}, {"colour": "green", "size": 3}):
        fresh = renew(thing, **changes)
        assert fresh == replace(thing, **changes)
        assert fresh.known == []
    assert thing == Thing("a", 2, "blue")


@pytest.mark.parametrize(("value", "changes"), [(World({}), {"gateways": {1: ()}, "digest": "x"}), (Policy(), {})])
def test_of_the_values_of_a_pass_too(value: World | Policy, changes: dict[str, object]) -> None:
    assert renew(value, **changes) == replace(value, **changes)  # type: ignore[arg-type]


def test_a_field_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        renew(Thing("a"), weight=1)
