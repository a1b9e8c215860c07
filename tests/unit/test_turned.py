"""Whose connections are forgotten, and whose session has ended: the last words of what goes on are still refused."""

from __future__ import annotations

import pytest

from mpathd.model.numbers import Numbers
from mpathd.model.packet import Chain, Connections, Ruleset, Table
from mpathd.plan.diff import turned

MASK = Numbers().mark_mask


def table(sessions: dict[str, int]) -> Ruleset:
    """A table with sessions: mark to birth."""
    sets = {
        "sessions": Table("set", "type mark", dict.fromkeys(sessions, "")),
        "dropped": Table("map", "type mark : counter", {mark: f'"d_{born}"' for mark, born in sessions.items()}),
    }
    return Ruleset(sets, {"marked": Chain(("accept",))})


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        ({"0x10000": 1}, {"0x10000": 1}, []),
        ({"0x10000": 1}, {}, [Connections(0x10000, MASK, ended=True)]),
        ({"0x10000": 1, "0x20000": 2}, {"0x20000": 2}, [Connections(0x10000, MASK, ended=True)]),
        ({"0x10000": 1}, {"0x30000": 1}, [Connections(0x10000, MASK, ended=False)]),  # its number is another one's
        ({"0x10000": 1}, {"0x30000": 2}, [Connections(0x10000, MASK, ended=True)]),
        (
            {"0x10000": 1, "0x20000": 2},
            {"0x30000": 1},
            [Connections(0x10000, MASK, ended=False), Connections(0x20000, MASK, ended=True)],
        ),
    ],
)
def test_a_session_that_goes_on_under_another_mark_has_not_ended(
    before: dict[str, int], after: dict[str, int], gone: list[Connections]
) -> None:
    assert [step.what for step in turned(table(after), table(before), Numbers())] == gone
