"""CreateSession over D-Bus until its answer, which comes when the session is marked and routed in the kernel."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from dbus_next import Variant

from labkit import Lab, LabError, uplinks
from labkit.agent import MEMORY, Agent, Bus, eventually

from .caller import Caller
from .ear import Ear
from .peers.base import READY, end
from .peers.connman import Connman
from .peers.fetch import Unavailable
from .stats import cells, ratio, summary, table

NAME = "session"
UPLINKS, TIMES, BESIDE = 8, 40, (0, 1, 30)  # other sessions that are there
MANAGER = ("/net/mpathd", "net.mpathd.Manager")
PROPERTIES = "org.freedesktop.DBus.Properties"
# Seconds without news before a call. mpathd looks at its own last writes 20 ms later (REVIEW and SEAL), and a call that
# comes in that very moment waits for that look.
QUIET = 0.06
FLOWS = ["*-*-tcp-*-{}", "*-192.0.2.0/24-udp-*-{}"]
PING = "a bus round trip (Peer.Ping)"
CREATE, LAST, UPDATE, DESTROY = "CreateSession", "last write in the kernel", "first Update told", "DestroySession"
BUSY = "processor time until then"  # which a busy machine leaves as it is, nearly


def wanted(port: int) -> dict[str, Variant]:
    """Settings of a session.

    Args:
        port: of its traffic.
    """
    selectors = [flow.format(port) for flow in FLOWS]
    return {"AllowedBearers": Variant("as", ["ethernet"]), "FlowSelectors": Variant("as", selectors)}


def busy(pid: int) -> float:
    """Milliseconds that a process of one thread has been on a processor.

    Args:
        pid: the process.
    """
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e6


def missing(lab: Lab, mark: int, port: int) -> bool:
    """Whether the kernel lacks something of a session, read a second way.

    Args:
        lab: where.
        mark: of the session.
        port: of its traffic.
    """
    for family in ("-4", "-6"):
        rules, routes = (lab.ip("client", f"{family} {what}") for what in ("rule", f"route show table {mark}"))
        if f"21000:\tfrom all fwmark {mark:#x}/0x7fff0000 lookup {mark} " not in rules or "default" not in routes:
            return True
    nft = lab.exec("client", ["nft", "-n", "list", "table", "inet", "mpathd"]).stdout
    return f". {port} : goto s_{mark >> 16}" not in nft


def measure(stack: ExitStack, others: int) -> tuple[dict[str, list[float]], int]:
    """Milliseconds by what was measured, and how often something was missing in the kernel.

    Args:
        stack: takes everything down again.
        others: sessions that are there already.
    """
    folder = Path(stack.enter_context(TemporaryDirectory(dir=MEMORY)))
    bus = stack.enter_context(Bus(folder))
    lab = stack.enter_context(Lab(uplinks(UPLINKS), f"bn-ses{others}", quiet=True))
    agent = stack.enter_context(Agent(lab, "client", ["--mpathrouting"], bus=bus, folder=folder))
    ear = stack.enter_context(Ear(lab.ns("client"), nft=True))
    caller = stack.enter_context(Caller(bus.address, "net.mpathd"))
    for place in range(others):
        caller.call(*MANAGER, "CreateSession", "a{sv}o", wanted(10_000 + place), f"/other/{place}")
    times: dict[str, list[float]] = {name: [] for name in (PING, CREATE, LAST, UPDATE, BUSY, DESTROY)}
    wrong = 0
    for turn in range(TIMES + 1):
        ping = caller.call("/net/mpathd", "org.freedesktop.DBus.Peer", "Ping")[1]
        ear.rest(ear.mark(), QUIET, 5.0)
        mark, told, port = ear.mark(), len(caller.told), 20_000 + turn
        idle = busy(agent.pid)
        path, took = caller.call(*MANAGER, "CreateSession", "a{sv}o", wanted(port), "/bench")
        began = caller.sent
        eventually(partial(lambda told: len(caller.told) > told, told), 5.0, "the first Update")
        used = busy(agent.pid) - idle
        written = [news.time for news in ear.since(mark) if news.port]
        number_ = caller.call(path, PROPERTIES, "Get", "ss", "net.mpathd.Session", "Mark")[0].value
        wrong += missing(lab, number_, port)
        ended = caller.call(*MANAGER, "DestroySession", "o", path)[1]
        if not turn:
            continue  # libnftables and other parts that are loaded late are there now
        last, first = (written[-1] - began) / 1e6, (caller.told[told][0] - began) / 1e6
        for name, value in zip(times, (ping, took, last, first, used, ended), strict=True):
            times[name].append(value)
    return times, wrong


def connmand(stack: ExitStack) -> dict[str, list[float]]:
    """The same of connmand: CreateSession and Connect, until the Update that names a link.

    Args:
        stack: takes everything down again.

    Raises:
        Unavailable: it cannot be had or run here.
    """
    peer = Connman()
    lab = stack.enter_context(Lab(peer.topology(UPLINKS), "bn-ses-c", quiet=True))
    folder = Path(stack.enter_context(TemporaryDirectory()))
    folder.chmod(0o755)
    stack.callback(end, peer.start(lab, folder, stack))
    for uplink in range(1, UPLINKS + 1):
        eventually(partial(peer.right, lab, uplink, "start"), READY, "ready")
    caller = stack.enter_context(Caller(f"unix:path={folder / 'bus'}", "net.connman"))
    settings = {"AllowedBearers": Variant("as", ["ethernet"]), "SourceIPRule": Variant("b", value=True)}
    times: dict[str, list[float]] = {UPDATE: []}
    for _ in range(TIMES):
        told = len(caller.told)
        path, _ = caller.call("/", "net.connman.Manager", "CreateSession", "a{sv}o", settings, "/bench")
        began = caller.sent
        caller.call(path, "net.connman.Session", "Connect")
        eventually(partial(lambda told: any(s.get("Interface") for _, s in caller.told[told:]), told), 5.0, "an Update")
        at = next(at for at, said in caller.told[told:] if said.get("Interface"))
        times[UPDATE].append((at - began) / 1e6)
        caller.call("/", "net.connman.Manager", "DestroySession", "o", path)
    return times


def run() -> None:
    """Print the table."""
    print(f"{NAME}: a session of a D-Bus client, {UPLINKS} uplinks, {len(FLOWS)} selectors; milliseconds from its call")
    rows: list[list[str]] = []
    absent = ""
    middle = 0.0
    for others in BESIDE:
        with ExitStack() as stack:
            times, wrong = measure(stack, others)
        for name, of in times.items():
            bar = "5 ms" if name == LAST else ""  # marked and routed
            rows.append([f"mpathd, {name}", str(others), *cells(summary(of)), str(wrong), "-", bar])
        middle = middle or median(times[UPDATE])
    with ExitStack() as stack:
        try:
            of = connmand(stack)[UPDATE]
        except (Unavailable, LabError, OSError) as error:
            absent = f"connmand was not run: {' '.join(str(error).split())}"
        else:
            rows.append([f"connmand, {UPDATE}", "0", *cells(summary(of)), "-", ratio(median(of), middle), "above 1x"])
    head = ["", "others", "n", "median", "p90", "p99", "max", "wrong", "mpathd is faster", "bar"]
    print(table(head, rows))
    if absent:
        print(absent)
