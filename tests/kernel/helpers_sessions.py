"""Sessions from policy files in a lab: written, waited for, tried with packets that the far side sees.

A packet's way is told by the device at which it arrives and the source that it then has.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count, cycle
from pathlib import Path
from typing import Any, Self

from kernel.helpers_nft import Ear
from labkit import SERVER4, SERVER6, Echo, Lab, LabError, Outcome, Packet, Topology, Watch
from labkit.agent import MEMORY, Agent, Bus, eventually

FAMILIES = (4, 6)
SERVER = {4: SERVER4, 6: SERVER6}
PORT, OTHER = 7, 8  # the session's, and one that is in no session
KINDS = ("udp", "sendto", "tcp", "mptcp")
TIMED_OUT = 110
AT_ONCE = 0.9  # seconds; the kernel repeats an unanswered SYN after one
PATIENCE = 3.0
IPPROTO_MPTCP = 262
TCP, UDP = 6, 17
CONTROL = "224.0.0.199"  # multicast never is a session's
ASIDE = "_aside"  # in nft while a change waits for what is under way
MARKERS = 8  # at most: a session has early rules for ten users, and one that goes makes it wait halfway
MARKER = 3_900_000_000  # user ids of sessions that nobody has; above them counted on
ROUTERS = (("r1", "vethr1"), ("r2", "vethr2"), ("r3", "vethr3"))
UPLINKS = ("vethc1", "vethc2", "vethc3")
OF = {4: ("10.0.1.2", "10.0.2.2", "10.0.3.2"), 6: ("fd00:0:1::2", "fd00:0:2::2", "fd00:0:3::2")}
BITS = {4: 24, 6: 64}  # of the links' networks
GATEWAY = {4: "10.0.{}.1", 6: "fd00:0:{}::1"}  # by the link's number
FLOW = [f"*-*-udp-*-{PORT}", f"*-*-tcp-*-{PORT}"]
_numbers = count(1)
# Ports of tries, each once in a lab: an earlier connection with the same one may have last words to say. Below are the
# ports of servers, which early rules pass over.
_ports = cycle(range(32_768, 61_000))


def bind(sock: socket.socket, source: str) -> None:
    """Bind to an address and a port that no try has had.

    Args:
        sock: the socket.
        source: the address; empty: none.
    """
    while True:
        try:
            sock.bind((source, next(_ports)))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return


def _settled(there: str, absent: str, text: str) -> bool:
    return there in text and absent not in text


def fresh_name() -> str:
    """Give a name that no other lab on this machine has."""
    return f"ks{os.getpid()}x{next(_numbers)}"


def family_of(address: str) -> int:
    """Tell an address's family."""
    return 6 if ":" in address else 4


@dataclass(frozen=True, slots=True)
class Went:
    """What came of a try to reach something.

    Args:
        ways: (device at the far side, source that the packet had there), each once.
        error: errno that the socket heard, 0 if none.
        answered: a reply came back.
    """

    ways: tuple[tuple[str, str], ...]
    error: int
    answered: bool


def toml(name: str, values: Mapping[str, object]) -> str:
    """Write a policy file with one session; JSON's texts, numbers and lists are TOML's too.

    Args:
        name: of the session.
        values: key to value.
    """
    return f"[session.{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


class Case:
    """A lab, mpathd in it, a folder of policy files, echo servers, and a watch at the far side.

    Args:
        topology: of the lab.
        client: host of mpathd.
        far: (host, device) pairs at the other ends of the client's links.
        links: the client's links, in the order of `far`.
        args: more arguments for mpathd.
        config: its configuration.
        prelude: a shell command that runs before it.
        start: start mpathd at once.
    """

    def __init__(
        self,
        topology: Topology | str = "three-uplinks",
        *,
        client: str = "client",
        far: Sequence[tuple[str, str]] = ROUTERS,
        links: Sequence[str] = UPLINKS,
        args: Sequence[str] = ("--mpathrouting",),
        config: str = "",
        prelude: str = "",
        start: bool = True,
    ) -> None:
        self.lab = Lab(topology, fresh_name(), quiet=True)
        self.client, self.far, self.links = client, tuple(far), tuple(links)
        self._args, self._start = tuple(args), start
        self._config, self._prelude = config, prelude
        self._marker, self._markers = 0, list[int]()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mpathd-", dir=MEMORY)))
            self.policies = self.folder / "policy.d"
            self.policies.mkdir()
            stack.enter_context(self.lab)
            for port in (PORT, OTHER):
                stack.enter_context(Echo(self.lab, "server", port))
            self.bus = stack.enter_context(Bus(self.folder))
            self.watch = stack.enter_context(Watch(self.lab, self.far))
            args = [*self._args, "--policy-dir", str(self.policies)]
            self._ear = Ear(self.lab, self.client)
            stack.callback(self._ear.close)
            words = {"config": self._config, "prelude": self._prelude}
            self.agent = Agent(self.lab, self.client, args, bus=self.bus, folder=self.folder, **words)
            stack.callback(self._end)
            if self._start:
                self.agent.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _end(self) -> None:
        if self.agent.running:
            self.agent.kill()  # all that it made goes with the lab

    def enter(self, what: Any) -> Any:
        """Keep a further context until the case ends.

        Args:
            what: the context manager.
        """
        return self._stack.enter_context(what)

    # Policy files.

    def put(self, file: str, text: str) -> None:
        """Put a file in place at once, as packages and careful editors do.

        Args:
            file: its name in the folder.
            text: what it holds.
        """
        fresh = self.policies / f".{file}.new"
        fresh.write_text(text)
        fresh.replace(self.policies / file)

    def session(self, name: str, *, settle: bool = True, **values: object) -> None:
        """Have a session, in a file of its own, and wait until the kernel has it.

        Args:
            name: of the session.
            settle: wait.
            values: its settings.
        """
        self.put(f"{name}.toml", toml(name, values))
        if settle:
            self.settle()

    def drop_files(self) -> None:
        """Take all policy files away, whether mpathd runs or not."""
        for path in self.policies.iterdir():
            path.unlink()

    def drop(self, *names: str) -> None:
        """Take sessions away, and wait until the kernel has none of them.

        Args:
            names: of the sessions; all if none is named.
        """
        left = self.nft().count("chain s_") - len(names)
        for path in [self.policies / f"{name}.toml" for name in names] or list(self.policies.iterdir()):
            path.unlink()
        if names:
            self._await_nft(lambda text: text.count("chain s_") == left, f"{names} are gone")
            self.settle()
            return
        self._await_nft(lambda text: "chain s_" not in text, "no session is left in nft")
        eventually(lambda: not any(self._session_rules(f) for f in FAMILIES), what="no session's rule is left")

    def _session_rules(self, family: int) -> list[str]:
        """Early rules, and those of marks, but for marks of links, which are at the end of all numbers."""
        found = re.findall(r"^(19\d{3}:|.*?fwmark (0x\w+))", self.lab.ip(self.client, f"-{family} rule"), re.MULTILINE)
        return [words for words, mark in found if not mark or 0 < int(mark, 16) < 0x7000_0000]

    def settle(self, timeout: float = 8.0) -> None:
        """Wait until mpathd has seen everything that was done before, and has written what it wanted.

        A session of users whom nobody is gets another such user, twice: each pass looks at all things anew, and the
        second one begins when the first has ended. And what is held halfway for a moment has gone on.

        Args:
            timeout: seconds.
        """
        for last in (False, True):
            self._marker = MARKER + next(_numbers)
            self._markers = [*(self._markers if len(self._markers) < MARKERS else ()), self._marker]
            self.put("zz-marker.toml", toml("zz-marker", {"users": self._markers}))
            mine, absent = f" {self._marker} : goto", ASIDE if last else "\0"
            what = f"the session of {self._marker} is in nft"
            self._await_nft(partial(_settled, mine, absent), what, timeout)

    def _await_nft(self, condition: Callable[[str], object], what: str, timeout: float = 5.0) -> None:
        assert self.agent.running, self.agent.log.read_text()[-2000:]
        try:
            self._ear.until(condition, what, timeout)
        except LabError:
            assert self.agent.running, self.agent.log.read_text()[-2000:]
            raise

    # Links.

    def carrier(self, number: int, *, up: bool, settle: bool = True) -> None:
        """Take a link's carrier away, or give it back.

        Args:
            number: of the link, from 1.
            up: which of both.
            settle: wait until mpathd has done what it wanted about it.
        """
        host, dev = self.far[number - 1]
        self.lab.sysctl(host, {"net.ipv6.conf.all.keep_addr_on_down": 1})
        self.lab.ip(host, f"link set {dev} {'up' if up else 'down'}")
        link = self.links[number - 1]
        eventually(
            lambda: ("LOWER_UP" in self.lab.ip(self.client, f"link show dev {link}")) is up, what=f"carrier of {link}"
        )
        if settle:
            self.settle()

    # What is in the kernel, and what mpathd says.

    def nft(self, *words: str) -> str:
        """Give what nft lists.

        Args:
            words: what is listed; mpathd's table if not given.
        """
        argv = ["nft", "-nn", "list", *(words or ("table", "inet", "mpathd"))]
        return self.lab.exec(self.client, argv, check=False).stdout

    def marks(self) -> list[int]:
        """Give the marks of sessions, from the kernel's rules of IPv4."""
        found = (re.search(r"fwmark (0x[0-9a-f]+)\S* lookup (\d+) proto 109", line) for line in self.rules())
        return sorted({int(m[1], 16) for m in found if m and int(m[1], 16) == int(m[2])})

    def mark_of(self, key: str) -> int:
        """Give the mark of the session that a key of an nft map leads to.

        Args:
            key: as nft prints it, for example "17 . 7".
        """
        found = re.search(rf"[ \t]{re.escape(key)} : goto s_(\d+)", self.nft())
        return int(found[1]) << 16 if found else 0

    def rules(self, family: int = 4) -> list[str]:
        """Give mpathd's rules for marked packets, as `ip rule` prints them.

        Args:
            family: of the rules.
        """
        lines = self.lab.ip(self.client, f"-{family} rule").splitlines()
        helper = self._helper()
        return [
            " ".join(line.split())
            for line in lines
            if "proto 109" in line and "fwmark" in line and "iif lo" not in line and helper not in line
        ]

    def _helper(self) -> str:
        """How the rules of the session that `settle` makes are known."""
        return f"fwmark {self.mark_of(str(self._marker)):#x}/"

    def table(self, number: int, family: int = 4) -> list[str]:
        """Give the routes of a table.

        Args:
            number: of the table.
            family: of the routes.
        """
        text = self.lab.ip(self.client, f"-{family} route show table {number}", check=False)
        return [" ".join(line.split()) for line in text.splitlines()]

    def status(self) -> Mapping[str, Any]:
        """Give what `mpathctl status --json` prints."""
        done = self.agent.ctl("status", "--json")
        assert done.returncode == 0, done.stderr
        found: Mapping[str, Any] = json.loads(done.stdout)
        return found

    def services(self) -> Mapping[str, str]:
        """Give the services' identifiers by interface."""
        done = self.agent.ctl("services", "--json")
        assert done.returncode == 0, done.stderr
        return {service["Interface"]: service["Id"] for service in json.loads(done.stdout)}

    # Traffic.

    def reset(self) -> None:
        """Forget what was seen until now, and let what is under way arrive first."""
        self.arrived()
        self.watch.clear()

    def arrived(self) -> None:
        """Wait until everything that was sent until now has arrived where it went, if it went anywhere."""
        text = f"control {next(_numbers)}".encode()
        wanted = set()
        for link, place in zip(self.links, self.far, strict=True):
            with self.lab.socket(self.client, socket.AF_INET, socket.SOCK_DGRAM) as sock:
                try:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.encode())
                    sock.sendto(text, (CONTROL, OTHER))
                except OSError:  # it is down, so nothing is under way there
                    continue
            if "LOWER_UP" in self.lab.ip(self.client, f"link show dev {link}"):
                wanted.add(place)
        self.watch.wait(lambda seen: wanted <= {(p.host, p.dev) for p in seen if p.payload == text})

    def ways(self, **fields: object) -> tuple[tuple[str, str], ...]:
        """Give device and source of what came in at the far side, each once.

        Args:
            fields: as of Watch.packets.
        """
        packets: Sequence[Packet] = self.watch.packets(way="in", **fields)  # type: ignore[arg-type]
        return tuple(sorted({(packet.dev, packet.src) for packet in packets}))

    def reach(
        self,
        kind: str,
        to: int | str,
        port: int = PORT,
        *,
        source: str | None = None,
        device: str | None = None,
        answer: bool = True,
    ) -> Went:
        """Try to reach something from the client.

        Args:
            kind: one of KINDS: a connected datagram socket, one that is not, a TCP or MPTCP connection.
            to: an address, or the family of the server's.
            port: its port.
            source: address to bind to; None: the kernel chooses.
            device: interface to bind to.
            answer: wait for an answer.
        """
        dst = to if isinstance(to, str) else SERVER[to]
        v6 = family_of(dst) == 6
        stream = kind in {"tcp", "mptcp"}
        text = f"{kind} {os.getpid()} {next(_numbers)}".encode()
        with self.lab.socket(
            self.client,
            socket.AF_INET6 if v6 else socket.AF_INET,
            socket.SOCK_STREAM if stream else socket.SOCK_DGRAM,
            IPPROTO_MPTCP if kind == "mptcp" else 0,
        ) as sock:
            done, sport = self._try(sock, kind, (dst, port), text, source, device, answer=answer)
            fields: dict[str, object] = {"proto": TCP, "sport": sport} if stream else {"proto": UDP, "payload": text}
            if not done.reply or not self.ways(dst=dst, **fields):  # an answer may be here before what the watch reads
                self.arrived()
            return Went(self.ways(dst=dst, **fields), done.error, done.reply is not None)

    def _try(
        self,
        sock: socket.socket,
        kind: str,
        to: tuple[str, int],
        text: bytes,
        source: str | None,
        device: str | None,
        *,
        answer: bool,
    ) -> tuple[Outcome, int]:
        sport = 0
        sock.settimeout(AT_ONCE if kind in {"tcp", "mptcp"} else PATIENCE)
        try:
            if device:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            bind(sock, source or "")
            sport = sock.getsockname()[1]
            if kind == "sendto":
                sock.sendto(text, to)
            else:
                sock.connect(to)
                sock.send(text)
            reply = sock.recv(65536) if answer else None
        except TimeoutError:
            return Outcome(TIMED_OUT), sport
        except OSError as error:
            return Outcome(error.errno or 1), sport
        return Outcome(0, reply=reply), sport

    def goes(
        self,
        way: tuple[str, str],
        to: int | str,
        port: int = PORT,
        kinds: Iterable[str] = KINDS,
        *,
        source: str | None = None,
        device: str | None = None,
    ) -> None:
        """Assert that every kind of traffic takes one way and is answered.

        Args:
            way: (device at the far side, source there).
            to: an address, or the family of the server's.
            port: its port.
            kinds: of traffic.
            source: address to bind to.
            device: interface to bind to.
        """
        found = {kind: self.reach(kind, to, port, source=source, device=device) for kind in kinds}
        wrong = {kind: went for kind, went in found.items() if went != Went((way,), 0, answered=True)}
        assert not wrong, f"wanted {way}, went {wrong}"

    def refused(
        self,
        to: int | str,
        port: int = PORT,
        kinds: Iterable[str] = KINDS,
        *,
        source: str | None = None,
        device: str | None = None,
    ) -> None:
        """Assert that every kind of traffic hears an error at once, and not one packet of it leaves.

        Args:
            to: an address, or the family of the server's.
            port: its port.
            kinds: of traffic.
            source: address to bind to.
            device: interface to bind to.
        """
        found = {kind: self.reach(kind, to, port, source=source, device=device, answer=False) for kind in kinds}
        assert {kind: went.ways for kind, went in found.items()} == dict.fromkeys(found, ())
        assert all(went.error not in {0, TIMED_OUT} for went in found.values()), found

    def program(self, words: str, *, user: int = 0, group: int = 0) -> str:
        """Run a Python program in the client as another user, and give its output.

        Args:
            words: the program.
            user: its user id.
            group: its group id.
        """
        argv = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]
        python = shutil.which("python3", path="/usr/bin") or sys.executable
        return self.lab.exec(self.client, [*argv, python, "-c", words]).stdout

    def as_user(self, kind: str, to: int | str, port: int, *, user: int = 0, group: int = 0) -> Went:
        """Try to reach something as another user.

        Args:
            kind: "udp" or "tcp".
            to: an address, or the family of the server's.
            port: its port.
            user: its user id.
            group: its group id.
        """
        dst = to if isinstance(to, str) else SERVER[to]
        text = f"user {os.getpid()} {next(_numbers)}"
        words = f"""
import socket
sock = socket.socket({10 if family_of(dst) == 6 else 2}, {1 if kind == "tcp" else 2})
sock.settimeout({AT_ONCE if kind == "tcp" else PATIENCE})
sport = error = 0
reply = b""
try:
    sock.bind(("", 0))
    sport = sock.getsockname()[1]
    sock.connect(({dst!r}, {port}))
    sock.send({text!r}.encode())
    reply = sock.recv(999)
except TimeoutError:
    error = {TIMED_OUT}
except OSError as trouble:
    error = trouble.errno
print(sport, error, len(reply))
"""
        sport, error, length = map(int, self.program(words, user=user, group=group).split())
        if not length:
            self.arrived()
        fields: dict[str, object] = {"sport": sport} if kind == "tcp" else {"payload": text.encode()}
        return Went(self.ways(dst=dst, proto=TCP if kind == "tcp" else UDP, **fields), error, length > 0)


class Stream:
    """Sends a session's traffic all the time, through whatever happens: datagrams and SYNs, bound and not.

    Args:
        case: the case.
        port: to which it sends.
        sources: addresses to bind to besides none; each family has a socket that is not bound.
        most: packets of each kind at most.
    """

    PAUSE = 0.001

    def __init__(self, case: Case, port: int = PORT, sources: Iterable[str] = (), most: int = 60_000) -> None:
        self._case, self._port, self._most = case, port, most
        self._plans = [(family, None) for family in FAMILIES] + [(family_of(s), s) for s in sources]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="session stream", daemon=True)
        self.ports: set[int] = set()  # of its connections: those of an earlier test may still have last words to say
        self.rounds = 0
        self.went = 0

    def __enter__(self) -> Self:
        self._datagrams = [
            (self._open(family, socket.SOCK_DGRAM, source), SERVER[family]) for family, source in self._plans
        ]
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        for sock, _ in self._datagrams:
            sock.close()

    def goes_on(self) -> None:
        """Wait until it has tried everything once more."""
        before = self.rounds
        eventually(lambda: self.rounds > before + 1, what="the stream goes on")

    def sends(self) -> None:
        """Wait until it has sent a datagram more."""
        before = self.went
        eventually(lambda: self.went > before, what="the stream sends")

    def _open(self, family: int, kind: int, source: str | None) -> socket.socket:
        sock = self._case.lab.socket(self._case.client, socket.AF_INET6 if family == 6 else socket.AF_INET, kind)
        sock.setblocking(False)
        if source:
            sock.bind((source, 0))
        return sock

    def _run(self) -> None:
        for turn in range(self._most):
            if self._stop.wait(self.PAUSE):
                return
            for sock, dst in self._datagrams:
                try:
                    sock.sendto(b"stream", (dst, self._port))
                    self.went += 1
                except OSError:
                    continue
            if turn % 8 == 0:  # a connection costs a thread in this process
                for family, source in self._plans:
                    try:
                        with self._open(family, socket.SOCK_STREAM, source) as sock:
                            if not source:
                                sock.bind(("", 0))
                            self.ports.add(sock.getsockname()[1])
                            sock.connect((SERVER[family], self._port))
                    except OSError:
                        continue
            self.rounds += 1
