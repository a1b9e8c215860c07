"""What Python and the kernel need at least: wake up at news, write one rule. No peer, but a measure of the machine."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from labkit import Lab, Topology, uplinks

from .base import Heard, isolated

# At news that are not its own it adds a rule, at the next it deletes it. Run as `python -c`: nothing of ours is loaded.
CODE = """
import select, socket, struct
ear = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
ear.bind((0, 0))
for group in (1, 5, 7, 8, 9, 11, 19):
    ear.setsockopt(270, 1, group)
pen = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
pen.bind((0, 0))
own = pen.getsockname()[0]
body = struct.pack("=BBBBBBBBI", 2, 0, 0, 0, 0, 0, 0, 1, 0)
body += struct.pack("=HHI", 8, 6, 22002) + struct.pack("=HHI", 8, 15, 1000)
poll, there = select.poll(), False
poll.register(ear, select.POLLIN)
print("ready", flush=True)
while True:
    poll.poll()
    foreign = False
    try:
        while True:
            foreign |= struct.unpack_from("=I", ear.recv(65536, socket.MSG_DONTWAIT), 12)[0] != own
    except BlockingIOError:
        pass
    if foreign:
        pen.send(struct.pack("=IHHII", 16 + len(body), 33 if there else 32, 0x5 if there else 0x605, 1, 0) + body)
        pen.recv(65536)
        there = not there
"""


class Floor(Heard):
    """A Python process that does nothing but wake up and write."""

    name = "bare-python"
    kinds: tuple[str, ...] = (
        "address added", "address removed", "default removed", "default added", "carrier lost", "carrier back",
    )  # fmt: skip
    does = "looks at nothing and writes or takes away one rule: what Python and the kernel need at least, here and now"
    bar = ""
    uplinks, rounds = 8, 6
    quiet, limit = 0.04, 5.0
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
            folder: for its log.
            stack: not needed.
        """
        self._log = folder / "log"
        return isolated(lab, [], [sys.executable, "-c", CODE], self._log, {})

    def right(self, lab: Lab, number: int, kind: str) -> bool:
        """Whether it listens: it has nothing to be right about.

        Args:
            lab: the lab.
            number: of the uplink.
            kind: of the event.
        """
        return self._log.read_text().startswith("ready")
