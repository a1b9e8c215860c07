"""connmand: addresses, and routes of the uplink that it prefers, at carrier."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

from labkit import Lab, Topology
from labkit.agent import Bus

from .base import Heard, bare, isolated, nets
from .fetch import environment, program, unpacked

PACKAGES = ("connman",)
MAIN = """[General]
AlwaysConnectedTechnologies=ethernet
PreferredTechnologies=ethernet
NetworkInterfaceBlacklist=lo
AllowHostnameUpdates=false
AllowDomainnameUpdates=false
EnableOnlineCheck=false
FallbackTimeservers=
FallbackNameservers=
"""
SERVICE = """[service_{dev}]
Type=ethernet
MAC={mac}
IPv4={net4}.2/24/{net4}.1
IPv6={net6}:2/64/{net6}:1
"""


class Connman(Heard):
    """ConnMan with static uplinks, all of them connected at once."""

    name = "connmand"
    kinds: tuple[str, ...] = ("carrier lost", "carrier back")
    does = "takes away or writes the addresses of the uplink, and the default route if it prefers it; no rules"
    bar = "above 1x"
    uplinks, rounds = 8, 6
    quiet, limit = 0.2, 5.0
    hidden = True  # routes by ioctl

    def topology(self, count: int) -> Topology:
        """Links without addresses.

        Args:
            count: number of uplinks.
        """
        return bare(count)

    def start(self, lab: Lab, folder: Path, stack: ExitStack) -> subprocess.Popen[str]:
        """Start it in the lab's client, with a bus of its own.

        Args:
            lab: the lab.
            folder: for its files.
            stack: ends the bus.
        """
        unpack = unpacked("connman", PACKAGES)
        binary = program(unpack, "usr/sbin/connmand")
        bus = stack.enter_context(Bus(folder))
        (folder / "main.conf").write_text(MAIN)
        (folder / "resolv.conf").write_text("")
        state = folder / "state"
        state.mkdir()
        (state / "settings").write_text("[global]\nOfflineMode=false\n\n[Wired]\nEnable=true\nTethering=false\n")
        text = "".join(
            SERVICE.format(dev=end.dev, mac=end.mac, net4=nets(number)[0], net6=nets(number)[1])
            for number, end in enumerate(lab.topology.ends("client"), 1)
        )
        (state / "lab.config").write_text(text)
        prelude = [
            "mount -t tmpfs tmpfs /run",
            "mount -t tmpfs tmpfs /var/lib",
            "mkdir -p /run/connman /var/lib/connman",
            f"mount --bind {state} /var/lib/connman",
            f"mount --bind {folder / 'resolv.conf'} /etc/resolv.conf",
        ]
        argv = [str(binary), "-n", "-r", "-c", str(folder / "main.conf"), "--nobacktrace"]
        env = {**environment(unpack), "DBUS_SYSTEM_BUS_ADDRESS": bus.address}
        return isolated(lab, prelude, argv, folder / "log", env)

    def right(self, lab: Lab, number: int, kind: str) -> bool:
        """Whether the addresses are there, or gone.

        Args:
            lab: the lab.
            number: of the uplink.
            kind: of the event.
        """
        net4, net6 = nets(number)
        found = lab.ip("client", f"addr show dev up{number}")
        there = [f"{net4}.2/" in found, f"{net6}:2/" in found]
        return not any(there) if kind == "carrier lost" else all(there)
