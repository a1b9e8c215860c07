"""What tests of MPTCP share: passes of look, plan and apply with the real hands, and connections to look at."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from kernel.conftest import fresh_name
from labkit import SERVER4, SERVER6, Lab
from labkit.agent import eventually
from labkit.netns import in_ns
from mpathd.kernel.machine import Machine
from mpathd.kernel.mptcp import Diag, Events, PathManager
from mpathd.model.connections import Connection, Subflow
from mpathd.model.mptcp import Change, Event, Kind, Mptcp, Options
from mpathd.model.policy import Policy, ServiceSettings, Stored
from mpathd.model.view import Finding, Service
from mpathd.model.words import MptcpMode
from mpathd.plan.desire import desire
from mpathd.plan.diff import diff
from mpathd.plan.mptcp import changes
from mpathd.plan.mptcp import desire as desire_mptcp
from mpathd.plan.outcome import confirmed
from mpathd.plan.show import show
from mpathd.plan.tables import gateways_of_main

IPPROTO_MPTCP = 262
SERVER = {4: SERVER4, 6: SERVER6}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Passed:
    """What one pass did.

    Args:
        changes: writes to endpoints and limits, as they were asked for.
        refused: of those.
        services: as they are.
        findings: about MPTCP.
    """

    changes: tuple[Change, ...]
    refused: tuple[str, ...]
    services: tuple[Service, ...]
    findings: tuple[Finding, ...]


class Bond:
    """A client with uplinks, where routing and endpoints are kept by passes that the test asks for.

    Args:
        links: number of uplinks.
    """

    def __init__(self, links: int) -> None:
        self.lab = Lab(f"bond-{links}", fresh_name(), quiet=True)
        self.modes: dict[str, MptcpMode] = {}
        self.options = Options()

    def __enter__(self) -> Self:
        self.lab.__enter__()
        self.ns = self.lab.ns("client")
        self.machine: Machine = in_ns(self.ns, Machine)
        self.hand: PathManager = in_ns(self.ns, PathManager)
        self.diag: Diag = in_ns(self.ns, Diag)
        self.ears: dict[str, Events] = {host: in_ns(self.lab.ns(host), Events) for host in ("client", "server")}
        self.heard: dict[str, list[Event]] = {host: [] for host in self.ears}
        return self

    def __exit__(self, *error: object) -> None:
        for ear in self.ears.values():
            ear.close()
        self.diag.close()
        self.hand.close()
        self.machine.close()
        self.lab.__exit__(*error)

    # The road: look, desire, diff, apply; endpoints behind the routing.

    def pass_(self, *, routing: bool = True) -> Passed:
        """Run a pass.

        Args:
            routing: write routes and rules; else only look at them.
        """
        return in_ns(self.ns, lambda: self._pass(routing=routing))

    def _pass(self, *, routing: bool) -> Passed:
        world = self.machine.look(109)
        world = replace(world, gateways=gateways_of_main(world))
        names = {index: link.name for index, link in world.links.items()}
        policy = self.policy(names)
        wanted = desire(world, policy)
        services = show(world, policy, wanted).services
        there = world.have
        if routing:
            steps = diff(wanted.kernel, world.have, world.rules, world.foreign)
            _, refused = self.machine.apply(steps)
            there = confirmed(wanted.kernel, (step for step, _ in refused))
        found = self.hand.look(names)
        want = desire_mptcp(services, found, there, policy.numbers, self.options)
        due = changes(want, found)
        _, rejected = self.hand.apply(due)
        return Passed(due, tuple(str(refusal) for _, refusal in rejected), services, want.findings)

    def policy(self, names: Mapping[int, str]) -> Policy:
        """What is wished for: all links routed, MPTCP as `modes` says.

        Args:
            names: of links by index.
        """
        macs = {f"ethernet_02b00000000{name.removeprefix('up')}_cable": name for name in names.values()}
        stored = {name: {"mpath_tcp_link": str(self.modes.get(dev, MptcpMode.ON))} for name, dev in macs.items()}
        return Policy(defaults=ServiceSettings(multipath_routing=True), stored=Stored(services=stored))

    def look(self) -> Mptcp:
        """Look at endpoints and limits, once nothing is under way any more."""
        self.hand.settle()
        names = {self.lab.index("client", end.dev): end.dev for end in self.lab.topology.ends("client")}
        return in_ns(self.ns, lambda: self.hand.look(names))

    # Connections.

    @contextmanager
    def talk(
        self, family: int = 4, far: int = IPPROTO_MPTCP, near: int = IPPROTO_MPTCP, *, anywhere: bool = False
    ) -> Iterator[tuple[socket.socket, socket.socket]]:
        """A connection of which both sides have heard a word, so that its subflows come.

        Args:
            family: 4 or 6.
            far: protocol of the server's socket.
            near: of the client's.
            anywhere: the server listens at all of its addresses.
        """
        with talk(self.lab, family, far, near, anywhere=anywhere) as both:
            yield both

    def subflows(self) -> tuple[Subflow, ...]:
        """The client's subflows, by source."""
        return tuple(sorted(self.diag.subflows(), key=lambda one: one.source))

    def sources(self) -> list[str]:
        """The addresses of the client's subflows that both ends have agreed on."""
        return [one.source for one in self.subflows() if one.established]

    def connection(self) -> Connection:
        """The client's one connection."""
        (one,) = self.diag.connections()
        return one

    # Events.

    def events(self, host: str, kind: Kind) -> list[Event]:
        """What a host has heard of a kind so far.

        Args:
            host: client or server.
            kind: of events.
        """
        self.heard[host].extend(self.ears[host].drain())
        return [event for event in self.heard[host] if event.kind is kind]

    def event(self, host: str, kind: Kind, **fits: object) -> Event:
        """Wait for an event.

        Args:
            host: client or server.
            kind: of the event.
            fits: fields that it must have.
        """

        def found() -> list[Event]:
            return [e for e in self.events(host, kind) if all(getattr(e, k) == v for k, v in fits.items())]

        return eventually(found, what=f"{kind.words} {fits} at {host}")[0]


@contextmanager
def talk(
    lab: Lab, family: int = 4, far: int = IPPROTO_MPTCP, near: int = IPPROTO_MPTCP, *, anywhere: bool = False
) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection of which both sides have heard a word, so that its subflows come.

    Args:
        lab: with a client and a server.
        family: 4 or 6.
        far: protocol of the server's socket.
        near: of the client's.
        anywhere: the server listens at all of its addresses.
    """
    af = socket.AF_INET if family == 4 else socket.AF_INET6
    with (
        lab.socket("server", af, socket.SOCK_STREAM, far) as ear,
        lab.socket("client", af, socket.SOCK_STREAM, near) as client,
    ):
        ear.bind(("" if anywhere else SERVER[family], 0))
        ear.listen(1)
        client.settimeout(5.0)
        client.connect((SERVER[family], ear.getsockname()[1]))
        server, _ = ear.accept()
        with server:
            server.settimeout(5.0)
            say(client, server)
            say(server, client)
            yield client, server


def say(sender: socket.socket, receiver: socket.socket, word: bytes = b"word") -> None:
    """Send a word and wait until it is there.

    Args:
        sender: who says it.
        receiver: who hears it.
        word: what is said.
    """
    sender.sendall(word)
    got = b""
    while len(got) < len(word):
        piece = receiver.recv(len(word) - len(got))
        assert piece, "the connection was closed"
        got += piece
    assert got == word


def wait(condition: Callable[[], T], what: str) -> T:
    """Wait for a condition.

    Args:
        condition: anything true ends the wait.
        what: named in the error.
    """
    return eventually(condition, what=what)
