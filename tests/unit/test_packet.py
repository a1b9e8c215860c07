"""Sets that are put together of shares are what one set of all elements would be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpathd.model.packet import Chain, Ruleset, Share, Table, differences

BAGS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["", "x", "y"]), max_size=3)
MANY = st.lists(BAGS, max_size=4)
TYPE = ("map", "type mark : verdict")


def _shares(bags: list[dict[str, str]]) -> tuple[Share, ...]:
    filled = ({f"{place} . {key}": value for key, value in bag.items()} for place, bag in enumerate(bags))
    return tuple(Share(bag) for bag in filled if bag)


def _plain(table: Table) -> Table:
    return Table(table.kind, table.type, dict(table.elements))


@given(MANY, MANY, st.data())
def test_differences_are_those_of_all_elements(
    old: list[dict[str, str]], new: list[dict[str, str]], data: st.DataObject
) -> None:
    before, after = Table.of(*TYPE, _shares(old)), Table.of(*TYPE, _shares(new))
    kept = tuple(
        data.draw(st.sampled_from([share, *(same for same in before.shares if same == share)]))
        for share in after.shares
    )
    after = Table.of(*TYPE, kept)

    assert differences(before, after) == differences(_plain(before), _plain(after))
    assert (before == after) == (_plain(before) == _plain(after))
    assert after == _plain(after)


@given(MANY, MANY)
def test_digests_tell_contents_apart(old: list[dict[str, str]], new: list[dict[str, str]]) -> None:
    before, after = Table.of(*TYPE, _shares(old)), Table.of(*TYPE, _shares(new))

    assert (before.digest() == after.digest()) == (before == after)
    one, other = (Ruleset({"t": table}, {"c": Chain(("accept",))}) for table in (before, after))
    assert (one.digest() == other.digest()) == (before == after)


def test_a_rulesets_digest_knows_where_things_stand() -> None:
    rule = Chain(("accept",))
    sets = [
        Ruleset({}, {"a": rule}),
        Ruleset({}, {"b": rule}),
        Ruleset({}, {"a": rule, "b": rule}),
        Ruleset({}, {"a": Chain(("accept", "accept"))}),
        Ruleset({}, {"a": Chain(("accept",), "type filter hook output priority 0;")}),
        Ruleset({"a": Table("set", "type mark")}, {"a": rule}),
        Ruleset({"a": Table("set", "type mark", {"0x1": ""})}, {"a": rule}),
        Ruleset({"a": Table("set", "type mark", interval=True)}, {"a": rule}),
    ]

    assert len({made.digest() for made in sets}) == len(sets)
