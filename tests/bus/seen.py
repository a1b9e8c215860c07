"""What is seen of MPTCP in tests of doors: two connections that the test may change."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from mpathd.model.connections import Connection, ConnectionView, Owner, Speed, Subflow, SubflowView
from mpathd.model.sight import USUAL, Age, ConnectionSeen, Sight, SubflowSeen
from mpathd.model.view import Finding
from mpathd.model.words import Address

NEAR, OTHER, FAR = Address("10.0.1.2"), Address("10.0.2.2"), Address("192.0.2.9")
FIRST = Subflow(
    0x7D3A01FF, NEAR, 47920, FAR, 5201, sent=13_000_000, acked=12_582_912, received=2048, retransmitted=1448,
    retransmissions=1, rtt=1250, window=10, mark=0x10000, cookie=101,
)  # fmt: skip
SECOND = replace(
    FIRST, source=OTHER, sport=40001, index=25, local=2, backup=True, joined=True, sent=0, acked=0, received=0,
    retransmitted=0, retransmissions=0, rtt=30_000, cookie=102,
)  # fmt: skip
TRANSFER = ConnectionSeen(
    ConnectionView(
        Connection(
            0x7D3A01FF, NEAR, 47920, FAR, 5201, user=1000, inode=77, subflows=1, subflows_max=8, sent=12_600_000,
            acked=12_582_912, received=2048, mark=0x10000, cookie=7,
        ),
        (SubflowView(FIRST, "ethernet_36e0bdee6014_cable", "vethc1"),
         SubflowView(SECOND, "ethernet_265676f2a6d2_cable", "vethc2")),
        "ethernet_36e0bdee6014_cable",
        "vethc1",
    ),
    "video",
    (Owner(os.getpid(), "iperf3"), Owner(1, "root's own", 0), Owner(2, "a user's", 65534)),
    (
        SubflowSeen(SubflowView(FIRST, "ethernet_36e0bdee6014_cable", "vethc1"), Age(65.0), Speed(24.5e6, 800.0)),
        SubflowSeen(SubflowView(SECOND, "ethernet_265676f2a6d2_cable", "vethc2"), Age(12.0, least=True), Speed(0, 0)),
    ),
    Speed(24.5e6, 800.0),
)  # fmt: skip
FALLEN = ConnectionSeen(
    ConnectionView(
        Connection(0x11, OTHER, 40500, FAR, 80, fallback=True, cookie=8), (), "ethernet_265676f2a6d2_cable", "vethc2"
    ),
    "",
    (),
    (),
)


class Seen:
    """Sees what the test says."""

    def __init__(self) -> None:
        self.backend = "upstream"
        self.missing = ""
        self.sight = Sight((FALLEN, TRANSFER), 2, 0.5)
        self.counts = {"MPCapableSYNTX": 3, "MPJoinSynTx": 1}
        self.asked: list[int] = []

    def counters(self) -> Mapping[str, int]:
        """What the kernel counts."""
        return self.counts

    def findings(self) -> tuple[Finding, ...]:
        """None: the agent in memory has its own."""
        return ()

    async def look(self, most: int = USUAL) -> Sight:
        """Give what the test has put here."""
        self.asked.append(most)
        return replace(self.sight, connections=self.sight.connections[:most])
