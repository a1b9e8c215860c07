"""How scenarios speak: every line shown is the output of a command run then; what it says is checked in another way."""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from labkit import Lab, LabError, Topology, Watch, load, send_udp
from labkit.agent import MEMORY, Agent, Bus, eventually

SERVER = {socket.AF_INET: "192.0.2.9", socket.AF_INET6: "2001:db8:9::9"}
PORT = 7777  # of the probes; nobody needs to listen
PATIENCE = 10.0  # seconds until a command that runs on has said what is waited for


class Story:
    """A lab with mpathd in it, told to a reader.

    Args:
        lab: the lab.
        agent: mpathd in one of its hosts.
    """

    def __init__(self, lab: Lab, agent: Agent) -> None:
        self.lab, self.agent, self.host = lab, agent, agent.host
        self.failures: list[str] = []

    def say(self, text: str) -> None:
        """Print a heading.

        Args:
            text: one sentence.
        """
        print(f"\n# {text}", flush=True)

    def show(self, command: str) -> str:
        """Run a command in the host as a person would, and print it with its output.

        Args:
            command: what is typed; mpathctl is the clone's.
        """
        words = shlex.split(command)
        ours = words[0] == "mpathctl"
        done = self.agent.ctl(*words[1:]) if ours else self.lab.exec(self.host, words, check=False)
        print(f"$ {command}", flush=True)
        if said := (done.stdout + done.stderr).rstrip():
            print(said, flush=True)
        if done.returncode:
            self.failures.append(f"{command}: exit status {done.returncode}")
        return done.stdout

    def holds(self, truth: object, text: str) -> None:
        """Check something and say so.

        Args:
            truth: whether it holds.
            text: what should hold.
        """
        print(f"{'ok    ' if truth else 'FAILED'} {text}", flush=True)
        if not truth:
            self.failures.append(text)

    def services(self) -> list[dict[str, Any]]:
        """Ask mpathctl for the services, as data."""
        found = json.loads(self.agent.ctl("services", "--json").stdout)
        services: list[dict[str, Any]] = found["services"] if isinstance(found, dict) else found
        return services

    def links(self) -> dict[str, dict[int, str]]:
        """Each uplink's name with its addresses by family, from the kernel."""
        out: dict[str, dict[int, str]] = {}
        for line in self.lab.ip(self.host, "-o addr show up scope global").splitlines():
            words = line.split()
            family = socket.AF_INET if words[2] == "inet" else socket.AF_INET6
            if words[1] != "lo":
                out.setdefault(words[1], {})[family] = words[3].split("/")[0]
        return out

    def way(self, watch: Watch, source: str | None, family: int, mark: bytes) -> tuple[str, ...]:
        """Send one datagram and give the devices on the far side that saw it.

        Args:
            watch: sees the far side.
            source: address to bind to; None leaves the socket unbound.
            family: IPv4 or IPv6.
            mark: the payload, to know it by.
        """
        watch.clear()
        sent = send_udp(self.lab, self.host, SERVER[socket.AddressFamily(family)], PORT, source=source, payload=mark)
        if not sent.ok:
            return ()
        watch.wait(lambda packets: any(p.payload == mark for p in packets))
        return watch.devices(payload=mark)

    def unplug(self, dev: str) -> None:
        """Pull the cable of a link at its far end.

        Args:
            dev: the link.
        """
        router, far = beyond(self.lab, self.host, dev)
        # A link that is set down loses its IPv6 addresses; at the router's end that would be more than a pulled cable.
        self.lab.sysctl(router, {"net.ipv6.conf.all.keep_addr_on_down": 1})
        self.lab.ip(router, f"link set {far} down")

    def plug(self, dev: str) -> None:
        """Put a cable back.

        Args:
            dev: the link.
        """
        router, far = beyond(self.lab, self.host, dev)
        self.lab.ip(router, f"link set {far} up")

    def end(self) -> int:
        """Say how it went and give the exit status."""
        print()
        for failure in self.failures:
            print(f"FAILED {failure}")
        print("all of it held" if not self.failures else f"{len(self.failures)} did not hold", flush=True)
        return 1 if self.failures else 0


class Monitor:
    """A command of mpathctl's that runs on beside the story.

    Args:
        story: the story.
        command: what is typed.
    """

    def __init__(self, story: Story, command: str) -> None:
        self._story = story
        self._command = command
        self._process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        print(f"$ {self._command} &", flush=True)
        self._process = self._story.agent.spawn_ctl(*shlex.split(self._command)[1:])
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def until(self, text: str) -> None:
        """Wait until it says something, and print all that it has said.

        Args:
            text: what it is to say.

        Raises:
            LabError: it did not.
        """
        assert self._process.stdout is not None
        said = ""
        while text not in said or not said.endswith("\n"):  # the whole line: it may arrive in pieces
            ready, _, _ = select.select([self._process.stdout], [], [], PATIENCE)
            data = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
            if not data:
                raise LabError(f"{self._command} did not say: {text}", f"it said: {said}", "look at mpathd's log")
            said += data.decode()
        print(said, end="", flush=True)


@contextmanager
def told(topology: str | Topology, host: str, args: Sequence[str] = (), *, quiet: bool = False) -> Iterator[Story]:
    """Raise a lab, a private bus and mpathd, and take all of it away again.

    Args:
        topology: it, or its name.
        host: where mpathd runs.
        args: mpathd's arguments.
        quiet: do not print the lab's commands.
    """
    made = load(topology) if isinstance(topology, str) else topology
    if not quiet:
        print(made.drawing)
    with tempfile.TemporaryDirectory(prefix="mpathd-", dir=MEMORY) as name:
        folder = Path(name)
        with (
            Bus(folder) as bus,
            Lab(made, f"story{folder.name[-4:]}", quiet=quiet) as lab,
            Agent(lab, host, args, bus=bus, folder=folder) as agent,
        ):
            eventually(lambda: agent.ctl("status").returncode == 0, 10, "mpathd on the bus")
            yield Story(lab, agent)


def quietly(name: str, text: str, argv: Sequence[str]) -> bool:
    """Read the command line of a story that takes nothing but -q, and tell whether it is there.

    Args:
        name: the scenario.
        text: what it shows.
        argv: the words after its name.
    """
    parser = argparse.ArgumentParser(prog=f"lab run {name}", description=text)
    parser.add_argument("-q", "--quiet", action="store_true", help="do not print the lab's commands")
    return bool(parser.parse_args(argv).quiet)


def far_side(lab: Lab, host: str) -> list[tuple[str, str]]:
    """Give the places across each of a host's links, where what left by it can be seen.

    Args:
        lab: the lab.
        host: the host.
    """
    out = []
    for link in lab.topology.links:
        out += [(far.host, far.dev) for near, far in ((link.a, link.b), (link.b, link.a)) if near.host == host]
    return out


def beyond(lab: Lab, host: str, dev: str) -> tuple[str, str]:
    """Give the host and the device at the far end of a link.

    Args:
        lab: the lab.
        host: the near host.
        dev: the near device.
    """
    for link in lab.topology.links:
        for near, far in ((link.a, link.b), (link.b, link.a)):
            if (near.host, near.dev) == (host, dev):
                return far.host, far.dev
    raise KeyError(dev)


def across(lab: Lab, host: str, dev: str) -> str:
    """Give the name of the device at the far end of a link.

    Args:
        lab: the lab.
        host: the near host.
        dev: the near device.
    """
    return beyond(lab, host, dev)[1]


def rule_lines(text: str, address: str) -> list[str]:
    """Give the rules of an address from the output of `ip rule`.

    Args:
        text: the output.
        address: the address.
    """
    return [line for line in text.splitlines() if re.search(rf"from {re.escape(address)}(?: |/|$)", line)]
