"""One measured transfer of a bonding scenario: its rates over time, its table and picture, and its proofs."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Self

from _bond import CLIENT, PATIENCE, ROUTER, SERVER, Wanted, uplinks
from _story import Story
from labkit import SERVER4, LabError
from labkit.chart import Chart, Event, Line, Span
from labkit.meter import Meter
from labkit.series import MEGA, arrived, carried, mean, rates, recovery, silence
from labkit.stream import Arrival, Stream

STEP = 0.1  # seconds of one point in the picture
SHARE = 0.8  # of what the links can do that counts as full rate
HEADERS = 1.12  # wire bytes per byte of data at most: Ethernet, IP, TCP, MPTCP's mapping, retransmissions


class Run:
    """One measured transfer of a story.

    Args:
        story: the lab.
        want: the command line.
        phases: how many phases it has at most; the transfer ends by itself soon after.
        mptcp: MPTCP, else plain TCP.
        stream: the transfer; None: an ordinary program's.
    """

    def __init__(
        self, story: Story, want: Wanted, phases: float, *, mptcp: bool = True, stream: Stream | None = None
    ) -> None:
        self.story, self.want, self.links = story, want, uplinks(story)
        self.stream = stream or streamed(story, want, phases, mptcp=mptcp)
        self.streams = [self.stream]
        self.meter = Meter(story.lab, CLIENT, self.links, STEP / 2)
        self.events: list[Event] = []
        self.spans: list[Span] = []
        self.before = self.after = self._far()

    def __enter__(self) -> Self:
        self.meter.__enter__()
        self.stream.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        for stream in self.streams:
            if kind is None:
                stream.stop()
            stream.__exit__(kind, *error)
        self.meter.__exit__(kind, *error)
        self.after = self._far()

    def join(self, stream: Stream) -> None:
        """Begin another transfer, which ends with this one.

        Args:
            stream: the other one.
        """
        stream.__enter__()
        self.streams.append(stream)

    @property
    def arrivals(self) -> list[Arrival]:
        """What the receiving programs got until now."""
        return sorted((one for stream in self.streams for one in list(stream.arrivals)), key=lambda one: one.at)

    @property
    def start(self) -> float:
        """The moment at which the transfer began."""
        return self.stream.started

    @property
    def now(self) -> float:
        """Seconds since then."""
        return time.monotonic() - self.start

    def go_on(self, seconds: float) -> None:
        """Let the transfer go on.

        Args:
            seconds: how long.
        """
        threading.Event().wait(seconds)

    def go_on_until(self, condition: Callable[[], bool], what: str) -> float:
        """Let the transfer go on until a condition holds, and give the seconds that it took.

        Args:
            condition: asked again and again.
            what: it is, if it does not come to hold.
        """
        since = self.now
        while not condition():
            if self.now - since > PATIENCE:
                self.story.failures.append(f"not within {PATIENCE:g} s: {what}")
                break
            self.go_on(STEP)
        return self.now - since

    def used(self, dev: str) -> float:
        """Let the transfer go on until a link carries as much as it can, and give the seconds that it took.

        Args:
            dev: the link.
        """
        enough = SHARE * self.want.megabits
        return self.go_on_until(lambda: self.carried(dev, self.now - 3 * STEP, self.now) >= enough, f"{dev} is used")

    def settled(self, links: int) -> float:
        """Let the transfer go on until the program gets what some links can do, and give the moment.

        Args:
            links: how many are left.
        """
        since, enough = self.now, SHARE * self.want.megabits * links
        self.go_on_until(
            lambda: self.now > since + 1.0 and self.got(self.now - 0.5, self.now) >= enough, f"{links} links are full"
        )
        return self.now

    def say(self, since: float, until: float, text: str) -> None:
        """Write something above a stretch of the picture.

        Args:
            since: seconds since the start.
            until: likewise.
            text: what.
        """
        self.spans.append(Span(since, until, text))

    def mark(self, text: str) -> float:
        """Note that something is done now, and give the moment.

        Args:
            text: what.
        """
        self.events.append(Event(self.now, text))
        print(f"[at {self.now:.1f} s: {text}]", flush=True)
        return self.now

    def got(self, since: float, until: float, stream: Stream | None = None) -> float:
        """The rate at which the program got data, in Mbit/s.

        Args:
            since: seconds since the start.
            until: likewise.
            stream: of which; None: of all.
        """
        arrivals = stream.arrivals if stream else self.arrivals
        return mean(arrived(arrivals), self.start + since, self.start + until)

    def carried(self, dev: str, since: float, until: float) -> float:
        """The rate on a link, in Mbit/s.

        Args:
            dev: the link.
            since: seconds since the start.
            until: likewise.
        """
        counter = carried(self.meter.samples, dev, received=self.want.download)
        return mean(counter, self.start + since, self.start + until)

    def silence(self, since: float, until: float) -> float:
        """The longest time without data at the receiving program, in milliseconds.

        Args:
            since: seconds since the start.
            until: likewise.
        """
        return silence(self.arrivals, self.start + since, self.start + until) * 1000

    def gap(self, since: float, until: float, rate: float) -> tuple[float, str]:
        """Tell how an event was survived: the longest silence in milliseconds, and words with the time to recover.

        Args:
            since: seconds since the start, when it happened.
            until: likewise, when the next thing happened.
            rate: Mbit/s that the remaining links can do.
        """
        quiet = self.silence(since, until)
        total = arrived(self.arrivals)
        back = recovery(total, self.start + since, self.start + until, SHARE * rate)
        return quiet, f"{quiet:.0f} ms of silence, full rate after {back:.1f} s"

    def table(self, until: float, step: float = 0.5) -> None:
        """Print the throughput over time.

        Args:
            until: seconds since the start.
            step: seconds of one line.
        """
        print(f"\n{'seconds':>11}   received {''.join(f'{dev:>8}' for dev in self.links)}   Mbit/s")
        todo = list(self.events)
        for number in range(int(until / step + 1e-6)):
            since, to = number * step, (number + 1) * step
            while todo and todo[0].at < to:
                print(f"{'':>14}-- {todo.pop(0).text}")
            links = "".join(f"{self.carried(dev, since, to):8.1f}" for dev in self.links)
            print(f"{since:5.1f}-{to:5.1f}   {self.got(since, to):8.1f} {links}")

    def draw(self, name: str, title: str, until: float, whose: Mapping[str, str] | None = None) -> None:
        """Write the picture, if one is wanted, and say where it is.

        Args:
            name: of the file.
            title: above the picture.
            until: seconds since the start.
            whose: each link is, if there are several transfers.
        """
        want, end = self.want, self.start + until
        if want.charts is None:
            return
        lines, owners = [], whose or {}
        for dev in self.links:
            counter = carried(self.meter.samples, dev, received=want.download)
            size = (counter(end) - counter(self.start)) / MEGA
            lines.append(
                Line(f"{dev} {owners.get(dev, '')}".rstrip(), rates(counter, self.start, end, STEP), f"{size:.1f} MB")
            )
        way = "download" if want.download else "upload"
        many = len(self.streams) > 1
        what = f"{len(self.streams)} MPTCP connections" if many else "one MPTCP connection"
        chart = Chart(
            title,
            f"{what}, {way} over {len(lines)} links of {want.megabits:g} Mbit/s each, cubic",
            Line(f"received by the program{'s' * many}", rates(arrived(self.arrivals), self.start, end, STEP)),
            tuple(lines),
            tuple(self.events),
            tuple(self.spans),
        )
        file = want.charts / f"{name}{'-download' if want.download else ''}.svg"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(chart.svg())
        except OSError as error:
            raise LabError(f"cannot write {file}", error.strerror or "", "name another folder: --svg FOLDER") from error
        print(f"\npicture: {file}", flush=True)

    def proved(self) -> None:
        """Hold the client's counters against the router's, which are asked for in another way, and against the data."""
        story = self.story
        story.say("the same, asked of the kernel in another way: rtnetlink's counters at the router's ends")
        total = 0.0
        for number, dev in enumerate(self.links):
            counter = carried(self.meter.samples, dev, received=self.want.download)
            near = counter(time.monotonic()) - counter(self.start)
            far = self.after[number] - self.before[number]
            total += far
            # What tbf still holds when a link goes down was never sent; a handful of packets pass before the start.
            same = abs(near - far) <= 0.01 * max(near, far) + 3e5
            story.holds(same, f"{dev}: {near / MEGA:.2f} MB at the client, {far / MEGA:.2f} MB at the router")
        data = sum(stream.total for stream in self.streams)
        text = f"{data / MEGA:.2f} MB reached the program, {total / MEGA:.2f} MB crossed the links"
        story.holds(data <= total <= data * HEADERS + 5e5, text)

    def _far(self) -> list[int]:
        """What the router's ends of the uplinks have carried, in the direction of the data."""
        text = self.story.lab.exec(ROUTER, ["ip", "-s", "-j", "link", "show"]).stdout
        stats = {link["ifname"]: link["stats64"] for link in json.loads(text)}
        side = "tx" if self.want.download else "rx"
        ends = [end.dev for end in self.story.lab.topology.ends(ROUTER)][: len(self.links)]
        return [stats[dev][side]["bytes"] for dev in ends]


def streamed(
    story: Story,
    want: Wanted,
    phases: float,
    *,
    mptcp: bool = True,
    port: int = 0,
    connect: Callable[[str, int], socket.socket] | None = None,
) -> Stream:
    """Give a transfer of a story, not yet begun.

    Args:
        story: the lab.
        want: the command line.
        phases: how many phases it has at most.
        mptcp: MPTCP, else plain TCP.
        port: of the server; 0: any.
        connect: who makes the client's socket; None: a program in no session.
    """
    limit = want.seconds * phases + 2 * PATIENCE
    return Stream(
        story.lab, CLIENT, SERVER, SERVER4, seconds=limit, mptcp=mptcp, download=want.download, port=port,
        connect=connect,
    )  # fmt: skip
