"""MPTCP: an address to its routing and its endpoint, and how long a connection is silent when its link is lost."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from labkit import SERVER4, Lab, uplinks
from labkit.agent import MEMORY, Agent, eventually
from labkit.series import silence
from labkit.stream import Stream
from mpathd.model.policy import Stored
from mpathd.store import Store

from .events import Player, raised, report, scripts, tell
from .inside import Eyes, Inside
from .peers.endpoints import complete, watched
from .peers.mptcpd import Mptcpd
from .peers.networkmanager import NetworkManagerMptcp
from .stage import Stage
from .stats import number, table

NAME = "mptcp"
UPLINKS, ROUNDS = 8, 6
LINKS = 2  # that MPTCP uses, in both families: the kernel takes 8 endpoints, and each event brings one more
KINDS = ("address added", "address removed")
BAR = "added: median 3 ms"
LOSSES, BEFORE, AFTER = 4, 1.5, 1.5  # losses of a carrier; seconds of the transfer before and after
GAP_UP, GAP_DOWN = "50 ms up", "100 ms down"


def mpathd(stack: ExitStack) -> Player:
    """Raise mpathd's lab: all uplinks are routed, MPTCP uses some.

    Args:
        stack: takes everything down again.
    """
    lab = stack.enter_context(Lab(uplinks(UPLINKS), "bn-mptcp", quiet=True))
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="mpathd-", dir=MEMORY)))
    off = {f"ethernet_02c00000{n:04x}_cable": {"mpath_tcp_link": "off"} for n in range(LINKS + 1, UPLINKS + 1)}
    Store(folder / "state").save(Stored(services=off))
    agent = stack.enter_context(Agent(lab, "client", ["--mpathrouting"], folder=folder))
    inside = stack.enter_context(Inside(lab.ns("client")))
    eyes = Eyes(inside, agent.argv()[3:])
    stage = stack.enter_context(Stage(lab, Mptcpd.quiet))
    eventually(lambda: all(complete(lab, n) for n in range(1, LINKS + 1)), what="endpoints")
    listening = partial(watched, lab, stage.ear)
    return Player("mpathd", KINDS, "", "", UPLINKS, ROUNDS, stage, partial(_right, lab, eyes), listening)


def _right(lab: Lab, eyes: Eyes, uplink: int, _event: object) -> bool:
    return not eyes.missing() and (uplink > LINKS or complete(lab, uplink))


def play(player: Player) -> None:
    """Play a round on the links that MPTCP uses.

    Args:
        player: mpathd.
    """
    with player.listening():
        for uplink, event in scripts(player.kinds, LINKS):
            player.answers.append(player.stage.play(event, f"up{uplink}", partial(player.right, uplink, event)))


def silences(*, hand: bool, download: bool) -> Iterator[float]:
    """Lose the carrier of a primary link in the middle of transfers, a backup beside it; milliseconds without data.

    Args:
        hand: endpoints are set once by hand, and nobody takes them away; else mpathd keeps them.
        download: the server sends, else the client.
    """
    with (
        Lab("bond-2-25mbit", "bn-silence", quiet=True) as lab,
        TemporaryDirectory(prefix="mpathd-", dir=MEMORY) as name,
    ):
        folder = Path(name)
        ids = [f"ethernet_02b00000000{n}_cable" for n in (1, 2)]
        modes = ("off", "off") if hand else ("on", "backup")
        Store(folder / "state").save(
            Stored(services={id: {"mpath_tcp_link": mode} for id, mode in zip(ids, modes, strict=True)})  # noqa: A001
        )
        with Agent(lab, "client", ["--mpathrouting"], folder=folder):
            if hand:
                lab.ip("client", "mptcp endpoint add 10.81.1.2 dev up1 subflow")
                lab.ip("client", "mptcp endpoint add 10.81.2.2 dev up2 subflow backup")
            for _ in range(LOSSES):
                eventually(lambda: _ready(lab), what="two links with endpoints")
                yield _silence(lab, download=download)
                lab.ip("router", "link set isp1 up")


def _ready(lab: Lab) -> bool:
    """Whether both links have an endpoint, and the one that was lost leads to the server again."""
    way = lab.exec("client", ["ip", "route", "get", SERVER4, "from", "10.81.1.2"], check=False).stdout
    return lab.ip("client", "mptcp endpoint").count("10.81.") == 2 and "dev up1" in way


def _silence(lab: Lab, *, download: bool) -> float:
    limit = BEFORE + AFTER + 10
    with Stream(lab, "client", "server", SERVER4, seconds=limit, download=download) as stream:
        time.sleep(BEFORE)
        since = time.monotonic()
        lab.ip("router", "link set isp1 down")
        time.sleep(AFTER)
        until = time.monotonic()
        stream.stop()
    return silence(stream.arrivals, since, until) * 1000


def run() -> None:
    """Print the tables."""
    print(f"{NAME}: address to routing and endpoint, {UPLINKS} uplinks, {LINKS} for MPTCP; milliseconds", flush=True)
    with ExitStack() as stack:
        ours = mpathd(stack)
        absent, others = raised(stack, (Mptcpd(), NetworkManagerMptcp()))
        for _ in range(ROUNDS):
            play(ours)
            for player in others:
                player.round()
    print(report(ours.answers).replace("median 3 ms, p99 10 ms", BAR))
    tell(ours, others, absent)
    print(f"\n{NAME}: silence when the primary link loses its carrier, backup beside it; milliseconds", flush=True)
    rows = []
    for way, bar in (("up", GAP_UP), ("down", GAP_DOWN)):
        found = {hand: list(silences(hand=hand, download=way == "down")) for hand in (False, True)}
        for hand, who in ((False, "mpathd"), (True, "endpoints by hand, the kernel alone")):
            values = sorted(found[hand])
            rows.append([f"{way}: {who}", *(number(v) for v in (values[0], median(values), values[-1])), bar])
    print(table(["", "least", "median", "most", "bar"], rows))
    sys.stdout.flush()
