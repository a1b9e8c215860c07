"""Event to everything written, with 8 uplinks in both families, beside others that do a comparable job."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from labkit import Lab, LabError, uplinks
from labkit.agent import Agent, eventually

from .inside import Eyes, Inside
from .peers import PEERS
from .peers.base import READY, Peer, end
from .peers.fetch import Unavailable
from .stage import Answer, Event, Stage
from .stats import cells, number, ratio, summary, table

NAME = "events"
UPLINKS, ROUNDS = 8, 6  # every uplink gets every event this often; the players take turns round by round
BAR = "median 3 ms, p99 10 ms"


def script(uplink: int, metric: int) -> Iterator[Event]:
    """What happens to one uplink; in the end it is as before.

    Args:
        uplink: its number, as `labkit.uplinks` counts.
        metric: of its default routes.
    """
    dev, peer = f"up{uplink}", f"net{uplink}"
    net4, net6 = f"10.{64 + (uplink >> 8)}.{uplink & 255}", f"fd00:64:{uplink:x}:"
    four, six = f"default via {net4}.1 dev {dev} metric {metric}", f"default via {net6}:1 dev {dev} metric {metric}"
    other4, other6 = four.replace(f"{net4}.1", f"{net4}.3"), six.replace(f"{net6}:1", f"{net6}:3")
    yield Event("address added", f"addr add {net4}.7/24 dev {dev}")
    yield Event("address added", f"addr add {net6}:7/64 dev {dev}")
    yield Event("address removed", f"addr del {net4}.7/24 dev {dev}")
    yield Event("address removed", f"addr del {net6}:7/64 dev {dev}")
    yield Event("gateway changed", f"route replace {other4}")
    yield Event("gateway changed", f"route replace {other6}")
    yield Event("gateway changed", f"route replace {four}")
    yield Event("gateway changed", f"route replace {six}")
    yield Event("default removed", f"route del {four}")
    yield Event("default removed", f"route del {six}")
    yield Event("default added", f"route add {four}")
    yield Event("default added", f"route add {six}")
    yield Event("carrier lost", f"link set {peer} down", far=True, running=False)
    yield Event("carrier back", f"link set {peer} up", far=True, running=True)
    yield Event("link down", f"link set {dev} down", running=False)
    yield Event("link up", f"link set {dev} up", running=True)
    yield Event("after link up", f"addr add {net6}:2/64 dev {dev}")  # the kernel took it with the link
    yield Event("after link up", f"route add {four}")
    yield Event("after link up", f"route add {six}")


def scripts(kinds: tuple[str, ...] = (), count: int = UPLINKS) -> Iterator[tuple[int, Event]]:
    """One round: all events of all uplinks, which take turns event by event.

    Args:
        kinds: only these; all if there are none.
        count: number of uplinks.
    """
    everyone = [list(script(uplink, 100 + uplink)) for uplink in range(1, count + 1)]
    for together in zip(*everyone, strict=True):
        for uplink, event in enumerate(together, 1):
            if not kinds or event.kind in kinds:
                yield uplink, event


@dataclass(slots=True)
class Player:
    """mpathd or a peer on its stage.

    Args:
        name: as the tables call it.
        kinds: the events that it answers; all if there are none.
        does: what it writes.
        bar: what mpathd's speed over its should be.
        uplinks: number of them.
        rounds: how many it plays.
        stage: where it plays.
        right: whether everything of an uplink is in place after an event.
        listening: entered while it plays.
        only4: it is spared events of IPv6.
        answers: so far.
    """

    name: str
    kinds: tuple[str, ...]
    does: str
    bar: str
    uplinks: int
    rounds: int
    stage: Stage
    right: Callable[[int, Event], bool]
    listening: Callable[[], AbstractContextManager[None]] = nullcontext
    only4: bool = False
    answers: list[Answer] = field(default_factory=list)

    def round(self) -> None:
        """Play one round."""
        with self.listening():
            for uplink, event in scripts(self.kinds, self.uplinks):
                if self.only4 and ":" in event.line:
                    continue
                right = partial(self.right, uplink, event)
                self.answers.append(self.stage.play(event, f"up{uplink}", right))


def mpathd(stack: ExitStack) -> Player:
    """Raise mpathd's lab.

    Args:
        stack: takes everything down again.
    """
    lab = stack.enter_context(Lab(uplinks(UPLINKS), "bn-events", quiet=True))
    agent = stack.enter_context(Agent(lab, "client", ["--mpathrouting"]))
    inside = stack.enter_context(Inside(lab.ns("client")))
    eyes = Eyes(inside, agent.argv()[3:])
    stage = stack.enter_context(Stage(lab))
    return Player("mpathd", (), "", "", UPLINKS, ROUNDS, stage, lambda _uplink, _event: not eyes.missing())


def beside(peer: Peer, stack: ExitStack) -> Player:
    """Raise a peer's lab.

    Args:
        peer: the peer.
        stack: takes everything down again.

    Raises:
        Unavailable: it cannot be had or run here.
    """
    lab = stack.enter_context(Lab(peer.topology(peer.uplinks), f"bn-{peer.name}", quiet=True))
    folder = Path(stack.enter_context(TemporaryDirectory()))
    folder.chmod(0o755)
    process = peer.start(lab, folder, stack)
    stack.callback(end, process)
    try:
        for uplink in range(1, peer.uplinks + 1):
            eventually(partial(peer.right, lab, uplink, "start"), READY, "ready")
    except LabError:
        said = (folder / "log").read_text(errors="replace").strip().splitlines()
        raise Unavailable(f"it did not configure its uplinks within {READY:.0f} s: {' | '.join(said[-3:])}") from None
    stage = stack.enter_context(Stage(lab, peer.quiet, peer.limit, hidden=peer.hidden, acts=peer.acts))

    def right(uplink: int, event: Event) -> bool:
        return peer.right(lab, uplink, event.kind)

    listening = partial(peer.listening, lab, stage.ear)
    told = peer.name, peer.kinds, peer.does, peer.bar, peer.uplinks, peer.rounds
    return Player(*told, stage, right, listening, peer.only4)


def raised(stack: ExitStack, peers: Sequence[Peer]) -> tuple[list[str], list[Player]]:
    """Raise the labs of those peers that can be run here, and say why others cannot.

    Args:
        stack: takes everything down again.
        peers: who is wanted.
    """
    absent: list[str] = []
    players: list[Player] = []
    for peer in peers:
        with ExitStack() as own:
            try:
                players.append(beside(peer, own))
            except (Unavailable, LabError, OSError) as error:
                absent.append(f"{peer.name} was not run: {' '.join(str(error).split())}")
                continue
            stack.push(own.pop_all())
    return absent, players


def report(answers: Sequence[Answer]) -> str:
    """The table of mpathd's answers.

    Args:
        answers: all of them.
    """
    kinds = dict.fromkeys(answer.event.kind for answer in answers)
    rows = [row(kind, [answer for answer in answers if answer.event.kind == kind]) for kind in kinds]
    rows.append([*row("all", answers), BAR])
    return table(["event", "n", "median", "p90", "p99", "max", "first write", "writes", "idle", "wrong", "bar"], rows)


def row(name: str, answers: Sequence[Answer]) -> list[str]:
    """One line of the table.

    Args:
        name: what the line is called.
        answers: what it sums up.
    """
    firsts = [answer.first for answer in answers if answer.first is not None]
    return [
        name,
        *cells(summary(times(answers))),
        number(median(firsts)) if firsts else "-",
        number(sum(answer.writes for answer in answers) / len(answers)),
        str(sum(1 for answer in answers if answer.took is None)),
        str(sum(1 for answer in answers if not answer.right)),
    ]


def times(answers: Sequence[Answer], kind: str = "") -> list[float]:
    """Milliseconds of the answers that wrote something.

    Args:
        answers: any.
        kind: of the event; all kinds unless told.
    """
    return [answer.took for answer in answers if answer.took is not None and kind in {"", answer.event.kind}]


def comparison(ours: Player, others: Sequence[Player]) -> str:
    """The table of the peers, each kind of event beside mpathd's.

    Args:
        ours: mpathd.
        others: the peers that could be run.
    """
    rows = []
    for player in others:
        for kind in player.kinds:
            mine, theirs = times(ours.answers, kind), times(player.answers, kind)
            of = [answer for answer in player.answers if answer.event.kind == kind]
            faster = ratio(median(theirs), median(mine)) if mine and theirs else "-"
            rows.append(
                [player.name, kind, *row("", of)[1:], number(median(mine)) if mine else "-", faster, player.bar]
            )
    head = ["beside", "event", "n", "median", "p90", "p99", "max", "first write", "writes", "idle", "wrong"]
    return table([*head, "mpathd", "mpathd is faster", "bar"], rows)


def tell(ours: Player, others: Sequence[Player], absent: Iterable[str]) -> None:
    """Print what was beside mpathd, and what was not.

    Args:
        ours: mpathd.
        others: those that were.
        absent: a line for each that was not.
    """
    if others:
        print(f"\n{comparison(ours, others)}")
    for player in others:
        print(f"{player.name} {player.does}")
    for line in absent:
        print(line)


def run() -> None:
    """Print the tables."""
    print(f"{NAME}: event to everything written, {UPLINKS} uplinks, IPv4 and IPv6; milliseconds", flush=True)
    with ExitStack() as stack:
        ours = mpathd(stack)
        absent, others = raised(stack, PEERS)
        for turn in range(ROUNDS):
            ours.round()
            for player in [player for player in others if turn < player.rounds]:
                try:
                    player.round()
                except LabError as error:
                    absent.append(f"{player.name} was given up: {' '.join(str(error).split())}")
                    others.remove(player)
    print(report(ours.answers))
    tell(ours, others, absent)
    sys.stdout.flush()
