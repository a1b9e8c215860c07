"""Event to everything written, with 8 uplinks in both families."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from labkit import Lab, LabError, uplinks
from labkit.agent import Agent

from .driver import Driver
from .ear import Ear, News
from .inside import Eyes, Inside
from .stats import cells, number, summary, table

NAME = "events"
UPLINKS, ROUNDS = 8, 2  # every uplink gets every event this often
QUIET, LIMIT = 0.04, 5.0  # seconds without news that are rest; seconds until an event counts as never answered
BAR = "median 3 ms, p99 10 ms"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens to an uplink.

    Args:
        kind: as the table calls it.
        line: what stands after `ip`.
        far: it happens at the far end.
        running: the uplink's carrier that it ends with; None: no link event is waited for.
    """

    kind: str
    line: str
    far: bool = False
    running: bool | None = None


def script(number: int, metric: int) -> Iterator[Event]:
    """What happens to one uplink; in the end it is as before.

    Args:
        number: of the uplink, as `labkit.uplinks` counts.
        metric: of its default routes.
    """
    dev, peer = f"up{number}", f"net{number}"
    net4, net6 = f"10.{64 + (number >> 8)}.{number & 255}", f"fd00:64:{number:x}:"
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


@dataclass(frozen=True, slots=True)
class Answer:
    """How an event was answered.

    Args:
        event: what happened.
        took: milliseconds from its arrival to the last write; None: nothing was written.
        first: milliseconds from its arrival to the first write.
        writes: how many objects the agent wrote.
        right: everything was in place then.
    """

    event: Event
    took: float | None
    first: float | None
    writes: int
    right: bool


class Stage:
    """A namespace where events are played and answers are heard.

    Args:
        ear: hears the client.
        client: does things there.
        far: does things at the far end.
        indexes: interface index by name.
    """

    def __init__(self, ear: Ear, client: Driver, far: Driver, indexes: dict[str, int]) -> None:
        self._ear, self._client, self._far, self._indexes = ear, client, far, indexes

    def others(self, news: Sequence[News]) -> list[News]:
        """News that neither the kernel nor the bench caused: what the agent wrote.

        Args:
            news: any.
        """
        return [one for one in news if one.port not in {0, self._client.port}]

    def play(self, event: Event, dev: str) -> tuple[list[News], list[News]]:
        """Let one event happen and wait until all is at rest: what the world said, and what the agent wrote.

        Args:
            event: what happens.
            dev: the uplink.
        """
        mark = self._ear.mark()
        (self._far if event.far else self._client).do(event.line)
        index = self._indexes[dev]

        def seen(news: list[News]) -> bool:
            if event.running is None:
                return bool(news)
            links = [one for one in news if one.kind == 16 and one.index == index]
            return bool(links) and links[-1].running is event.running

        self._ear.until(mark, seen, LIMIT)
        self._ear.rest(mark, QUIET, LIMIT)
        news = self._ear.since(mark)
        written = self.others(news)
        return [one for one in news if one.port in {0, self._client.port}], written


def latency(world: Sequence[News], written: Sequence[News], which: int = -1) -> float | None:
    """Milliseconds from the event's first news to a write of the agent; None: it wrote nothing.

    Args:
        world: what the kernel said about the event.
        written: what the agent wrote.
        which: of the writes; the last one unless told.
    """
    return (written[which].time - world[0].time) / 1e6 if world and written else None


def scripts(rounds: int) -> Iterator[tuple[str, Event]]:
    """All events of all uplinks, the uplinks taking turns event by event.

    Args:
        rounds: how often each uplink has each event.
    """
    for _ in range(rounds):
        everyone = [(f"up{number}", list(script(number, 100 + number))) for number in range(1, UPLINKS + 1)]
        for at in range(len(everyone[0][1])):
            for dev, events in everyone:
                yield dev, events[at]


def mpathd(rounds: int = ROUNDS, name: str = "bn-events") -> list[Answer]:
    """Play all events to mpathd.

    Args:
        rounds: how often.
        name: of the lab.
    """
    answers: list[Answer] = []
    with Lab(uplinks(UPLINKS), name, quiet=True) as lab, Agent(lab, "client", ["--mpathrouting"]) as agent:
        indexes = {end.dev: lab.index("client", end.dev) for end in lab.topology.ends("client")}
        with (
            Inside(lab.ns("client")) as inside,
            Ear(lab.ns("client")) as ear,
            Driver(lab.ns("client")) as client,
            Driver(lab.ns("net")) as far,
        ):
            eyes = Eyes(inside, agent.argv()[3:])
            stage = Stage(ear, client, far, indexes)
            for dev, event in scripts(rounds):
                heard, written = stage.play(event, dev)
                deadline = time.monotonic() + LIMIT
                while (missing := eyes.missing()) and time.monotonic() < deadline:
                    time.sleep(0.01)
                answers.append(
                    Answer(event, latency(heard, written), latency(heard, written, 0), len(written), not missing)
                )
            if trouble := client.said() + far.said():
                raise LabError("an event did not happen", trouble)
    return answers


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
        *cells(summary([answer.took for answer in answers if answer.took is not None])),
        number(median(firsts)) if firsts else "-",
        number(sum(answer.writes for answer in answers) / len(answers)),
        str(sum(1 for answer in answers if answer.took is None)),
        str(sum(1 for answer in answers if not answer.right)),
    ]


def run() -> None:
    """Print the tables."""
    print(f"{NAME}: event to everything written, {UPLINKS} uplinks, IPv4 and IPv6; milliseconds")
    print(report(mpathd()))
