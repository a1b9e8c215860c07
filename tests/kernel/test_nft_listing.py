"""What our hand reads from nft by itself is what nft says, and changes only when somebody changes the table."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from socket import AF_INET, AF_INET6, inet_pton
from typing import Any, TypeVar

import pytest

from kernel.conftest import namespace
from labkit import netns
from mpathd.kernel.nftables import Nftables, late
from mpathd.kernel.nftables.listing import Listing, counters, listing
from mpathd.kernel.nftables.netlink import Netfilter
from mpathd.model.packet import Chain, Ruleset, Table
from mpathd.plan.diff import load
from mpathd.plan.packets import LATE

T = TypeVar("T")
OURS = """
table inet mpathd {
    counter one { packets 3 bytes 4
    }
    counter two { packets 18446744073709551615 bytes 5
    }
    quota three { over 10 mbytes
    }
    set state_0123456789abcdef { type mark
    }
    map m_u { type uid : verdict
        elements = { 1 : goto s_1 }
    }
    set sent { type mark . ifname
        counter
        elements = { 0x10000 . "lo" counter packets 9 bytes 10 comment "o_1_cable", 0x20000 . "lo" comment "o_2_cable",
                     0x30000 . "lo" counter packets 18446744073709551615 bytes 11 comment "o_3_ü" }
    }
    set silent { type mark
        elements = { 0x10000 comment "counter" }
    }
    chain s_1 {
        counter packets 7 bytes 8 accept
    }
    chain output { type route hook output priority mangle; policy accept;
        meta skuid vmap @m_u
    }
}
table inet other {
    counter one { packets 1 bytes 1
    }
    chain output { type filter hook output priority 0; policy accept;
    }
}
"""


@pytest.fixture
def space() -> Iterator[str]:
    """A network namespace of its own with our table, and one of others."""
    with namespace() as name:
        nft(name, OURS)
        yield name


def nft(space: str, text: str) -> None:
    """Let nft do something there."""
    subprocess.run(["ip", "netns", "exec", space, "nft", "-f", "-"], input=text, text=True, check=True)


def asked(space: str, ask: Callable[[Netfilter], T]) -> T:
    """Ask by a socket that has not been used yet."""

    def work() -> T:
        netfilter = Netfilter()
        try:
            return ask(netfilter)
        finally:
            netfilter.close()

    return netns.in_ns(space, work)


def read(space: str) -> Listing | None:
    return asked(space, lambda netfilter: listing(netfilter, "mpathd"))


def test_counters_are_what_nft_says(space: str) -> None:
    argv = ["ip", "netns", "exec", space, "nft", "list", "counters", "table", "inet", "mpathd"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    wanted = {m[1]: (int(m[2]), int(m[3])) for m in re.finditer(r"counter (\S+) \{\s+packets (\d+) bytes (\d+)", said)}

    assert wanted == {"one": (3, 4), "two": (2**64 - 1, 5)}
    wanted |= {"o_1_cable": (9, 10), "o_2_cable": (0, 0), "o_3_ü": (2**64 - 1, 11)}
    assert asked(space, lambda netfilter: counters(netfilter, "mpathd")) == wanted
    assert asked(space, lambda netfilter: counters(netfilter, "none")) == {}


def test_a_table_that_is_not_there_is_none(space: str) -> None:
    assert asked(space, lambda netfilter: listing(netfilter, "none")) is None


@pytest.mark.parametrize(
    "text",
    [
        "add rule inet mpathd s_1 accept",
        "flush chain inet mpathd s_1",
        "add chain inet mpathd more",
        "add set inet mpathd more { type mark; }",
        "chain inet mpathd output { policy drop; }",
    ],
)
def test_what_somebody_changes_is_seen(space: str, text: str) -> None:
    before = read(space)
    assert before is not None

    nft(space, text)

    assert read(space) != before


@pytest.mark.parametrize(
    "text",
    [
        "reset counters table inet mpathd",
        "add element inet mpathd m_u { 2 : goto s_1 }",
        "add chain inet other more",
        "chain inet other output { policy drop; }",
        "add table inet third",
    ],
)
def test_what_counts_and_what_is_not_ours_is_not(space: str, text: str) -> None:
    before = read(space)
    assert before is not None
    assert before.sets == {"state_0123456789abcdef", "m_u", "sent", "silent"}

    nft(space, text)

    assert read(space) == before


def test_a_sealed_table_is_intact_until_it_is_changed(space: str) -> None:
    before = read(space)
    assert before is not None
    assert not before.intact

    nft(space, f"add set inet mpathd {before.wanted_seal} {{ type mark; }}")
    sealed = read(space)
    nft(space, "add rule inet mpathd s_1 accept")
    after = read(space)

    assert sealed == before.sealed
    assert sealed is not None
    assert sealed.intact
    assert after is not None
    assert not after.intact


def test_a_fresh_hand_reads_counters_first(space: str) -> None:
    hand = netns.in_ns(space, Nftables)

    assert netns.in_ns(space, hand.counters)["one"] == (3, 4)
    hand.close()


def test_what_packets_have_put_into_a_set_outlives_a_table_made_anew(space: str) -> None:
    """By it the last words of closed sockets are known, which no selector knows: they are refused, and do not leak."""
    late = Table("set", f"type ipv6_addr . inet_proto . inet_service . inet_service; {LATE}")
    want = Ruleset({"late6": late, "empty": late}, {"one": Chain(("accept",))})
    due = load(want, None)
    hand = netns.in_ns(space, Nftables)
    try:
        assert netns.in_ns(space, lambda: (hand.look(), hand.apply(due))[1]) == ""
        nft(space, "add element inet mpathd late6 { 2001:db8::9 . tcp . 443 . 50000, 2001:db8::9 . udp . 53 . 50001 }")

        assert netns.in_ns(space, lambda: hand.apply(due)) == ""
        assert netns.in_ns(space, lambda: hand.apply(due)) == ""
    finally:
        hand.close()

    argv = ["ip", "netns", "exec", space, "nft", "-nn", "list", "set", "inet", "mpathd", "late6"]
    there = " ".join(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split())
    assert "2001:db8::9 . 6 . 443 . 50000" in there
    assert "2001:db8::9 . 17 . 53 . 50001" in there


def test_what_an_ended_session_has_sent_is_not_late(space: str) -> None:
    sets = {
        f"late{bits}": Table("set", f"type ipv{bits}_addr . inet_proto . inet_service . inet_service; {LATE}")
        for bits in (4, 6)
    }
    want = Ruleset(sets, {"one": Chain(("accept",))})
    hand = netns.in_ns(space, Nftables)
    netfilter = netns.in_ns(space, Netfilter)
    places = {"late4": inet_pton(AF_INET, "192.0.2.7"), "late6": inet_pton(AF_INET6, "2001:db8::7")}
    every = {where + struct.pack(">BxxxHxxHxx", 17, port, 9) for where in places.values() for port in range(1, 4001, 2)}
    keys = frozenset(every)
    try:
        hand.look()
        assert netns.in_ns(space, lambda: hand.apply(load(want, None))) == ""
        for name, address in (("late4", "192.0.2.7"), ("late6", "2001:db8::7")):
            said = (f"{address} . udp . {port} . 9" for port in range(1, 3001))
            nft(space, f"add element inet mpathd {name} {{ {', '.join(said)} }}")
        before = netfilter.generation()

        assert late.forget(netfilter, keys) == before + 1 == netfilter.generation()
        assert late.forget(netfilter, keys) == -1
        assert late.forget(netfilter, frozenset()) == -1
        assert netfilter.generation() == before + 1
    finally:
        hand.close()
        netfilter.close()

    argv = ["ip", "netns", "exec", space, "nft", "-nn", "list", "table", "inet", "mpathd"]
    after = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    left = [int(port) for port in re.findall(r" \. 17 \. (\d+) \. 9", after)]
    assert sorted(left) == sorted(2 * list(range(2, 3001, 2)))


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("add table inet third", True),
        ("add rule inet other output accept", True),
        ("add rule inet mpathd s_1 accept", False),
        ("add element inet mpathd marks { 0x2 }", False),
        ("flush set inet mpathd marks", False),
        ("delete table inet mpathd", False),
    ],
)
def test_what_others_write_right_behind_us_is_told_apart(space: str, text: str, ours: bool) -> None:
    """There is no listing of what we wrote yet."""
    want = Ruleset({"marks": Table("set", "type mark", {"0x1": ""})}, {"s_1": Chain(("accept",))})
    hand = netns.in_ns(space, Nftables)
    try:
        hand.look()
        assert netns.in_ns(space, lambda: hand.apply(load(want, None))) == ""
        assert hand.unsealed
        assert hand.look() == (want, want.digest())
        nft(space, text)
        assert (hand.look()[0] is want) is ours
        assert hand.unsealed is ours
    finally:
        hand.close()


@pytest.mark.parametrize(
    ("text", "found"), [("flush ruleset", (Ruleset(), "")), ("flush chain inet mpathd s_1", (None, "?"))]
)
def test_after_a_write_that_was_refused_it_is_known_whether_there_is_a_table(
    space: str, text: str, found: tuple[Ruleset | None, str]
) -> None:
    """Without one conntrack is to be told who opened the connections that there are, before the table comes again."""
    have = Ruleset({"marks": Table("set", "type mark", {"0x1": ""})}, {"s_1": Chain(("accept",))})
    want = Ruleset({}, {"s_1": Chain(("accept",))})
    hand = netns.in_ns(space, Nftables)
    try:
        hand.look()
        assert netns.in_ns(space, lambda: hand.apply(load(have, None))) == ""
        nft(space, text)
        bad = replace(load(want, have), texts=("delete chain inet mpathd nowhere\n",))
        assert netns.in_ns(space, lambda: hand.apply(bad)) != ""
        assert hand.look() == found
    finally:
        hand.close()


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("delete table inet mpathd", False),
        ("add rule inet mpathd s_1 accept", False),
        ("add element inet mpathd marks { 0x2 }", False),
        ("add table inet third", True),
    ],
)
def test_what_others_write_while_we_seal_is_told_apart(
    space: str, text: str, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they changed is not sealed: a restart would take it for what we left. What is not about us is no harm."""
    want = Ruleset({"marks": Table("set", "type mark", {"0x1": ""})}, {"s_1": Chain(("accept",))})
    hand = netns.in_ns(space, Nftables)

    def listed(*args: Any) -> Listing | None:
        found = listing(*args)
        nft(space, text)
        return found

    try:
        hand.look()
        assert netns.in_ns(space, lambda: hand.apply(load(want, None))) == ""
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr("mpathd.kernel.nftables.hand.listing", listed)
            netns.in_ns(space, hand.seal)
        found = read(space)
        assert found is None or not found.seal
        assert (hand.look()[0] is want) is ours
        assert hand.unsealed is ours
        hand.seal()
        found = read(space)
        assert (found is not None and found.intact) is ours
        assert (hand.look()[0] is want) is ours
    finally:
        hand.close()
