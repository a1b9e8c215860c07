"""NetworkManager: addresses and default routes of a profile for each uplink, at carrier."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

from labkit import Lab, Topology
from labkit.agent import Bus

from .base import Heard, bare, isolated, nets
from .fetch import environment, program, unpacked

PACKAGES = (
    "network-manager", "libnm0", "libndp0", "libteamdctl0", "libbluetooth3", "libmm-glib0", "libnewt0.52",
    "libjansson4", "libcurl3-gnutls", "libpsl5",
)  # fmt: skip
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
PROFILE = """[connection]
id={dev}
uuid=00000000-0000-4000-8000-{number:012x}
type=ethernet
interface-name={dev}
[ipv4]
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
            file.write_text(PROFILE.format(dev=dev, number=number, net4=net4, net6=net6, metric=metric))
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
