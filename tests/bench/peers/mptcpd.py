"""mptcpd: an MPTCP endpoint for each address."""

from __future__ import annotations

import platform
import subprocess
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from labkit import Lab, Topology, uplinks

from ..ear import Ear
from .base import Heard, isolated
from .endpoints import complete, watched
from .fetch import environment, program, unpacked

PACKAGES = ("mptcpd", "mptcpd-plugins")


class Mptcpd(Heard):
    """mptcpd with its usual plugin; the kernel takes 8 endpoints, so its lab is smaller."""

    name = "mptcpd"
    kinds: tuple[str, ...] = ("address added", "address removed")
    does = "writes or takes away one MPTCP endpoint, no routes and no rules (2 uplinks: the kernel takes 8 endpoints)"
    bar = "above 1x"
    uplinks, rounds = 2, 6
    quiet, limit = 0.06, 5.0
    hidden = False

    def topology(self, count: int) -> Topology:
        """Mpathd's lab.

        Args:
            count: number of uplinks.
        """
        return uplinks(count)

    def start(self, lab: Lab, folder: Path, stack: ExitStack) -> subprocess.Popen[str]:
        """Start it in the lab's client.

        Args:
            lab: the lab.
            folder: for its files.
            stack: not needed.
        """
        unpack = unpacked("mptcpd", PACKAGES)
        binary = program(unpack, "usr/libexec/mptcpd", f"usr/lib/{platform.machine()}-linux-gnu/libexec/mptcpd")
        plugins = next(unpack.glob("usr/lib/*/mptcpd"))
        copy = folder / "plugins"  # it refuses folders that others may write
        subprocess.run(["cp", "-r", "--no-preserve=ownership", plugins, copy], check=True)
        copy.chmod(0o755)
        argv = [str(binary), "--log=stderr", f"--plugin-dir={copy}", "--path-manager=addr_adv"]
        argv += ["--addr-flags=subflow", "--notify-flags=existing,skip_link_local,skip_loopback"]
        return isolated(lab, [], argv, folder / "log", environment(unpack))

    def right(self, lab: Lab, number: int, kind: str) -> bool:
        """Whether every address of the uplink has its endpoint, and no other address.

        Args:
            lab: the lab.
            number: of the uplink.
            kind: of the event.
        """
        return complete(lab, number)

    def listening(self, lab: Lab, ear: Ear) -> AbstractContextManager[None]:
        """Looks at the endpoints again and again, and tells the ear when they change.

        Args:
            lab: the lab.
            ear: of its client.
        """
        return watched(lab, ear)
