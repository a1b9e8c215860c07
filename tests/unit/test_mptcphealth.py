"""Counters that grow are findings, and fade."""

from __future__ import annotations

import re

import pytest

from mpathd.plan.mptcphealth import FADE, Health, begun, findings, watched


def told(now: dict[str, int], before: dict[str, int] | None = None) -> dict[str, str]:
    """Code and text of the findings after counters have grown."""
    start = begun(dict.fromkeys(now, 0) | (before or {}))
    return {one.code: one.text for one in findings(watched(start, now, 1.0))}


@pytest.mark.parametrize(
    ("counters", "code", "words"),
    [
        # As 6.18 counts, seen in a lab. A server without MPTCP, and one that has it switched off:
        ({"MPCapableSYNTX": 4, "MPCapableSYNACKRX": 3, "MPCapableFallbackSYNACK": 1}, "mptcp-fallback", "1 of 4 "),
        ({"MPCapableFallbackSYNACK": 5}, "mptcp-fallback", "5 of 5 "),
        # The option taken out of all but SYNs, at the client and at the server:
        ({"MPCapableSYNACKRX": 1, "MPCapableDataFallback": 1}, "mptcp-stripped", "once "),
        ({"MPCapableSYNRX": 2, "MPCapableFallbackACK": 2}, "mptcp-stripped", "twice "),
        ({"DssFallback": 3, "MPFailRx": 0}, "mptcp-stripped", "3 times "),
        # Data that is changed, with checksums on, at the server and at the client:
        ({"InfiniteMapRx": 1, "DataCsumErr": 1, "MPFailTx": 1, "MPFailRx": 1, "DssFallback": 1}, "mptcp-changed",
         "once "),
        ({"MPJoinSynTx": 1, "InfiniteMapTx": 1, "MPFailTx": 1, "MPFailRx": 1, "MPRstTx": 1}, "mptcp-changed", "once "),
        # SYNs with the option dropped, once and again:
        ({"MPCapableSYNTX": 1, "MPCapableSYNTXDrop": 1, "Blackhole": 1}, "mptcp-dropped", "plain TCP is used for a wh"),
        ({"MPCapableSYNTX": 1, "MPCapableSYNTXDrop": 1, "Blackhole": 0}, "mptcp-dropped", "drops packets with it"),
        # A server whose limits are reached, from its clients and from itself:
        ({"MPJoinSynTx": 3, "MPJoinSynAckRx": 3, "MPRstTx": 2}, "mptcp-refused", "2 of 3 .* allows no more of them$"),
        ({"MPJoinSynRx": 1, "MPJoinRejected": 1}, "mptcp-full", "once "),
        # The option taken out on the way of one link:
        ({"MPJoinSynTx": 1, "MPJoinSynAckRx": 0, "MPRstTx": 1}, "mptcp-refused", "option is taken out on their way"),
        ({"MPJoinNoTokenFound": 1, "MPJoinAckHMacFailure": 1}, "mptcp-astray", "twice "),
    ],
)  # fmt: skip
def test_what_counters_tell(counters: dict[str, int], code: str, words: str) -> None:
    found = told(counters)

    assert list(found) == [code]
    assert re.search(words, found[code]), found[code]


@pytest.mark.parametrize(
    "counters",
    [
        {},
        {"MPCapableSYNTX": 9, "MPCapableSYNACKRX": 9, "MPJoinSynTx": 9, "MPJoinSynAckRx": 9, "RmAddrTx": 3},
        # Connections that are closed hard, with unread data:
        {"MPJoinSynTx": 1, "MPJoinSynAckRx": 1, "MPFastcloseTx": 2, "MPRstTx": 2},
        # Joins that a session forbids, or that a dead link swallows:
        {"MPJoinSynTx": 3, "MPJoinSynAckRx": 1},
        {"MPRstTx": 1},
    ],
)
def test_what_is_no_trouble(counters: dict[str, int]) -> None:
    assert told(counters) == {}


def test_what_was_there_before_does_not_count() -> None:
    before = {"MPCapableFallbackSYNACK": 100, "MPCapableSYNTX": 200}

    assert told(before, before) == {}
    after = {"MPCapableFallbackSYNACK": 101, "MPCapableSYNTX": 202}
    assert told(after, before)["mptcp-fallback"].startswith("1 of 2 connections")


def looks(*steps: tuple[float, int]) -> list[str]:
    """The texts after each look: time, and how often a join was rejected until then."""
    health: Health = begun({"MPJoinRejected": 0})
    out = []
    for now, count in steps:
        health = watched(health, {"MPJoinRejected": count}, now)
        out.append("".join(one.text.partition(" a ")[0] for one in findings(health)))
    return out


def test_it_fades_when_it_stops_growing_and_is_counted_anew() -> None:
    assert looks((10, 0), (20, 2), (30, 3), (29 + FADE, 3), (31 + FADE, 3), (5000, 4)) == [
        "", "twice", "3 times", "3 times", "", "once",
    ]  # fmt: skip


def test_what_grew_while_nobody_looked_is_seen() -> None:
    assert looks((10, 1), (100_000, 3), (100_000 + FADE, 3)) == ["once", "twice", ""]


def test_counters_that_come_go_and_fall() -> None:
    health = watched(begun({}), {"MPJoinRejected": 5}, 1.0)
    assert findings(health) == ()
    health = watched(health, {"MPJoinRejected": 6}, 2.0)
    assert len(findings(health)) == 1
    assert findings(watched(health, {}, 3.0)) == ()
    assert findings(watched(begun({"MPJoinRejected": 5}), {"MPJoinRejected": 0}, 3.0)) == ()
