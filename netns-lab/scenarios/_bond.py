"""What the bonding scenarios share: their command line, a lab with rates."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from _story import Story, told
from labkit import SERVER4
from labkit.bonding import bond
from labkit.reading import RATE
from labkit.series import MEGA

CLIENT, ROUTER, SERVER = "client", "router", "server"
SETTLE = 1.0  # seconds after an event until the rates count: data that had waited has reached the program by then
PATIENCE = 15.0  # seconds that the kernel may take to use a link again: it doubles the time between two tries
UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
CHARTS = Path("lab-charts")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The words of a bonding scenario's command line.

    Args:
        links: number of uplinks.
        rate: of each, as tc writes it.
        seconds: of each phase.
        download: the server sends, else the client.
        charts: folder for the pictures; None: there are none.
        quiet: do not print the lab's commands.
    """

    links: int
    rate: str
    seconds: float
    download: bool
    charts: Path | None
    quiet: bool

    @property
    def megabits(self) -> float:
        """The rate of one link in Mbit/s."""
        number, unit = re.fullmatch(r"([\d.]+)([kmg]?)bit", self.rate).groups()  # type: ignore[union-attr]
        return float(number) * UNITS[unit] / MEGA


def wanted(name: str, text: str, argv: Sequence[str], *, links: int, least: int, seconds: float) -> Wanted:
    """Read the command line.

    Args:
        name: the scenario.
        text: what it shows.
        argv: the words after its name.
        links: number of uplinks, if none is given.
        least: number of uplinks that it needs.
        seconds: of each phase, if none are given.
    """
    parser = argparse.ArgumentParser(prog=f"lab run {name}", description=text)
    parser.add_argument("--links", type=int, default=links, metavar="N", help=f"uplinks, {least} to 8 ({links})")
    parser.add_argument("--rate", default="25mbit", help="of each uplink, each way (25mbit)")
    parser.add_argument("--seconds", type=float, default=seconds, metavar="S", help=f"of each phase ({seconds:g})")
    parser.add_argument("--download", action="store_true", help="the server sends (the client does)")
    parser.add_argument("--svg", type=Path, default=CHARTS, metavar="FOLDER", help=f"for the picture (./{CHARTS})")
    parser.add_argument("--no-svg", action="store_true", help="no picture")
    parser.add_argument("-q", "--quiet", action="store_true", help="do not print the lab's commands")
    got = parser.parse_args(argv)
    if not least <= got.links <= 8:
        parser.error(f"--links: given {got.links}; expected {least} to 8")
    if not RATE.fullmatch(got.rate):
        parser.error(f"--rate: given {got.rate}; expected a rate as tc writes it: 25mbit")
    if not 1.5 <= got.seconds <= 60.0:
        parser.error(f"--seconds: given {got.seconds:g}; expected 1.5 to 60")
    return Wanted(got.links, got.rate, got.seconds, got.download, None if got.no_svg else got.svg, got.quiet)


@contextmanager
def bonded(want: Wanted, mode: str = "on", tunnels: int = 0) -> Iterator[Story]:
    """Raise the lab with mpathd, and let mpathd do the routing, and the endpoints.

    Args:
        want: the command line.
        mode: what MPTCP may do with all links at first.
        tunnels: how many links, the last ones, are tunnels.
    """
    with told(bond(want.links, want.rate, tunnels), CLIENT, quiet=want.quiet) as story:
        story.lab.ip(SERVER, "mptcp limits set subflows 8")  # the far side counts too; nobody else sets it there
        story.say("mpathd gives every uplink its table, its rules and its MPTCP endpoints")
        story.show(f"mpathctl config --mpath_routing yes --mpath_tcp_link {mode}")
        story.show("mpathctl services")
        story.show("ip -4 rule")
        story.show("ip mptcp endpoint show")
        yield story


def uplinks(story: Story) -> tuple[str, ...]:
    """The client's uplinks, the one that main prefers first.

    Args:
        story: the lab.
    """
    return tuple(end.dev for end in story.lab.topology.ends(CLIENT))


def use(story: Story, dev: str, mode: str) -> None:
    """Let MPTCP use a link, use it as a backup, or not use it.

    Args:
        story: the lab.
        dev: the link.
        mode: "on", "backup" or "off".
    """
    story.show(f"mpathctl config {dev} --mpath_tcp_link {mode}")


def elsewhere(story: Story, host: str, command: str) -> str:
    """Run a command in another host than mpathd's, print it with its output, and give that.

    Args:
        story: the lab.
        host: the host.
        command: what is typed there.
    """
    print(f"{host}$ {command}", flush=True)
    if said := story.lab.exec(host, shlex.split(command)).stdout.rstrip():
        print(said, flush=True)
    return said


def subflows(story: Story) -> int:
    """Show the client's subflows, and give the number of those that are established.

    Args:
        story: the lab.
    """
    shown = story.show(f"ss -tn state established dst {SERVER4}")
    return sum(SERVER4 in line for line in shown.splitlines())
