"""What every peer has in common."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from labkit import Lab, Topology, uplinks

from ..ear import Ear
from ..stage import Event

READY = 20.0  # seconds that a peer may take to configure its uplinks


class Peer(Protocol):
    """A program that does a comparable job.

    name, kinds and does: as the tables call it; the events that it answers; what it writes then, in a few words.
    bar: what mpathd's speed over its should be.
    uplinks and rounds: in how large a lab, and how often each uplink has each event.
    quiet and limit: seconds without news that are rest; seconds until an event counts as never answered.
    hidden: it writes by ioctl, so that its writes cannot be told from the kernel's own: all but link news count.
    only4: it answers nothing of IPv6.
    """

    name: str
    kinds: tuple[str, ...]
    does: str
    bar: str
    uplinks: int
    rounds: int
    quiet: float
    limit: float
    hidden: bool
    only4: bool

    def topology(self, count: int) -> Topology:
        """The lab it works in: mpathd's, without what the peer configures itself.

        Args:
            count: number of uplinks.
        """

    def start(self, lab: Lab, folder: Path, stack: ExitStack) -> subprocess.Popen[str]:
        """Start it in the lab's client.

        Args:
            lab: the lab.
            folder: of its own, empty, for configuration and log.
            stack: ends what the peer needs besides its process.

        Raises:
            Unavailable: it cannot be had or run here.
        """

    def right(self, lab: Lab, number: int, kind: str) -> bool:
        """Whether an uplink is as the peer should have it after an event.

        Args:
            lab: the lab.
            number: of the uplink.
            kind: of the event.
        """

    def acts(self, event: Event) -> bool:
        """Let the event happen by the peer's own means, since it answers no other; False: it was left to `ip`.

        Args:
            event: what is to happen.
        """

    def listening(self, lab: Lab, ear: Ear) -> AbstractContextManager[None]:
        """Entered while it plays: tells the ear what rtnetlink does not.

        Args:
            lab: the lab.
            ear: of its client.
        """


class Heard:
    """A peer whose writes are all heard over rtnetlink, and which answers what `ip` does."""

    only4 = False

    def acts(self, event: Event) -> bool:
        """Leave it to `ip`.

        Args:
            event: what is to happen.
        """
        return False

    def listening(self, lab: Lab, ear: Ear) -> AbstractContextManager[None]:
        """Nothing to add.

        Args:
            lab: the lab.
            ear: of its client.
        """
        return nullcontext()


def bare(count: int) -> Topology:
    """`labkit.uplinks` whose client has nothing but its links: the peer gives it the rest.

    Args:
        count: number of uplinks.
    """
    whole = uplinks(count)
    links = tuple(replace(link, a=replace(link.a, addresses=())) for link in whole.links)
    hosts = tuple(replace(host, routes=()) if host.name == "client" else host for host in whole.hosts)
    return replace(whole, links=links, hosts=hosts)


def nets(number: int) -> tuple[str, str]:
    """The first parts of an uplink's addresses: "10.64.N" and "fd00:64:N:".

    Args:
        number: of the uplink, as `labkit.uplinks` counts.
    """
    return f"10.{64 + (number >> 8)}.{number & 255}", f"fd00:64:{number:x}:"


def isolated(
    lab: Lab, prelude: Sequence[str], argv: Sequence[str], log: Path, env: dict[str, str]
) -> subprocess.Popen[str]:
    """Start a program in the client's network and a mount namespace of its own (that of `ip netns exec`).

    Args:
        lab: the lab.
        prelude: shell commands that go before, mostly mounts.
        argv: the program.
        log: where its output goes.
        env: more environment.
    """
    script = "\n".join([*prelude, f"exec {shlex.join(argv)}"])
    with log.open("w") as out:
        return lab.popen("client", ["unshare", "-mu", "sh", "-ec", script], env=env, stdout=out, stderr=out)


def end(process: subprocess.Popen[str]) -> None:
    """End a peer.

    Args:
        process: of the peer.
    """
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
