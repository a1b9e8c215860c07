"""What the ear hears: what others do, and nothing of our own."""

from __future__ import annotations

import select

import pytest

from kernel.conftest import fresh_name
from labkit import Lab, uplinks
from labkit.netns import in_ns
from mpathd.kernel.rtnetlink import Hand, Watch
from mpathd.model.routing import Rule, Step, Verb
from mpathd.model.words import Family

pytestmark = pytest.mark.kernel


def test_our_own_writes_do_not_even_wake_us() -> None:
    with Lab(uplinks(1), fresh_name(), quiet=True) as lab:
        hand = in_ns(lab.ns("client"), Hand)
        ear = in_ns(lab.ns("client"), lambda: Watch(hand.port))
        everybody = in_ns(lab.ns("client"), Watch)
        rules = [Rule(Family.INET, 30_000 + n, None, 300) for n in range(100)]
        try:
            assert len(hand.apply([Step(Verb.ADD, rule) for rule in rules]).done) == len(rules)

            assert select.select([ear, everybody], [], [], 0)[0] == [everybody]
            lab.ip("client", "rule add pref 40000 lookup 300")
            assert select.select([ear], [], [], 5)[0] == [ear]
            assert ear.drain() == {"rule"}
        finally:
            for one in (ear, everybody, hand):
                one.close()
