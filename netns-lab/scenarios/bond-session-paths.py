"""two sessions, each with its own links: their MPTCP connections run together, and neither uses a link of the other"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from _bond import ROUTER, SETTLE, Wanted, bonded, elsewhere, uplinks, wanted
from _program import Program
from _run import STEP, Run, streamed
from _side import Side, count, counted
from _story import Story, across
from labkit import SERVER4
from labkit.stream import Stream

FULL = 0.85  # of its links' rate that each session has to have on the wire, whatever the other one does
IDLE = 0.05  # Mbit/s that a link may carry whose session does not run: neighbours look for each other


def run(args: list[str]) -> int:
    """Tell the story.

    Args:
        args: see --help.
    """
    want = wanted("bond-session-paths", str(__doc__), args, links=4, least=4, seconds=4.0)
    with bonded(want, tunnels=want.links // 2) as story:
        links = uplinks(story)
        half = len(links) - len(links) // 2
        _paths(story, want, (Side("video", "ethernet", 5001, links[:half]), Side("office", "vpn", 5002, links[half:])))
        return story.end()


def _paths(story: Story, want: Wanted, sides: Sequence[Side]) -> None:
    one, other = sides
    with ExitStack() as stack:
        (first, second), marked = _sessions(story, want, sides, stack)
        count(story, sides)
        with Run(story, want, 3, stream=first) as transfer:
            transfer.mark(f"{one.name} alone")
            transfer.go_on(want.seconds)
            joined = transfer.mark(f"{other.name} starts")
            transfer.join(second)
            transfer.go_on(want.seconds)
            story.show("mpathctl mptcp")
            endpoints = story.show("ip mptcp endpoint show")
            ways = _ways(story)
            lost = transfer.mark(f"{one.links[-1]} loses its carrier")
            elsewhere(story, ROUTER, f"ip link set {across(story.lab, story.host, one.links[-1])} down")
            transfer.go_on(SETTLE + want.seconds)
            story.show("mpathctl mptcp")
            left = _ways(story)
            end = transfer.now
    for since, until in ((0.0, joined), (joined, lost), (lost, end)):
        running = [stream for stream in transfer.streams if stream.started - transfer.start < until]
        rates = (f"{transfer.got(since, until, stream):.1f}" for stream in running)
        transfer.say(since, until, f"{' + '.join(rates)} Mbit/s")
    transfer.table(end)
    whose = {dev: side.name for side in sides for dev in side.links}
    transfer.draw("bond-session-paths", "Two sessions, each on its own links", end, whose)

    story.say("what it should be")
    there = set(re.findall(r"dev (\w+)", endpoints))
    story.holds(there == set(uplinks(story)), f"endpoints were there for {' '.join(sorted(there))}")
    for what, found, gone in (("with all links", ways, ""), (f"without {one.links[-1]}", left, one.links[-1])):
        for side in sides:
            session, devs = found.get(side.port, ("", []))
            own = [dev for dev in side.links if dev != gone]
            story.holds(devs == own, f"{what}, {side.name} has subflows on {' '.join(devs) or 'nothing'}")
            if marked:  # the mark of a packet is not its socket's, so mpathctl cannot tell whose connection it is
                story.holds(session == side.name, f"{what}, its connection is of session {session or 'none'}")
    rest = one.links[:-1]
    for text, links, since, until in (
        (f"{one.name} alone", one.links, SETTLE, joined),
        (f"{one.name} beside {other.name}", one.links, joined + SETTLE, lost),
        (f"{other.name} beside {one.name}", other.links, joined + SETTLE, lost),
        (f"{one.name} without {one.links[-1]}", rest, lost + SETTLE, end),
        (f"{other.name} meanwhile", other.links, lost + SETTLE, end),
    ):
        rate = sum(transfer.carried(dev, since, until) for dev in links)
        story.holds(rate >= FULL * len(links) * want.megabits, f"{text}: {rate:.1f} Mbit/s on {' '.join(links)}")
    for dev in other.links:
        rate = transfer.carried(dev, 0.0, joined - STEP)
        story.holds(rate <= IDLE, f"{dev} carried {rate:.2f} Mbit/s until {other.name} started")
    counted(story, sides)
    transfer.proved()


def _sessions(story: Story, want: Wanted, sides: Sequence[Side], stack: ExitStack) -> tuple[list[Stream], bool]:
    """Make the sessions, and a transfer of each; tell whether their sockets are marked, else only their packets."""
    story.say("two sessions: one for what may use the cables, one for what may use the tunnels")
    for side in sides:
        story.show(f"mpathctl session create {side.name} --bearer {side.bearer}")
    tried = story.agent.ctl("session", "exec", sides[0].name, "--", "true")
    if marked := tried.returncode == 0:
        story.say("a program in each: its sockets are the session's from birth on")
        programs = [stack.enter_context(Program(story, side.name)) for side in sides]
        streams = [
            streamed(story, want, 3, port=side.port, connect=program.connect)
            for side, program in zip(sides, programs, strict=True)
        ]
    else:
        print(f"$ mpathctl session exec {sides[0].name} -- true\n{tried.stderr.rstrip()}", flush=True)
        story.say("sockets cannot be marked here, so flow selectors tell whose a packet is")
        for side in sides:
            story.show(f"mpathctl session change {side.name} --flow '*-{SERVER4}-tcp-*-{side.port}'")
        streams = [streamed(story, want, 3, port=side.port) for side in sides]
    for side in sides:
        story.show(f"mpathctl session show {side.name}")
    return streams, marked


def _ways(story: Story) -> Mapping[int, tuple[str, list[str]]]:
    """Of the connection to each port its session and the links of its established subflows, as mpathctl tells them."""
    found = json.loads(story.agent.ctl("mptcp", "--json").stdout)["Connections"]
    return {
        one["DestinationPort"]: (
            one["Session"],
            sorted(
                part["Interface"] for part in one["Subflows"] if part["Established"] and part["State"] == "established"
            ),
        )
        for one in found
    }
