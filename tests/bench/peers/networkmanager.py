"""NetworkManager: addresses and default routes of a profile for each uplink, at carrier."""

from __future__ import annotations

import os
import subprocess
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from labkit import Lab, LabError, Topology
from labkit.agent import Bus

from ..ear import Ear
from ..stage import Event
from .base import Heard, bare, isolated, nets
from .endpoints import complete, watched
from .fetch import environment, program, unpacked

PACKAGES = ("network-manager",)
CONFIG = """[main]
plugins=keyfile
dns=none
rc-manager=unmanaged
no-auto-default=*
auth-polkit=false
dhcp=internal
[keyfile]
path={profiles}
[logging]
level=INFO
"""
SUBFLOW = 0x22  # "enabled,subflow" of connection.mptcp-flags
NMCLI_LIMIT = 10.0  # seconds
PROFILE = """[connection]
id={dev}
uuid=00000000-0000-4000-8000-{number:012x}
type=ethernet
interface-name={dev}
{more}[ipv4]
method=manual
address1={net4}.2/24,{net4}.1
route-metric={metric}
may-fail=false
[ipv6]
method=manual
address1={net6}:2/64,{net6}:1
route-metric={metric}
may-fail=false
"""


class NetworkManager(Heard):
    """NetworkManager with a static profile for each uplink."""

    name = "NetworkManager"
    kinds: tuple[str, ...] = ("carrier lost", "carrier back")
    does = "takes away (about 6 s after the loss, by design) or writes addresses and default routes; no rules"
    bar = "above 1x"
    uplinks, rounds = 8, 1
    quiet, limit = 0.3, 12.0
    hidden = False
    more = ""  # of the profile's [connection]

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
        unpack = unpacked("networkmanager", PACKAGES)
        binary = program(unpack, "usr/sbin/NetworkManager")
        bus = stack.enter_context(Bus(folder))
        profiles = folder / "profiles"
        profiles.mkdir()
        for number in range(1, len(lab.topology.links) + 1):
            net4, net6 = nets(number)
            file = profiles / f"up{number}.nmconnection"
            dev, metric = f"up{number}", 100 + number
            file.write_text(PROFILE.format(dev=dev, number=number, more=self.more, net4=net4, net6=net6, metric=metric))
            file.chmod(0o600)
        config = folder / "NetworkManager.conf"
        config.write_text(CONFIG.format(profiles=profiles))
        empty = folder / "empty"
        empty.mkdir()
        prelude = [
            "mount -o remount,ro /sys",  # writable sysfs would make it wait for udev
            "mount -t tmpfs tmpfs /run",
            "mount -t tmpfs tmpfs /var/lib",
            "mkdir -p /run/NetworkManager /var/lib/NetworkManager",
        ]
        argv = [str(binary), "--debug", f"--config={config}", f"--config-dir={empty}"]
        argv += [f"--system-config-dir={empty}", "--pid-file=/run/NetworkManager/pid"]
        env = {**environment(unpack), "DBUS_SYSTEM_BUS_ADDRESS": bus.address}
        return isolated(lab, prelude, argv, folder / "log", env)

    def right(self, lab: Lab, number: int, kind: str) -> bool:
        """Whether addresses and default routes are there, or the addresses gone.

        Args:
            lab: the lab.
            number: of the uplink.
            kind: of the event.
        """
        net4, net6 = nets(number)
        found = lab.ip("client", f"addr show dev up{number}")
        there = [f"{net4}.2/" in found, f"{net6}:2/" in found]
        if kind == "carrier lost":
            return not any(there)
        routes = [lab.ip("client", f"{family} route show default dev up{number}") for family in ("-4", "-6")]
        return all(there) and all(routes)


class NetworkManagerMptcp(NetworkManager):
    """NetworkManager that is told of addresses, and gives each an MPTCP endpoint: it gives none to other people's."""

    kinds: tuple[str, ...] = ("address added", "address removed")
    does = "(told by nmcli) has just changed the address: writes or takes away its endpoint; no table and no rules"
    uplinks, rounds = 2, 6
    quiet, limit = 0.3, 5.0
    only4 = True  # it gives fc00::/7, which the lab has, no endpoints
    more = f"mptcp-flags={SUBFLOW}\n"

    def start(self, lab: Lab, folder: Path, stack: ExitStack) -> subprocess.Popen[str]:
        """Start it in the lab's client, and keep what nmcli needs.

        Args:
            lab: the lab.
            folder: for its files.
            stack: ends the bus.
        """
        process = super().start(lab, folder, stack)
        unpack = unpacked("networkmanager", PACKAGES)
        self._nmcli = program(unpack, "usr/bin/nmcli")
        self._env = os.environ | environment(unpack) | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={folder / 'bus'}"}
        return process

    def acts(self, event: Event) -> bool:
        """Tell it of the address by nmcli.

        Args:
            event: what is to happen.
        """
        _, verb, address, _, dev = event.line.split()
        family = "ipv6" if ":" in address else "ipv4"
        words = ["device", "modify", dev, f"{'+' if verb == 'add' else '-'}{family}.addresses", address]
        done = subprocess.run(
            [self._nmcli, *words], env=self._env, capture_output=True, text=True, check=False, timeout=NMCLI_LIMIT
        )
        if done.returncode:
            raise LabError(f"nmcli {' '.join(words)}: exit status {done.returncode}", done.stderr.strip())
        return True

    def right(self, lab: Lab, number: int, kind: str) -> bool:
        """Whether every IPv4 address of the uplink has its endpoint, and no other address.

        Args:
            lab: the lab.
            number: of the uplink.
            kind: of the event.
        """
        return complete(lab, number, only4=True)

    def listening(self, lab: Lab, ear: Ear) -> AbstractContextManager[None]:
        """Looks at the endpoints again and again, and tells the ear when they change.

        Args:
            lab: the lab.
            ear: of its client.
        """
        return watched(lab, ear)
