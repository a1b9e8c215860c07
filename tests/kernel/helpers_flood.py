"""Senders at full speed, more of them than processors, and far sides that count: single packets that go astray show."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from subprocess import PIPE

from kernel.helpers_cgroup import Cgroup
from kernel.helpers_sessions import FAMILIES, OF, PORT, SERVER, Case
from labkit.agent import eventually

PACKETS_ONLY = "[sessions]\nsocket_engine = false\nearly_rules = 0\n"
SENDERS = 4
ALL = 3_000_000  # datagrams or connections of a sender at most
# What they send by: sockets that stay, a new socket for each datagram, and connections that are closed right away.
KINDS = ("udp", "new", "tcp")
SENDER = """
import os, socket, sys, time
os.nice(19)  # of other tests at the same time
kind, count = sys.argv[1], int(sys.argv[2])
families = (socket.AF_INET, socket.AF_INET6)
pairs = [(f, s, t) for f, ss, t in zip(families, {sources}, {to}) for s in ss]

def sock(family, source):
    made = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    made.setblocking(kind != "tcp")
    if source:
        made.bind((source, 0))
    return made

def tried(call, *words):
    try:
        call(*words)
    except OSError:
        pass

sys.stdin.readline()
lasting = [(sock(f, s), t) for f, s, t in pairs] if kind == "udp" else []
print("ready", flush=True)
for _ in range(count):
    for made, to in lasting:
        tried(made.sendto, b"stream", to)
    if lasting:
        continue
    try:
        fresh = [(sock(f, s), t) for f, s, t in pairs]
    except OSError:  # its address is away, or it has no port left
        time.sleep(0.001)
        continue
    for made, to in fresh:
        tried(made.connect, to)
    if kind == "tcp":
        time.sleep(0.002)
    for made, _ in fresh:
        tried(made.send, b"stream")
        made.close()
"""
PROBE = """
table inet probe {{
    chain seen {{
        type filter hook prerouting priority -300
        iifname "vethr{number}" meta l4proto {{ tcp, udp }} th dport {port} counter
    }}
}}
"""


def probe(case: Case) -> None:
    """Have the far sides count.

    Args:
        case: the lab.
    """
    for number in (1, 2, 3):
        case.lab.exec(f"r{number}", ["nft", "-f", "-"], input=PROBE.format(number=number, port=PORT))


def seen(case: Case) -> dict[str, int]:
    """Give how many packets have come by each link.

    Args:
        case: the lab.
    """
    listed = {f"vethc{n}": case.lab.exec(f"r{n}", ["nft", "list", "table", "inet", "probe"]).stdout for n in (1, 2, 3)}
    return {link: int(found[1]) for link, text in listed.items() if (found := re.search(r"packets (\d+)", text))}


@contextmanager
def flood(case: Case, kind: str = "udp", *, bound: bool = False, group: Cgroup | None = None) -> Iterator[None]:
    """Have sockets send, all that they can.

    Args:
        case: the lab.
        kind: one of KINDS.
        bound: to each address of the client; else to none.
        group: the senders' control group.
    """
    sources = [OF[family] if bound else ("",) for family in FAMILIES]
    words = SENDER.format(sources=sources, to=[(SERVER[family], PORT) for family in FAMILIES])
    with ExitStack() as stack:
        for _ in range(SENDERS):
            argv = [sys.executable, "-c", words, kind, str(ALL)]
            sender = stack.enter_context(case.lab.popen("client", argv, stdin=PIPE, stdout=PIPE))
            stack.callback(sender.kill)
            if group:
                (group.folder / "cgroup.procs").write_text(str(sender.pid))
            assert sender.stdin is not None
            assert sender.stdout is not None
            sender.stdin.write("go\n")
            sender.stdin.flush()
            sender.stdout.readline()
        yield


class Taker:
    """Another program that takes the session's mark, again and again.

    Args:
        case: the lab, with one session.
    """

    def __init__(self, case: Case) -> None:
        self._case, self._taken = case, 0

    def __call__(self, *, wait: bool = True) -> None:
        """Take it.

        Args:
            wait: until the session has another one.
        """
        (mine,) = self._case.marks()
        rule = "rule {} pref 31000 fwmark {:#x}/0x7fff0000 lookup main protocol 99"
        self._case.lab.ip("client", rule.format("add", mine))
        if self._taken:
            self._case.lab.ip("client", rule.format("del", self._taken))
        self._taken = mine
        if wait:
            eventually(lambda: len(marks := self._case.marks()) == 1 and marks != [mine])
