"""Small changes to our table, as messages of our own: the kernel holds afterwards what libnftables would have made."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, TypeVar

import pytest

from kernel.conftest import namespace
from labkit import netns
from mpathd.kernel.nftables import Nftables
from mpathd.kernel.nftables.encode import messages
from mpathd.kernel.nftables.library import Library
from mpathd.kernel.nftables.netlink import Netfilter
from mpathd.model.packet import COUNTS, Chain, Ruleset, Table
from mpathd.plan import nft as words
from mpathd.plan.diff import load
from mpathd.plan.packets import LATE, SHARED

T = TypeVar("T")
NUMBERS = range(1, 6)  # sessions
MARKS = [f"{number << 16:#x}" for number in NUMBERS]
LINKS = ['"up1"', '"wwan0"', '"a,b"', '"twelve.12345"']
FOUR, SIX = ["10.64.1.2", "192.0.2.255"], ["fd00:64:1::2", "2001:db8::a:b", "::ffff:10.0.0.1"]
POOLS = {
    "mark": MARKS,
    "ifname": LINKS,
    "ipv4_addr": FOUR,
    "ipv6_addr": SIX,
    "ip daddr": FOUR,
    "ip6 saddr": SIX,
    "meta l4proto": ["tcp", "udp", "58", "132"],
    "th sport": ["1", "50000"],
    "th dport": ["443", "65535"],
    "meta skuid": ["0", "1000", "4294967294"],
    "meta skgid": ["100"],
}
SPANS = {
    "ip daddr": ["10.0.0.0/8", "192.0.2.1", "192.0.2.64-192.0.2.70"],
    "ip6 saddr": ["fd00::/64", "2001:db8::1-2001:db8::9", "fe80::1"],
    "meta l4proto": ["tcp", "udp", "58"],
    "th dport": ["80-90", "443", "1000-65535"],
}
SHAPES = ("meta l4proto", "th dport", "meta skuid", "meta l4proto . th sport", "meta skuid . ip daddr . th dport")
WIDE = ("ip daddr . meta l4proto", "ip6 saddr . meta l4proto . th dport", "meta l4proto . th dport")
VERDICTS = [f"goto s_{number}" for number in NUMBERS]
VALUES = {"verdict": VERDICTS, "counter": [f'"d_{number}"' for number in NUMBERS], "ipv4_addr": FOUR, "ipv6_addr": SIX}


def keys(parts: str, pools: Mapping[str, list[str]]) -> list[str]:
    return [" . ".join(key) for key in product(*(pools[part] for part in parts.split(" . ")))]


def table(kind: str, type_: str, chance: random.Random) -> Table:
    """One with some elements."""
    parts, _, value = type_.removeprefix("type ").removesuffix(COUNTS).partition(" : ")
    every = keys(parts, POOLS)
    some = chance.sample(every, chance.randint(0, min(len(every), 6)))
    if value:
        return Table(kind, type_, {key: chance.choice(VALUES[value]) for key in some})
    comments = type_.endswith(COUNTS)
    return Table(kind, type_, {key: f"o_{place}_kabel_ü" if comments else "" for place, key in enumerate(some)})


def marks(number: int, where: str) -> str:
    both = (f"{what} set {what} & 0x8000ffff | {number << 16:#x}" for what in ("meta mark", "ct mark"))
    return f"{' '.join(both)} goto {where}"


def ruleset(chance: random.Random) -> Ruleset:
    """A ruleset as the plan makes them: shared sets, maps of selectors, and a chain for each session."""
    tables = {name: table(*SHARED[name], chance) for name in SHARED if LATE not in SHARED[name][1]}
    tables["uplinks"] = Table("set", "type ifname", dict.fromkeys(chance.sample(LINKS, 2), ""))
    for place, shape in enumerate(SHAPES):
        some = chance.sample(every := keys(shape, POOLS), chance.randint(0, min(len(every), 4)))
        verdicts = {key: chance.choice(VERDICTS) for key in some}
        tables[f"m_{place}"] = Table("map", f"typeof {shape} : verdict", verdicts)
    for place, shape in enumerate(WIDE):
        some = chance.sample(every := keys(shape, SPANS), chance.randint(0, min(len(every), 4)))
        verdicts = {key: chance.choice(VERDICTS) for key in some}
        tables[f"m_{place}_1"] = Table("map", f"typeof {shape} : verdict", verdicts, interval=True)
    marking = {f"s_{number}": Chain((marks(number, chance.choice(["marked", "untranslated"])),)) for number in NUMBERS}
    shared = {"marked": Chain(("accept",)), "untranslated": Chain(("accept",))}
    return Ruleset(tables, {**shared, **marking}, frozenset(f"d_{number}" for number in NUMBERS))


def lessened(whole: Ruleset, chance: random.Random) -> Ruleset:
    """The same without a session that nothing refers to."""
    gone = chance.choice(NUMBERS)
    chains = {name: chain for name, chain in whole.chains.items() if name != f"s_{gone}"}
    values = {f"goto s_{gone}", f'"d_{gone}"'}
    tables = {
        name: replace(one, elements={key: value for key, value in one.elements.items() if value not in values})
        for name, one in whole.tables.items()
    }
    return Ruleset(tables, chains, whole.counters - {f"d_{gone}"})


@pytest.fixture
def spaces() -> Iterator[tuple[str, str]]:
    """Two network namespaces."""
    with namespace() as one, namespace() as other:
        yield one, other


@pytest.mark.parametrize("seed", range(4))
def test_the_kernel_holds_what_libnftables_would_have_made(spaces: tuple[str, str], seed: int) -> None:
    chance = random.Random(seed)
    theirs, ours = (netns.in_ns(space, Library) for space in spaces)
    netfilter = netns.in_ns(spaces[1], Netfilter)
    have, said = ruleset(chance), 0
    for library in (theirs, ours):
        assert library.run(words.whole(have))[1] == ""
    for turn in range(40):
        want = lessened(have, chance) if turn % 3 == 2 else ruleset(chance)
        text = words.changes(want, have)
        parts = messages(text, {**have.tables, **want.tables})
        assert parts, text
        said += len(parts)

        assert theirs.run(text)[1] == ""
        assert netfilter.batch(netfilter.generation(), parts) == 0, text

        one, other = (library.run("list table inet mpathd")[0] for library in (theirs, ours))
        assert one == other
        have = want
    assert said > 400
    for thing in (theirs, ours, netfilter):
        thing.close()


def test_all_of_it_is_done_or_nothing(spaces: tuple[str, str]) -> None:
    have = Ruleset({"marks": Table("set", "type mark", {"0x1": ""})}, {"s_1": Chain(("accept",))})
    library, netfilter = netns.in_ns(spaces[0], Library), netns.in_ns(spaces[0], Netfilter)
    assert library.run(words.whole(have))[1] == ""
    before = library.run("list table inet mpathd")[0]
    text = "add element inet mpathd marks { 0x2 }\ndelete chain inet mpathd nowhere\nadd chain inet mpathd last\n"
    parts = messages(text, have.tables)
    assert parts

    assert netfilter.batch(netfilter.generation(), parts) == 2  # ENOENT
    assert library.run("list table inet mpathd")[0] == before

    good = messages("add element inet mpathd marks { 0x2 }\n", have.tables)
    assert good
    assert netfilter.batch(netfilter.generation() - 1, good) == 85  # ERESTART: somebody else was faster
    assert library.run("list table inet mpathd")[0] == before
    assert netfilter.batch(netfilter.generation(), good) == 0
    library.close()
    netfilter.close()


SETS = {
    "marks": Table("set", "type mark"),
    "links": Table("set", "type ifname"),
    "ports": Table("map", "typeof th dport : verdict", interval=True),
    "users": Table("map", "typeof meta skuid . ip daddr : verdict", interval=True),
    "late": Table("set", f"type ipv4_addr . inet_proto . inet_service . inet_service; {LATE}"),
    "odd": Table("set", "type ether_addr"),
    "sent": Table("set", "type mark . ifname" + COUNTS),
    "dropped": Table("map", "type mark : counter"),
    "wide": Table("map", "typeof ip daddr . th dport : verdict", interval=True),
}


@pytest.mark.parametrize(
    "line",
    [
        "add table inet mpathd",
        "add chain inet mpathd x { type filter hook output priority 0; policy accept; }",
        "add rule inet mpathd x accept",
        "add rule inet mpathd x meta mark set meta mark & 0x1 | 0x2 accept",
        "add set inet mpathd x { type ifname; }",
        "add map inet mpathd x { type mark : verdict; }",
        "add element inet other marks { 0x1 }",
        "add element inet mpathd nowhere { 0x1 }",
        "add element inet mpathd marks { 0x1",
        "add element inet mpathd marks { 0x1 . 0x2 }",
        "add element inet mpathd marks { 0x100000000 }",
        "add element inet mpathd marks { one }",
        "add element inet mpathd marks { 010 }",  # eight
        "add element inet mpathd marks { 1_0 }",
        "add element inet mpathd marks { +1 }",
        "add element inet mpathd marks { 0x1 : goto x }",
        'add element inet mpathd sent { 0x1 . "" }',
        'add element inet mpathd sent { 0x1 . "lo" comment "a"b" }',
        'add element inet mpathd sent { 0x1 . "lo" comment bare }',
        f'add element inet mpathd sent {{ 0x1 . "lo" comment "{129 * "x"}" }}',
        'add element inet mpathd dropped { 0x1 : "d_1" comment "x" }',
        "add element inet mpathd wide { 10.0.0.1/8 . 1 : goto x }",  # nft takes the bits behind the prefix away
        "add element inet mpathd wide { 10.0.0.0/8 . 80/31 : goto x }",
        'add element inet mpathd links { "all*" }',
        'add element inet mpathd links { "all\\*" }',
        'add element inet mpathd links { "sixteen.letters." }',
        "add element inet mpathd links { bare }",
        "add element inet mpathd ports { 80-90 : goto x }",
        "add element inet mpathd users { 1000 . 10.0.0.0/8 : goto x }",
        "add element inet mpathd late { 10.0.0.1 . tcp . 1 . 2 }",
        "add element inet mpathd odd { 02:00:00:00:00:01 }",
        "list table inet mpathd",
        "add element inet mpathd marks { " + ", ".join(f"{n:#x}" for n in range(5000)) + " }",
    ],
)
def test_what_is_not_understood_is_left_to_libnftables(line: str) -> None:
    assert messages(f"add chain inet mpathd y\n{line}\n", SETS) is None


def test_marks_are_read_as_nft_reads_them() -> None:
    decimal, other = (messages(f"add element inet mpathd marks {{ {mark} }}", SETS) for mark in ("16", "0x10"))
    assert decimal == other
    assert decimal is not None


def test_small_changes_need_no_library(spaces: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    have = Ruleset({"marks": Table("set", "type mark", {"0x1": ""})}, {"s_1": Chain(("accept",))})
    want = replace(have, tables={"marks": Table("set", "type mark", {"0x2": ""})})
    hand = netns.in_ns(spaces[0], Nftables)
    try:
        hand.look()
        assert netns.in_ns(spaces[0], lambda: hand.apply(load(have, None))) == ""
        netns.in_ns(spaces[0], hand.seal)
        monkeypatch.setattr(Library, "run", lambda *_: ("", "the library was asked"))

        due = load(want, have)
        assert hand.apply(due) == ""
        assert hand.look() == (want, want.digest())
        hand.seal()
        assert not hand.unsealed
        assert hand.look() == (want, want.digest())
        # What is refused has the library's words, and so has a kernel that tells of no generation.
        with monkeypatch.context() as without:
            without.setattr(Netfilter, "generation", lambda _: -1)
            assert hand.apply(due) == "the library was asked"
        assert hand.apply(due) == "the library was asked"
    finally:
        monkeypatch.undo()
        hand.close()


@pytest.mark.parametrize(("text", "ours"), [("add table inet third", True), ("add rule inet mpathd s_1 accept", False)])
def test_what_others_write_right_behind_a_small_change(
    spaces: tuple[str, str], text: str, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    have = Ruleset({"marks": Table("set", "type mark", {"0x1": ""})}, {"s_1": Chain(("accept",))})
    want = replace(have, tables={"marks": Table("set", "type mark", {"0x2": ""})})
    hand, batch = netns.in_ns(spaces[0], Nftables), Netfilter.batch

    def written(netfilter: Netfilter, *args: Any) -> int:
        number = batch(netfilter, *args)
        subprocess.run(["ip", "netns", "exec", spaces[0], "nft", text], check=True)
        return number

    try:
        hand.look()
        assert netns.in_ns(spaces[0], lambda: hand.apply(load(have, None))) == ""
        monkeypatch.setattr(Netfilter, "batch", written)
        assert hand.apply(load(want, have)) == ""
        monkeypatch.undo()
        assert (hand.look()[0] is want) is ours
    finally:
        hand.close()
