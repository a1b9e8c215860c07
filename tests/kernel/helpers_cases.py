"""One case of source routing: a client with uplinks, mpathd in it, and its packets seen at the far side.

The far host `net` has a device for each uplink (up1 ---- net1, up2 ---- net2, ...), so the device that a packet
comes in by is the way that it took.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
import select
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

from labkit import SERVER4, SERVER6, Echo, Lab, LabError, Packet, Watch, send_udp
from labkit.agent import MEMORY, Agent, Bus, eventually

PORT = 7
UNREACHABLE = {"ENETUNREACH", "EHOSTUNREACH"}
PROTOCOL = "proto 109"
TUNNELED = {4, 41}  # protocols of IPv4 and IPv6 in IP
SECOND = ("10.64.2.3", "fd00:64:2::3")  # of the second gateway
STREAM_MOST, STREAM_PAUSE = 5000, 0.002  # datagrams of a stream, and seconds between two

# What the lab `uplinks-N` gives to the client: its addresses on an uplink, both families.
UP1 = ("10.64.1.2", "fd00:64:1::2")
UP2 = ("10.64.2.2", "fd00:64:2::2")


def table_of(index: int) -> int:
    """The number of a service's table (mpathd(8)).

    Args:
        index: the link's interface index.
    """
    return 255 + index if index < 65536 else 0x80000000 + index


def server_of(address: str) -> str:
    """The server's address in the family of another.

    Args:
        address: whose family counts.
    """
    return SERVER6 if ":" in address else SERVER4


class Case:
    """A lab, an agent that is started when the case is laid out, a bus, an echo server and a watch at the far side.

    Args:
        name: of the lab; this process's id is added, so that two runs of the tests do not meet.
        topology: of the lab.
        client: host of mpathd.
        server: host of the echo server.
        far: (host, device) pairs that are watched; all of host `net` if not given.
    """

    def __init__(
        self,
        name: str,
        topology: str = "uplinks-2",
        *,
        client: str = "client",
        server: str = "net",
        far: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.lab = Lab(topology, name=f"{name}-{os.getpid()}", quiet=True)
        self.client, self.server = client, server
        self.far = list(far) or [(end.host, end.dev) for end in self.lab.topology.ends("net")]
        self._prelude = ""
        self._stack = ExitStack()
        self._count = itertools.count()
        self._watch: Watch | None = None
        self._agent: Agent | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mpathd-", dir=MEMORY)))
            stack.enter_context(self.lab)
            stack.enter_context(Echo(self.lab, self.server, PORT))
            self.bus = stack.enter_context(Bus(self.folder))
            stack.callback(self._unwatch)
            self._stack = stack.pop_all()
        self.look()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    # Laying it out.

    @property
    def agent(self) -> Agent:
        """The agent, once started."""
        assert self._agent is not None
        return self._agent

    @property
    def watch(self) -> Watch:
        """What is seen at the far side."""
        assert self._watch is not None
        return self._watch

    def start(self, config: str = "", args: Sequence[str] = ("--mpathrouting",), prelude: str = "") -> None:
        """Start mpathd.

        Args:
            config: its configuration.
            args: its arguments.
            prelude: see labkit.agent.Agent.
        """
        self._prelude = prelude
        self._agent = Agent(
            self.lab, self.client, args, bus=self.bus, config=config, folder=self.folder, prelude=prelude
        )
        self._stack.enter_context(self._agent)
        self._stack.callback(self._end)

    def _end(self) -> None:
        if self.agent.running:
            self.agent.kill()  # its goodbye is tested elsewhere, and all that it made goes with the lab

    def reload(self, config: str) -> None:
        """Give mpathd another configuration with SIGHUP.

        Args:
            config: its text.
        """
        self.agent.config.write_text(config)
        self.agent.signal(signal.SIGHUP)

    def ip(self, *lines: str) -> None:
        """Run `ip` in the client, all lines in one process.

        Args:
            lines: what stands after `ip`.
        """
        self.lab.batch(self.client, lines)

    def net(self, *lines: str) -> None:
        """Run `ip` in the far host, all lines in one process.

        Args:
            lines: what stands after `ip`.
        """
        self.lab.batch(self.server, lines)

    def lost(self, *devices: str) -> None:
        """Stop watching devices that are about to go.

        Args:
            devices: their names at the far side.
        """
        self.far = [place for place in self.far if place[1] not in devices]
        self.look()

    def look(self, *more: tuple[str, str]) -> None:
        """Watch the far side anew.

        Args:
            more: further places to be watched.
        """
        self.far.extend(more)
        self._unwatch()
        self._watch = Watch(self.lab, self.far).start()

    def second_gateway(self) -> None:
        """Give uplink 2 one more gateway, SECOND; what goes by it is seen at "net2,second"."""
        self.lab.sysctl(self.server, {"net.ipv4.conf.all.arp_ignore": 1})
        self.net(
            "link add link net2 name second type macvlan mode bridge",
            *(f"addr add {address} dev second" for address in SECOND),
            "link set second up",
        )
        self.look((self.server, "second"))

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    # Packets.

    def way(self, source: str, to: str = "") -> str:
        """Send a datagram bound to an address, and give the device at which it arrived, or the kernel's refusal.

        Devices of one name are told apart by their hosts; of several that see it all are named.

        Args:
            source: the address.
            to: where it goes; the lab's server if not given.
        """
        text = self._text()
        sent = send_udp(self.lab, self.client, to or server_of(source), PORT, source=source, payload=text)
        if sent.error:
            assert self._arrived(self.watch.packets(), text) == ""
            return errno.errorcode[sent.error]
        self.watch.wait(lambda packets: self._arrived(packets, text))
        # Devices are read one after the other: one that stands below may have been read just before it arrived there.
        return self._arrived(self.watch.packets(), text)

    def _text(self) -> bytes:
        return f"case {next(self._count):08}".encode()

    def _arrived(self, packets: Iterable[Packet], text: bytes) -> str:
        seen = {
            (packet.host, packet.dev)
            for packet in packets
            if packet.way == "in"
            and (packet.payload == text or (packet.proto in TUNNELED and packet.payload.endswith(text)))
        }
        return ",".join(self.label(*place) for place in self.far if place in seen)

    def label(self, host: str, dev: str) -> str:
        """Name a device of the far side; by its host if another has the same name.

        Args:
            host: its host.
            dev: its name.
        """
        return dev if [name for _, name in self.far].count(dev) == 1 else host

    def ways(self, *sources: str, to: str = "") -> Mapping[str, str]:
        """Give the way of each source.

        Args:
            sources: the addresses.
            to: where it goes; the lab's server if not given.
        """
        return {source: self.way(source, to) for source in sources}

    def leave_by(self, device: str, *sources: str, to: str = "") -> None:
        """Assert that what is bound to some addresses arrives at a device of the far side.

        Args:
            device: the device.
            sources: the addresses.
            to: where it goes; the lab's server if not given.
        """
        wrong = {source: way for source, way in self.ways(*sources, to=to).items() if way != device}
        assert not wrong, f"wanted by {device}, went: {wrong}"

    def refused(self, *sources: str) -> None:
        """Assert that sockets bound to some addresses hear "unreachable" at once, and nothing leaves.

        Args:
            sources: the addresses.
        """
        wrong = {source: way for source, way in self.ways(*sources).items() if way not in UNREACHABLE}
        assert not wrong, f"wanted none to leave, went: {wrong}"

    def answered(self, source: str, timeout: float = 2.0) -> bool:
        """Tell whether the server's answer comes back to an address.

        Args:
            source: the address to which the socket is bound.
            timeout: seconds.
        """
        text = self._text()
        sent = send_udp(self.lab, self.client, server_of(source), PORT, source=source, payload=text, timeout=timeout)
        return sent.reply == text

    # What mpathd says and does.

    def steps(self) -> list[str]:
        """Give what a fresh look of mpathd would write (`mpathd --dry-run` with the daemon's settings)."""
        if not self._prelude:
            done = self.agent.once("--dry-run")
        else:
            argv = ["sh", "-ec", f'{self._prelude}; exec "$@"', "sh", *self.agent.argv("--dry-run")]
            done = self.lab.exec(self.client, argv, check=False, env=self.agent.env)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return [line for line in done.stdout.splitlines() if not line.startswith("#")]

    def settle(self, timeout: float = 5.0) -> None:
        """Wait until the kernel is as a fresh look wants it.

        Args:
            timeout: seconds.
        """
        last: list[list[str]] = []

        def nothing() -> bool:
            last[:] = [self.steps()]
            return last == [[]]

        with suppress(LabError):
            eventually(nothing, timeout)
        assert last == [[]], f"mpathd --dry-run would write: {last}"

    def status(self) -> Mapping[str, Any]:
        """Give what `mpathctl status --json` prints."""
        done = self.agent.ctl("status", "--json")
        assert done.returncode == 0, done.stderr
        found: Mapping[str, Any] = json.loads(done.stdout)
        return found

    def services(self) -> Mapping[str, Mapping[str, Any]]:
        """Give the services, by interface."""
        done = self.agent.ctl("services", "--json")
        assert done.returncode == 0, done.stderr
        return {service["Interface"]: service for service in json.loads(done.stdout)}

    def findings(self) -> Mapping[str, Mapping[str, str]]:
        """Give the findings, by code."""
        return {finding["Code"]: finding for finding in self.status()["Findings"]}

    def run_cure(self, cure: str) -> None:
        """Run a cure as printed.

        Args:
            cure: the command.
        """
        tools = self.folder / "tools"
        tools.mkdir(exist_ok=True)
        words = self.agent.argv()
        (tools / "mpathctl").write_text(f'#!/bin/sh\nexec {words[0]} -m mpathd.ctl "$@"\n')
        (tools / "mpathctl").chmod(0o755)
        env = {**self.agent.env, "PATH": f"{tools}:{self.agent.env['PATH']}"}
        self.lab.exec(self.client, ["sh", "-ec", cure], env=env)

    # What is in the kernel, read a second way.

    def rules(self, source: str = "") -> list[str]:
        """Give mpathd's rules in the client, as `ip rule` prints them.

        Args:
            source: only those of this address.
        """
        both = self.lab.ip(self.client, "-4 rule") + self.lab.ip(self.client, "-6 rule")
        ours = [line for line in both.splitlines() if PROTOCOL in line]
        return [line for line in ours if not source or f"from {source} " in line]

    def table(self, number: int) -> list[str]:
        """Give a routing table of the client, both families.

        Args:
            number: of the table.
        """
        texts = [
            self.lab.ip(self.client, f"{family} route show table {number}", check=False) for family in ("-4", "-6")
        ]
        return [" ".join(line.split()) for text in texts for line in text.splitlines()]

    def table_by(self, device: str) -> list[str]:
        """Give the routing table of a link's service.

        Args:
            device: the link.
        """
        return self.table(table_of(self.lab.index(self.client, device)))

    def uncopied(self, device: str) -> list[str]:
        """Give the routes of main by a link that its table lacks, whatever the protocol; main's defaults as well.

        Args:
            device: the link.
        """
        table = {re.sub(r" proto \S+", "", route) for route in self.table_by(device)}
        main = [re.sub(r" proto \S+", "", route) for route in self.table(254) if f"dev {device} " in f"{route} "]
        return [route for route in main if route not in table and not route.startswith("fe80::/64 ")]

    def addresses(self, device: str, *words: str) -> list[str]:
        """Give addresses of a link of the client.

        Args:
            device: the link.
            words: flags and states that `ip address show` filters by.
        """
        text = self.lab.ip(self.client, f"-o address show dev {device} scope global {' '.join(words)}")
        return re.findall(r"inet6? ([0-9a-f.:]+)", text)

    def tables_in_use(self) -> set[int]:
        """Give the numbers of all tables with routes of mpathd."""
        texts = [self.lab.ip(self.client, f"{family} -N route show table all {PROTOCOL}") for family in ("-4", "-6")]
        return {int(number) for text in texts for number in re.findall(r" table (\d+)", text)}


class Stream:
    """Datagrams bound to addresses, sent without a rest while something happens.

    Args:
        case: the case.
        sources: the addresses, each bound once, at the start.
    """

    def __init__(self, case: Case, *sources: str) -> None:
        self._case, self._sources = case, sources
        self._wake, self._stop = socket.socketpair()
        self._thread = threading.Thread(target=self._send, name="stream", daemon=True)
        self._sockets: dict[str, socket.socket] = {}
        self.refused = 0  # datagrams that the kernel refused to send

    def __enter__(self) -> Self:
        for source in self._sources:
            family = socket.AF_INET6 if ":" in source else socket.AF_INET
            sock = self._case.lab.socket(self._case.client, family, socket.SOCK_DGRAM)
            sock.bind((source, 0))
            self._sockets[source] = sock
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._wake.close()
        self._thread.join()
        self._stop.close()
        for sock in self._sockets.values():
            sock.close()

    def _send(self) -> None:
        for number in range(STREAM_MOST // max(1, len(self._sources))):
            for source, sock in self._sockets.items():
                try:
                    sock.sendto(f"stream {source} {number}".encode(), (server_of(source), PORT))
                except OSError:  # nothing left by another link: as good
                    self.refused += 1
            if select.select([self._stop], [], [], STREAM_PAUSE)[0]:
                return

    def seen(self, watch: Watch | None = None) -> Mapping[str, set[str]]:
        """Give the devices at which each source's datagrams arrived.

        Args:
            watch: where; the case's if not given.
        """
        found: dict[str, set[str]] = {source: set() for source in self._sources}
        for packet in (watch or self._case.watch).packets(way="in"):
            words = packet.payload.split()
            if len(words) == 3 and words[0] == b"stream":
                found[words[1].decode()].add(self._case.label(packet.host, packet.dev))
        return found


def poll(condition: Callable[[], object], what: str, timeout: float = 5.0) -> None:
    """Wait until a condition holds; unlike `eventually` it says what was waited for and swallows no error.

    Args:
        condition: what must come to hold.
        what: named when it does not.
        timeout: seconds.
    """
    eventually(lambda: bool(condition()), timeout, what)
