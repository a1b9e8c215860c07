"""What a packet costs with one selector and with 10,000, beside the linear rules that ConnMan makes of them."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from labkit import Lab, LabError, uplinks
from labkit.agent import Agent, eventually

from .flows import DPORT, KINDS, OTHER, SOURCE, SPORT, TARGET, policy, rules
from .peers.fetch import Unavailable, environment, libraries, program, unpacked
from .stats import number, ratio, table

NAME = "selectors"
COUNT, ROUNDS, PACKETS = 10_000, 300, 200  # each round sends PACKETS by every way, which take turns
PACKAGES = ("iptables", "libip4tc2", "libip6tc2", "libxtables12")
BARS = {"exact": "1.1x", "prefixes and ranges": "1.3x", "mixed": ""}
FLOWS = {"a session's": DPORT, "nobody's": OTHER}
WITHOUT_COVERED = 0.9  # of them are in the kernel: what others cover is left out
PAYLOAD = b"x" * 64
NOTHING = "no selectors"


@dataclass(slots=True)
class Way:
    """A namespace with one set of selectors.

    Args:
        engine: what matches them.
        kind: of the selectors.
        count: number of them.
        socks: connected sockets by whose traffic theirs is.
        times: nanoseconds a packet, by the same.
    """

    engine: str
    kind: str
    count: int
    socks: dict[str, socket.socket] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=lambda: {flow: [] for flow in FLOWS})

    def round(self) -> None:
        """Send by each socket."""
        for flow, sock in self.socks.items():
            self.times[flow].append(flood(sock))


def flood(sock: socket.socket) -> float:
    """Nanoseconds that a packet takes.

    Args:
        sock: connected.
    """
    send, payload = sock.send, PAYLOAD
    start = time.perf_counter_ns()
    for _ in repeat(None, PACKETS):
        send(payload)
    return (time.perf_counter_ns() - start) / PACKETS


def raised(stack: ExitStack, way: Way, turn: int) -> Lab:
    """Raise a lab with sockets; the far side takes what comes and reads nothing.

    Args:
        stack: takes everything down again.
        way: gets the sockets.
        turn: makes its name.
    """
    lab = stack.enter_context(Lab(uplinks(1), f"bn-sel{turn}", quiet=True))
    for flow, port in FLOWS.items():
        sink = stack.enter_context(lab.socket("net", socket.AF_INET, socket.SOCK_DGRAM))
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sink.bind((TARGET, port))
        sock = stack.enter_context(lab.socket("client", socket.AF_INET, socket.SOCK_DGRAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((SOURCE, SPORT))
        sock.connect((TARGET, port))
        way.socks[flow] = sock
    return lab


def mpathd(stack: ExitStack, way: Way, turn: int) -> None:
    """Let mpathd load the selectors from a policy file; it is then killed: what is measured is the kernel's.

    Args:
        stack: takes everything down again.
        way: what to load.
        turn: makes its name.

    Raises:
        LabError: they are not all there.
    """
    lab = raised(stack, way, turn)
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="mpathd-")))
    (folder / "policy.d").mkdir()
    (folder / "policy.d" / "many.toml").write_text(policy(KINDS[way.kind](way.count)))
    agent = Agent(lab, "client", ["--policy-dir", str(folder / "policy.d")], folder=folder)
    try:
        agent.start(300.0)
        eventually(lambda: listed(lab) >= way.count * WITHOUT_COVERED, 60.0, f"{way.count} selectors are in nft")
    finally:
        if agent.running:
            agent.kill()


def listed(lab: Lab) -> int:
    """How many selectors stand in mpathd's maps.

    Args:
        lab: where.
    """
    text = lab.exec("client", ["nft", "list", "table", "inet", "mpathd"], check=False).stdout
    return text.count(" : goto s_1") - text.count("0x00010000 : goto s_1")


def connman(stack: ExitStack, way: Way, turn: int) -> None:
    """Load the rules that ConnMan makes.

    Args:
        stack: takes everything down again.
        way: what to load.
        turn: makes its name.

    Raises:
        Unavailable: there is no iptables to be had.
    """
    unpack = unpacked("iptables", PACKAGES)
    binary = program(unpack, "usr/sbin/xtables-legacy-multi")
    lab = raised(stack, way, turn)
    extensions = next(path for place in libraries(unpack).split(":") if (path := Path(place) / "xtables").is_dir())
    lock = Path(stack.enter_context(TemporaryDirectory())) / "lock"
    env = {**environment(unpack), "XTABLES_LIBDIR": str(extensions), "XTABLES_LOCKFILE": str(lock)}
    lab.exec("client", [str(binary), "iptables-restore"], env=env, input=rules(KINDS[way.kind](way.count)))
    found = lab.exec("client", [str(binary), "iptables-save", "-t", "mangle"], env=env).stdout.count("-j MARK")
    if found != way.count:
        raise LabError("iptables has not all rules", f"{found} of {way.count}")


ENGINES = {"mpathd": mpathd, "iptables as ConnMan": connman}


def report(ways: list[Way]) -> str:
    """The table.

    Args:
        ways: measured.
    """
    middle = {(w.engine, w.kind, w.count, flow): median(times) for w in ways for flow, times in w.times.items()}
    rows = []
    for way in ways:
        for flow in FLOWS:
            mine = middle[way.engine, way.kind, way.count, flow]
            base = middle.get((NOTHING, "", 0, flow), 0.0)
            one = middle.get((way.engine, way.kind, 1, flow))
            many = way.count > 1
            rows.append(
                [
                    f"{way.engine}, {way.kind}" if way.kind else way.engine,
                    str(way.count),
                    flow,
                    number(mine),
                    ratio(mine, base),
                    ratio(mine, one) if many and one else "-",
                    BARS.get(way.kind, "") if many and way.engine == "mpathd" else "",
                ]
            )
    return table(["", "selectors", "packet", "ns", "of none", "of one", "bar"], rows)


def run() -> None:
    """Print the table."""
    print(f"{NAME}: a UDP packet from send() until the far side has it, median of {ROUNDS} times {PACKETS}", flush=True)
    absent: list[str] = []
    ways = [Way(NOTHING, "", 0)]
    with ExitStack() as stack:
        raised(stack, ways[0], 0)
        for kind in KINDS:
            for engine, load in ENGINES.items():
                for count in (1, COUNT):
                    way = Way(engine, kind, count)
                    try:
                        load(stack, way, len(ways) + len(absent))
                    except (Unavailable, LabError) as error:
                        absent.append(f"{engine}, {kind}, {count} was not run: {' '.join(str(error).split())}")
                        continue
                    ways.append(way)
        for turn in range(ROUNDS + 1):
            for way in ways:
                way.round()
                if not turn:  # caches are warm and the far side's buffers are full before it counts
                    way.times = {flow: [] for flow in FLOWS}
    print(report(ways))
    for line in absent:
        print(line)
