"""Carrier loss to the session's new default service in the kernel, and to its client's knowing it, beside connmand."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from dbus_next import Variant

from labkit import Lab, LabError, uplinks
from labkit.agent import MEMORY, Agent, Bus, eventually

from .caller import Caller
from .ear import NEWROUTE, NFT, News
from .peers.base import READY, end
from .peers.connman import Connman
from .peers.fetch import Unavailable
from .stage import Answer, Event, Stage
from .stats import cells, ratio, summary, table

NAME = "switch"
UPLINKS, ROUNDS = 8, 30
KERNEL, TOLD = "in the kernel", "its client knows"
BARS = {("mpathd", KERNEL): "3 ms", ("connmand", KERNEL): "above 1x", ("connmand", TOLD): "above 1x"}
NOTIFIER = "/bench"
RTA_OIF, RTA_TABLE = 4, 15
INET, DEV, FAR = 2, "up", "net"


@dataclass(slots=True)
class Player:
    """An agent with one session.

    Args:
        name: as the table calls it.
        lab: where it works.
        stage: on which links lose their carriers.
        caller: the session's client.
        right: whether everything of the session is where it belongs, by the link that it should leave.
        kernel: milliseconds until the session's new default service was in the kernel; None: it never was.
        takes_back: a better link that comes back is taken again.
        times: milliseconds by what is measured.
        wrong: losses after which it was not right.
    """

    name: str
    lab: Lab
    stage: Stage
    caller: Caller
    right: Callable[[str], bool]
    kernel: Callable[[Answer], float | None]
    takes_back: bool
    times: dict[str, list[float]] = field(default_factory=lambda: {KERNEL: [], TOLD: []})
    wrong: int = 0

    @property
    def where(self) -> str:
        """The link that the session leaves by, as its client was told last."""
        return next((said["Interface"] for _, said in reversed(self.caller.told) if said.get("Interface")), "")

    def round(self) -> None:
        """Take away the carrier of the link that the session leaves by, and give it back."""
        dev, before = self.where, len(self.caller.told)
        far = dev.replace(DEV, FAR)
        lost = Event("carrier lost", f"link set {far} down", far=True, running=False)
        answer = self.stage.play(lost, dev, lambda: self.where != dev and self.right(dev))
        self.wrong += not answer.right
        if (took := self.kernel(answer)) is not None:
            self.times[KERNEL].append(took)
        moved = (at for at, said in self.caller.told[before:] if said.get("Interface", dev) not in {"", dev})
        if (at := next(moved, 0)) and answer.began:
            self.times[TOLD].append((at - answer.began) / 1e6)
        back = Event("carrier back", f"link set {far} up", far=True, running=True)
        self.stage.play(back, dev, lambda: not self.takes_back or self.where == dev)


def default_of(news: News) -> tuple[int, int] | None:
    """Table and link of an IPv4 default route that is new; None: it is other news.

    Args:
        news: what was heard.
    """
    if news.kind != NEWROUTE or news.body[0] != INET or news.body[1]:  # rtm_family, rtm_dst_len
        return None
    found, offset = {RTA_TABLE: news.body[4]}, 12
    while offset + 8 <= len(news.body):
        length, kind = struct.unpack_from("=HH", news.body, offset)
        if kind in {RTA_OIF, RTA_TABLE}:
            found[kind] = struct.unpack_from("=I", news.body, offset + 4)[0]
        offset += max(4, (length + 3) & ~3)
    return found[RTA_TABLE], found.get(RTA_OIF, 0)


def mpathd(stack: ExitStack) -> Player:
    """Raise mpathd with one session that may use every uplink.

    Args:
        stack: takes everything down again.
    """
    folder = Path(stack.enter_context(TemporaryDirectory(dir=MEMORY)))
    bus = stack.enter_context(Bus(folder))
    lab = stack.enter_context(Lab(uplinks(UPLINKS), "bn-switch", quiet=True))
    stack.enter_context(Agent(lab, "client", ["--mpathrouting"], bus=bus, folder=folder))
    stage = stack.enter_context(Stage(lab, nft=True))
    caller = stack.enter_context(Caller(bus.address, "net.mpathd"))
    wanted = {"AllowedBearers": Variant("as", ["ethernet"]), "FlowSelectors": Variant("as", ["*-*-tcp-*-443"])}
    path, _ = caller.call("/net/mpathd", "net.mpathd.Manager", "CreateSession", "a{sv}o", wanted, NOTIFIER)
    properties = "org.freedesktop.DBus.Properties"
    mark = caller.call(path, properties, "Get", "ss", "net.mpathd.Session", "Mark")[0].value
    eventually(lambda: caller.told, 10.0, "the session's first Update")

    def right(dev: str) -> bool:
        routes = [lab.ip("client", f"{family} route show table {mark}").split() for family in ("-4", "-6")]
        if not all("default" in words and dev not in words for words in routes):
            return False
        return f'"{dev}"' not in "".join(
            lab.exec("client", ["nft", "list", kind, "inet", "mpathd", f"{name}{family}"]).stdout
            for kind, name in (("set", "ok"), ("map", "nat"))
            for family in (4, 6)
        )

    def kernel(answer: Answer) -> float | None:
        # What comes behind is tidying: rules and routes that nothing uses any more.
        times = [
            news.time
            for news in answer.news
            if news.kind in NFT or ((found := default_of(news)) is not None and found[0] == mark)
        ]
        return (max(times) - answer.began) / 1e6 if times else None

    return Player("mpathd", lab, stage, caller, right, kernel, takes_back=True)


def connmand(stack: ExitStack) -> Player:
    """Raise connmand with one session.

    Args:
        stack: takes everything down again.

    Raises:
        Unavailable: it cannot be had or run here.
    """
    peer = Connman()
    lab = stack.enter_context(Lab(peer.topology(UPLINKS), "bn-switch-c", quiet=True))
    folder = Path(stack.enter_context(TemporaryDirectory()))
    folder.chmod(0o755)
    process = peer.start(lab, folder, stack)
    stack.callback(end, process)
    for uplink in range(1, UPLINKS + 1):
        eventually(partial(peer.right, lab, uplink, "start"), READY, "ready")
    stage = stack.enter_context(Stage(lab, peer.quiet, peer.limit, hidden=True))
    caller = stack.enter_context(Caller(f"unix:path={folder / 'bus'}", "net.connman"))
    wanted = {"AllowedBearers": Variant("as", ["ethernet"]), "SourceIPRule": Variant("b", value=True)}
    path, _ = caller.call("/", "net.connman.Manager", "CreateSession", "a{sv}o", wanted, NOTIFIER)
    caller.call(path, "net.connman.Session", "Connect")
    eventually(lambda: caller.told and caller.told[-1][1].get("Interface"), 10.0, "the session's first Update")
    number_of = {lab.index("client", f"{DEV}{uplink}"): uplink for uplink in range(1, UPLINKS + 1)}

    def kernel(answer: Answer) -> float | None:
        routes = ((news.time, default_of(news)) for news in answer.news)
        times = [at for at, found in routes if found and found[0] not in {254, 255} and found[1] in number_of]
        return (times[-1] - answer.began) / 1e6 if times else None

    return Player("connmand", lab, stage, caller, lambda _dev: True, kernel, takes_back=False)


def run() -> None:
    """Print the table."""
    print(f"{NAME}: the link of a session's default service loses its carrier, {UPLINKS} uplinks; milliseconds")
    absent: list[str] = []
    with ExitStack() as stack:
        players = [mpathd(stack)]
        with ExitStack() as own:
            try:
                players.append(connmand(own))
            except (Unavailable, LabError, OSError) as error:
                absent.append(f"connmand was not run: {' '.join(str(error).split())}")
            else:
                stack.push(own.pop_all())
        for _ in range(ROUNDS):
            for player in players:
                player.round()
    rows = []
    mine = players[0].times
    for player in players:
        for what, times in player.times.items():
            faster = ratio(median(times), median(mine[what])) if times and mine[what] else "-"
            rows.append([f"{player.name}, {what}", *cells(summary(times)), str(player.wrong), faster,
                         BARS.get((player.name, what), "")])  # fmt: skip
    print(table(["", "n", "median", "p90", "p99", "max", "wrong", "mpathd is faster", "bar"], rows))
    for line in absent:
        print(line)
