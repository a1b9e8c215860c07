"""What nft tells of our table is understood, in the words of what was written where they matter, and leads on."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from kernel.conftest import namespace
from kernel.test_nft_encode import ruleset as made
from labkit import netns
from mpathd.kernel.nftables import Nftables
from mpathd.kernel.nftables.library import Library
from mpathd.kernel.nftables.reading import ruleset
from mpathd.model.packet import COUNTS, Chain, Ruleset, Table
from mpathd.plan import nft as words
from mpathd.plan.bridge import bridge
from mpathd.plan.diff import load
from mpathd.plan.packets import SHARED

LIST = "list table inet mpathd"
HEAD = "type route hook output priority mangle; policy accept;"


@pytest.fixture
def library() -> Iterator[Library]:
    """Libnftables in a namespace of its own."""
    with namespace() as name:
        library = netns.in_ns(name, Library)
        yield library
        library.close()


def whole(seed: int) -> Ruleset:
    """A ruleset with all that the plan's have."""
    found = made(random.Random(seed))
    late = {name: Table(*SHARED[name]) for name in ("late4", "late6")}
    output = Chain(("meta mark & 0x7fff0000 @sessions accept", "meta skuid vmap @m_2", "goto s_1"), HEAD)
    return Ruleset({**found.tables, **late}, {**found.chains, "output": output}, found.counters)


def run(library: Library, text: str) -> None:
    assert library.run(text)[1] == ""


def read(library: Library, want: Ruleset) -> Ruleset | None:
    return ruleset(library.run(LIST, stateless=True)[0], want)


@pytest.mark.parametrize("seed", range(6))
def test_names_declarations_and_keys_are_those_that_were_written(library: Library, seed: int) -> None:
    want = whole(seed)
    run(library, words.whole(want))
    run(library, "add set inet mpathd seen_0123 { type mark; }")
    run(library, "add element inet mpathd late4 { 192.0.2.1 . 6 . 7 . 8 }")  # packets do so

    found = read(library, want)

    assert found is not None
    numbers = {"58": "ipv6-icmp", "132": "sctp"}  # nft has names for these; the plan uses them where it may

    def named(one: Table) -> dict[str, str]:
        parts = {key: key.split(" . ") for key in one.elements}
        if "meta l4proto" not in one.type:
            return dict(one.elements)
        return {" . ".join(numbers.get(p, p) for p in parts[key]): value for key, value in one.elements.items()}

    assert {n: (t.kind, t.words(), named(t)) for n, t in found.tables.items()} == {
        n: (t.kind, t.words(), named(t)) for n, t in want.tables.items()
    }
    assert {name: chain.head for name, chain in found.chains.items()} == {n: c.head for n, c in want.chains.items()}
    assert (found.counters, found.digest()) == (want.counters, want.digest())


@pytest.mark.parametrize("seed", range(6))
def test_it_leads_to_anything_else(library: Library, seed: int) -> None:
    have, want = whole(seed), whole(seed + 100)
    run(library, words.whole(have))
    found = read(library, want)
    assert found is not None
    for step in (*bridge(want, found), want):
        run(library, words.changes(step, found))
        found = step
    one = library.run(LIST)[0]

    run(library, words.whole(want))
    parts = (sorted(text.split("\n\n")) for text in (one, library.run(LIST)[0]))
    assert next(parts) == next(parts)


@pytest.mark.parametrize(
    "more",
    [
        "add quota inet mpathd three { over 10 mbytes }",
        "add limit inet mpathd three { rate 10/second; }",
        "add set inet mpathd state_2 { type mark; }",
        "add chain inet mpathd output { policy drop; }",
    ],
)
def test_what_is_not_known_is_not_guessed(library: Library, more: str) -> None:
    want = whole(1)
    run(library, words.whole(want))
    run(library, more)

    assert read(library, want) is None


def test_rules_of_others_go_and_counts_stay(library: Library) -> None:
    want = Ruleset(
        {"sent": Table("set", f"type mark . ifname{COUNTS}", {'0x10000 . "lo"': "o_1_x"})},
        {"output": Chain(("accept",), HEAD)},
    )
    run(library, words.whole(want))
    run(library, 'delete element inet mpathd sent { 0x10000 . "lo" }')
    run(library, 'add element inet mpathd sent { 0x10000 . "lo" counter packets 3 bytes 4 comment "o_1_x" }')
    run(library, "insert rule inet mpathd output counter drop")
    found = read(library, want)
    assert found is not None

    run(library, words.changes(want, found))

    text = library.run(LIST)[0]
    assert "packets 3 bytes 4" in text
    assert "drop" not in text


def test_the_hand_reads_once_and_not_what_was_refused() -> None:
    with namespace() as name:
        netns.in_ns(name, lambda: _reads(netns.in_ns(name, Nftables), netns.in_ns(name, Library)))


def _reads(hand: Nftables, other: Library) -> None:
    want = Ruleset({}, {"output": Chain(("accept",), HEAD)})
    hand.look()
    assert hand.apply(load(want, Ruleset())) == ""
    assert hand.look()[0] == want
    run(other, "add rule inet mpathd output drop")
    assert hand.look() == (None, "?")
    found = hand.read(want)
    assert found is not None
    assert found.chains["output"].rules == ("accept", "drop")
    assert hand.read(want) is found

    wrong = Ruleset({}, {"output": Chain(("nonsense",), HEAD)})
    assert hand.apply(load(wrong, found))
    hand.look()
    assert hand.read(want) is None
    assert hand.apply(load(want, None)) == ""
    assert hand.look()[0] == want
    other.close()
    hand.close()
