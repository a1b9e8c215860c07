"""What kernel tests share: traffic whose way the far side tells, a steady stream, waiting until mpathd has looked; and
the lab in which a file tests sessions.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Self

import pytest

from kernel.helpers_cgroup import Cgroup
from kernel.helpers_peer import Peer
from kernel.helpers_sessions import OF, UPLINKS, Case
from kernel.helpers_shared import Engine, lab
from labkit import SERVER4, SERVER6, Lab, Outcome, Packet, Watch, ping, send_udp, tcp_connect
from labkit.agent import eventually

PORT = 7  # of the echo servers
FAMILIES = (4, 6)
SERVER = {4: SERVER4, 6: SERVER6}
UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH}
TCP = (6,)
PAUSE = 0.001  # seconds between two packets of a stream
_numbers = count(1)


def fresh_name() -> str:
    """Give a name that no other lab on this machine has, also when two people run the tests at once."""
    return f"kl{os.getpid()}x{next(_numbers)}"


@contextmanager
def namespace() -> Iterator[str]:
    """A bare network namespace; its name."""
    name = fresh_name()
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@dataclass(frozen=True, slots=True)
class Went:
    """What came of a try to reach something.

    Args:
        devices: where the far side saw packets of it.
        source: the address that they had; empty if there were none.
        error: errno that the socket heard, 0 if none.
        answered: a reply came back.
    """

    devices: tuple[str, ...]
    source: str
    error: int
    answered: bool = False


class Tries:
    """Reaches things from a host and tells which way it went.

    Args:
        lab: the lab.
        watch: at the far sides of all ways.
        host: who tries.
        patience: seconds until a TCP connection or an answer is given up.
    """

    def __init__(self, lab: Lab, watch: Watch, host: str = "client", patience: float = 2.0) -> None:
        self._lab, self._watch, self._host, self._patience = lab, watch, host, patience

    def udp(self, dst: str, source: str | None = None, *, answer: bool = True) -> Went:
        """Sends a datagram.

        Args:
            dst: to whom.
            source: address to bind to; None: the kernel chooses.
            answer: somebody answers; else the far side is asked until it has seen the packet.
        """
        payload = f"try {os.getpid()} {next(_numbers)}".encode()
        limit = self._patience if answer else 0.0
        done = send_udp(self._lab, self._host, dst, PORT, source, payload, timeout=limit)
        return self._went(done, lambda packet: packet.payload == payload, answer=answer)

    def sendto(self, dst: str, source: str | None = None) -> Went:
        """Sends a datagram by a socket that is not connected: the kernel looks its way up once, not twice.

        Args:
            dst: to whom.
            source: address to bind to; None: the kernel chooses.
        """
        payload = f"sendto {os.getpid()} {next(_numbers)}".encode()
        family = socket.AF_INET6 if ":" in dst else socket.AF_INET
        with self._lab.socket(self._host, family, socket.SOCK_DGRAM) as sock:
            error = 0
            try:
                if source:
                    sock.bind((source, 0))
                sock.sendto(payload, (dst, PORT))
            except OSError as trouble:
                error = trouble.errno or 1
            return self._went(Outcome(error), lambda packet: packet.payload == payload, answer=False)

    def tcp(self, dst: str, source: str | None = None, *, answer: bool = True) -> Went:
        """Connects and exchanges a word.

        Args:
            dst: to whom.
            source: address to bind to; None: the kernel chooses.
            answer: somebody answers; else the first SYN is all that is looked at.
        """
        self._watch.clear()
        limit = self._patience if answer else 0.1
        done = tcp_connect(self._lab, self._host, dst, PORT, source, limit, payload=b"word")

        def mine(packet: Packet) -> bool:  # a failed one has no port: it got no further than its SYN
            known = packet.sport == done.sport if done.sport else packet.flags == "S"
            return known and packet.proto in TCP and packet.dst == dst

        return self._went(done, mine, answer=answer)

    def ping(self, dst: str, source: str | None = None, *, answer: bool = True) -> Went:
        """Sends an echo request.

        Args:
            dst: to whom.
            source: address to bind to; None: the kernel chooses.
            answer: somebody answers.
        """
        self._watch.clear()
        done = ping(self._lab, self._host, dst, source, self._patience if answer else 0.0)
        asks = {(1, 8), (58, 128)}
        return self._went(done, lambda p: (p.proto, p.sport) in asks and p.dst == dst, answer=answer)

    def every(self, dst: str, source: str | None = None, *, answer: bool = True) -> dict[str, Went]:
        """Tries UDP, connected and not, TCP and ping.

        Args:
            dst: to whom.
            source: address to bind to; None: the kernel chooses.
            answer: somebody answers.
        """
        return {
            "udp": self.udp(dst, source, answer=answer),
            "sendto": replace(self.sendto(dst, source), answered=answer),
            "tcp": self.tcp(dst, source, answer=answer),
            "ping": self.ping(dst, source, answer=answer),
        }

    def _went(self, done: Outcome, mine: Callable[[Packet], bool], *, answer: bool) -> Went:
        def seen() -> list[Packet]:
            return [packet for packet in self._watch.packets(way="in") if mine(packet)]

        if not done.error and not answer:
            self._watch.wait(lambda _: seen())
        found = seen()
        devices, sources = dict.fromkeys(p.dev for p in found), {p.src for p in found}
        assert len(sources) <= 1, f"one try with several sources: {sources}"
        return Went(tuple(devices), next(iter(sources), ""), done.error, done.reply is not None)


class Stream:
    """Bound datagram sockets that send all the time, through whatever happens.

    Args:
        lab: the lab.
        host: where they are.
        sources: their addresses.
        pause: seconds between two packets of each.
    """

    def __init__(self, lab: Lab, host: str, sources: Iterable[str], *, pause: float = PAUSE) -> None:
        self._pause = pause
        self._sockets: dict[str, socket.socket] = {}
        self._errors: dict[str, int] = {}
        self._sent: dict[str, int] = {}
        self._stop = threading.Event()
        for source in sources:
            family = socket.AF_INET6 if ":" in source else socket.AF_INET
            sock = lab.socket(host, family, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.bind((source, 0))
            sock.connect((SERVER[6 if ":" in source else 4], PORT))
            self._sockets[source] = sock
            self._sent[source] = 0
            self._errors[source] = 0
        self._thread = threading.Thread(target=self._run, name=f"stream in {host}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        for sock in self._sockets.values():
            sock.close()

    def error(self, source: str) -> int:
        """The errno that the last send from this address heard, 0 if it went.

        Args:
            source: the address.
        """
        return self._errors[source]

    def sent(self, source: str) -> int:
        """How many packets the kernel took from this address.

        Args:
            source: the address.
        """
        return self._sent[source]

    def goes_on(self, source: str) -> None:
        """Waits until further packets have gone from this address.

        Args:
            source: the address.
        """
        before = self._sent[source]
        eventually(lambda: self._sent[source] > before + 2, what=f"the stream from {source} goes on")

    def unreachable(self, source: str) -> None:
        """Waits until the socket of this address hears that nothing can be reached.

        Args:
            source: the address.
        """
        eventually(lambda: self._errors[source] in UNREACHABLE, what=f"{source} hears that it cannot leave")

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            for source, sock in self._sockets.items():
                try:
                    sock.send(f"stream {source}".encode())
                    self._errors[source] = 0
                    self._sent[source] += 1
                except BlockingIOError:
                    continue
                except OSError as error:  # also what came back by ICMP; it is told once, and the next send goes
                    self._errors[source] = error.errno or -1


@contextmanager
def sink(lab: Lab, host: str) -> Iterator[None]:
    """Sockets that take datagrams and drop them, so that no host answers that nobody is there.

    Args:
        lab: the lab.
        host: where they are.
    """
    with ExitStack() as stack:
        for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            sock = stack.enter_context(lab.socket(host, family, socket.SOCK_DGRAM))
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((anywhere, PORT))
        yield


def strays(watch: Watch, homes: Mapping[str, str]) -> list[str]:
    """Packets that left by a link that is not their source's.

    Args:
        watch: at the far sides.
        homes: device at the far side by source address.
    """
    seen = watch.packets(way="in")
    return [str(packet) for packet in seen if packet.src in homes and homes[packet.src] != packet.dev]


def settled(lab: Lab, host: str, dev: str) -> None:
    """Waits until mpathd has looked after everything that was done before, and has written what it wanted.

    A further address goes on an uplink and away again: events come in order, so when its rules come and go, all
    that happened before has been seen.

    Args:
        lab: the lab.
        host: where mpathd runs.
        dev: a multipath-routed uplink.
    """
    number = next(_numbers) % 250 + 1
    marker = f"10.254.254.{number}"
    lab.ip(host, f"addr add {marker}/32 dev {dev}")
    eventually(lambda: f"from {marker} unreachable" in lab.ip(host, "-4 rule"), what=f"rules of {marker}")
    lab.ip(host, f"addr del {marker}/32 dev {dev}")
    eventually(lambda: marker not in lab.ip(host, "-4 rule"), what=f"no rules of {marker}")


# Sessions. A file whose lab has more in it says so: shared = lab(...).

shared = lab()


@pytest.fixture
def space() -> Iterator[str]:
    """A network namespace of its own."""
    with namespace() as name:
        yield name


@pytest.fixture
def engine(request: pytest.FixtureRequest, shared: Case) -> Iterator[Engine]:
    """How mpathd knows the traffic of the test's sessions: see `both_engines`."""
    with Engine(shared, getattr(request, "param", "")) as made:
        yield made


@pytest.fixture
def case(shared: Case, engine: Engine) -> Iterator[Case]:
    """The file's lab, as it was before any session."""
    if not shared.agent.running:
        shared.agent.start()
    shared.reset()
    yield shared
    if not shared.agent.running:
        shared.agent.start()
    shared.drop()


@pytest.fixture
def group(case: Case) -> Iterator[Cgroup]:
    """A control group."""
    with Cgroup() as made:
        yield made


@pytest.fixture
def peer(case: Case, group: Cgroup) -> Iterator[Peer]:
    """A process in it."""
    with Peer(case, bus=False) as made:
        group.take(made)
        yield made


@pytest.fixture
def joins(case: Case) -> Iterator[None]:
    """The admin wants a joined subflow from the second and the third link, of both families."""
    assert case.agent.ctl("config", "--mpath_tcp_link", "off").returncode == 0  # no endpoints of mpathd's beside them
    for host in ("client", "server"):
        case.lab.exec(host, ["ip", "mptcp", "limits", "set", "subflow", "4", "add_addr_accepted", "4"])
    for family in FAMILIES:
        for number in (2, 3):
            dev, address = UPLINKS[number - 1], OF[family][number - 1]
            case.lab.exec("client", ["ip", "mptcp", "endpoint", "add", address, "dev", dev, "subflow"])
    yield
    case.lab.exec("client", ["ip", "mptcp", "endpoint", "flush"])
    assert case.agent.ctl("config", "--mpath_tcp_link", "on").returncode == 0
