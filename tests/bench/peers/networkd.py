"""systemd-networkd: addresses, routes in main and in a table of each uplink's own, and rules, at carrier."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

from labkit import Lab, Topology

from .base import Heard, bare, isolated, nets
from .fetch import environment, program, unpacked

PACKAGES = ("systemd", "libsystemd-shared")
PLACES = ("lib/systemd/systemd-networkd", "usr/lib/systemd/systemd-networkd")
USER = "systemd-network:x:65533:65533::/:/usr/sbin/nologin"
TABLE = 1000

UPLINK = """[Match]
Name={dev}
[Network]
Address={net4}.2/24
Address={net6}:2/64
LinkLocalAddressing=no
IPv6AcceptRA=no
LLDP=no
[Route]
Gateway={net4}.1
Metric={metric}
[Route]
Gateway={net6}:1
Metric={metric}
[Route]
Gateway={net4}.1
Table={table}
[Route]
Gateway={net6}:1
Table={table}
[RoutingPolicyRule]
From={net4}.2
Table={table}
Priority=22002
[RoutingPolicyRule]
From={net6}:2
Table={table}
Priority=22002
"""


class Networkd(Heard):
    """networkd's uplinks with a table and a rule for each address, as an administrator writes them by hand."""

    name = "systemd-networkd"
    kinds: tuple[str, ...] = ("carrier lost", "carrier back")
    does = "takes away or writes addresses, default routes, source rules of its own .network file"
    bar = "above 1x"
    uplinks, rounds = 8, 6
    quiet, limit = 0.04, 5.0
    hidden = False

    def topology(self, count: int) -> Topology:
        """Links without addresses.

        Args:
            count: number of uplinks.
        """
        return bare(count)

    def start(self, lab: Lab, folder: Path, stack: ExitStack) -> subprocess.Popen[str]:
        """Start it in the lab's client.

        Args:
            lab: the lab.
            folder: for its files.
            stack: not needed.
        """
        unpack = unpacked("networkd", PACKAGES)
        binary = program(unpack, *PLACES)
        units = folder / "network"
        units.mkdir()
        for number in range(1, len(lab.topology.links) + 1):
            net4, net6 = nets(number)
            text = UPLINK.format(dev=f"up{number}", net4=net4, net6=net6, metric=100 + number, table=TABLE + number)
            (units / f"up{number}.network").write_text(text)
        passwd = folder / "passwd"
        lines = [
            line for line in Path("/etc/passwd").read_text().splitlines() if not line.startswith("systemd-network:")
        ]
        passwd.write_text("\n".join([*lines, USER]) + "\n")
        prelude = [
            "mount -o remount,ro /sys",  # writable sysfs would make it wait for udev
            f"mount --bind {passwd} /etc/passwd",
            f"cp -r {units} {folder / 'copy'}",
            "mount -t tmpfs tmpfs /run",
            "mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp",
            f"mv {folder / 'copy'} /run/systemd/network",
            "chmod -R a+rX /run/systemd/network; chown -R 65533:65533 /run/systemd/netif",
            "if [ -d /etc/systemd/network ]; then mount -t tmpfs tmpfs /etc/systemd/network; fi",
        ]
        env = {**environment(unpack), "SYSTEMD_LOG_LEVEL": "info", "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/run/no-bus"}
        return isolated(lab, prelude, [str(binary)], folder / "log", env)

    def right(self, lab: Lab, number: int, kind: str) -> bool:
        """Whether rule and tables of both families are there, or gone.

        Args:
            lab: the lab.
            number: of the uplink.
            kind: of the event.
        """
        table = TABLE + number
        found = [bool(lab.ip("client", f"{family} route show table {table}", check=False)) for family in ("-4", "-6")]
        found += [f"lookup {table}" in lab.ip("client", f"{family} rule") for family in ("-4", "-6")]
        return not any(found) if kind == "carrier lost" else all(found)
