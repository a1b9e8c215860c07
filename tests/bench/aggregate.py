"""One MPTCP connection over 1 to 4 equal links, set up by mpathd and by hand, beside plain TCP over one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from labkit import SERVER4, Lab
from labkit.agent import MEMORY, Agent, Bus, eventually
from labkit.bonding import RATE
from labkit.series import arrived, mean
from labkit.stream import Stream

from .stats import number, ratio, table

NAME = "aggregate"
LINKS, ROUNDS = 4, 3
SETTLE, COUNTED = 1.0, 2.0  # seconds until the rate counts, as in the scenario; and that count
FULL, OVER_TCP = 0.95, 1.85  # of n times one link; times plain TCP, for two
BAR, BAR_TCP = f"at least {FULL:.0%}", f"at least {FULL:.0%}; {OVER_TCP}x TCP"
PLAIN = 0  # links of plain TCP, as the figures count


@dataclass(slots=True)
class Side:
    """One of the two that set the links up.

    Args:
        name: as the table calls it.
        lab: its own.
        use: lets MPTCP use that many links, the first ones.
        rates: Mbit/s by number of links, a figure for each round.
        wrong: by number of links, transfers that had not one subflow for each.
    """

    name: str
    lab: Lab
    use: Callable[[int], None]
    rates: dict[int, list[float]] = field(default_factory=dict)
    wrong: dict[int, int] = field(default_factory=dict)

    def measure(self, links: int) -> None:
        """Make a transfer and note its rate.

        Args:
            links: how many are used; PLAIN: one, by plain TCP.
        """
        limit = SETTLE + COUNTED + 10.0
        with Stream(self.lab, "client", "server", SERVER4, seconds=limit, mptcp=links != PLAIN) as stream:
            time.sleep(SETTLE)
            flows = self.lab.exec("client", ["ss", "-tnH", "state", "established", "dst", SERVER4]).stdout
            time.sleep(COUNTED)
            stream.stop()
        since = stream.started + SETTLE
        self.rates.setdefault(links, []).append(mean(arrived(stream.arrivals), since, since + COUNTED))
        self.wrong[links] = self.wrong.get(links, 0) + (len(flows.splitlines()) != max(links, 1))

    def rate(self, links: int) -> float:
        """The median of what was measured, in Mbit/s.

        Args:
            links: how many were used.
        """
        return median(self.rates[links])

    def cells(self, links: int) -> list[str]:
        """Its part of a line of the table.

        Args:
            links: how many were used.
        """
        rate = self.rate(links)
        share = f"{rate / (links * self.rate(1)):.1%}" if links else ""
        over = ratio(rate, self.rate(PLAIN)) if links else ""
        return [number(rate), share, over, str(self.wrong[links])]


def raised(stack: ExitStack, name: str) -> Lab:
    """Raise a lab.

    Args:
        stack: takes it down again.
        name: its name.
    """
    lab = stack.enter_context(Lab(f"bond-{LINKS}", name, quiet=True))
    lab.ip("server", "mptcp limits set subflows 8")  # the far side counts too; nobody else sets it there
    return lab


def count(lab: Lab) -> int:
    """The endpoints of IPv4, which the transfers use.

    Args:
        lab: the lab.
    """
    return lab.ip("client", "mptcp endpoint").count("10.81.")


def mpathd(stack: ExitStack) -> Side:
    """Let mpathd do the routing and the endpoints.

    Args:
        stack: takes everything down again.
    """
    lab = raised(stack, "bn-sum-mpathd")
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="mpathd-", dir=MEMORY)))
    bus = stack.enter_context(Bus(folder))
    agent = stack.enter_context(Agent(lab, "client", ["--mpathrouting"], bus=bus, folder=folder))
    eventually(lambda: agent.ctl("status").returncode == 0, 10, "mpathd on the bus")

    def use(links: int) -> None:
        for link in range(1, LINKS + 1):
            agent.ctl("config", f"up{link}", "--mpath_tcp_link", "on" if link <= links else "off")
        eventually(lambda: count(lab) == links, what=f"{links} links with endpoints")

    return Side("mpathd", lab, use)


def hand(stack: ExitStack) -> Side:
    """Set a table, a rule and an endpoint for each link by hand, as the kernel's documents say.

    Args:
        stack: takes everything down again.
    """
    lab = raised(stack, "bn-sum-hand")
    lab.ip("client", "mptcp limits set subflows 8")
    for link in range(1, LINKS + 1):
        lab.ip("client", f"route add 10.81.{link}.0/24 dev up{link} table {100 + link}")
        lab.ip("client", f"route add default via 10.81.{link}.1 dev up{link} table {100 + link}")
        lab.ip("client", f"rule add from 10.81.{link}.2 lookup {100 + link}")

    def use(links: int) -> None:
        lab.ip("client", "mptcp endpoint flush")
        for link in range(1, links + 1):
            lab.ip("client", f"mptcp endpoint add 10.81.{link}.2 dev up{link} subflow")

    return Side("by hand", lab, use)


def run() -> None:
    """Print the table."""
    print(f"{NAME}: one connection over 1 to {LINKS} links of {RATE} each, cubic, upload; Mbit/s", flush=True)
    with ExitStack() as stack:
        sides = mpathd(stack), hand(stack)
        for _ in range(ROUNDS):
            for links in range(PLAIN, LINKS + 1):
                for side in sides:
                    side.use(links or 1)
                    side.measure(links)
    rows = []
    for links in range(PLAIN, LINKS + 1):
        name = f"{links} link{'s' * (links > 1)}" if links else "plain TCP, 1 link"
        bar = "" if links < 2 else BAR_TCP if links == 2 else BAR
        rows.append([name, *(cell for side in sides for cell in side.cells(links)), bar])
    head = [word for side in sides for word in (side.name, "of n x one", "over TCP", "wrong")]
    print(table(["", *head, "bar"], rows))
    sys.stdout.flush()
