"""What is in the midst of the rules while they change: more sockets than processors send, and a change comes every few
milliseconds. One change alone lost a packet in ten, when one transaction made it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import cycle
from subprocess import PIPE

import pytest

from kernel.helpers_sessions import FLOW, PORT, SERVER, Case, toml
from labkit.agent import eventually

PACKETS_ONLY = "[sessions]\nsocket_engine = false\nearly_rules = 0\n"
SENDERS, CHANGES = 4, 30
ALL = 3_000_000  # datagrams of a sender at most
SENDER = """
import socket, sys
socks = [socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)]
print("ready", flush=True)
for _ in range({all}):
    for sock, to in zip(socks, {to}):
        try:
            sock.sendto(b"stream", to)
        except OSError:
            pass
"""
PROBE = """
table inet probe {{
    chain seen {{
        type filter hook prerouting priority -300
        iifname "vethr{number}" udp dport {port} counter
    }}
}}
"""
RANGES = ["*-*-udp-*-6:8"], ["*-*-udp-*-5:9"]
REWRITES = {
    "single values to ranges": (["*-*-udp-*-7"], ["*-*-udp-*-5:9"]),
    "ranges to other ranges": RANGES,
    "everything to one port": (["*-*-*"], ["*-*-udp-*-7"]),
    "two addresses to all": ([f"*-{SERVER[4]}-udp-*-7", f"*-{SERVER[6]}-udp-*-7"], ["*-*-udp-*-7"]),
}


@pytest.fixture
def case() -> Iterator[Case]:
    """A lab in which nobody looks at packets: there are too many."""
    with Case(far=(), config=PACKETS_ONLY) as made:
        for number in (1, 2, 3):
            made.lab.exec(f"r{number}", ["nft", "-f", "-"], input=PROBE.format(number=number, port=PORT))
        yield made


def seen(case: Case) -> dict[str, int]:
    """How many datagrams have come by each link."""
    listed = {f"vethc{n}": case.lab.exec(f"r{n}", ["nft", "list", "table", "inet", "probe"]).stdout for n in (1, 2, 3)}
    return {link: int(found[1]) for link, text in listed.items() if (found := re.search(r"packets (\d+)", text))}


def stray(case: Case, service: str, changes: list[Callable[[], None]]) -> dict[str, int]:
    """Let things change while sockets send, and give what came by other links.

    Args:
        case: the lab.
        service: of the session.
        changes: each of them waits until mpathd has seen it.
    """
    words = SENDER.format(all=ALL, to=[(SERVER[family], PORT) for family in (4, 6)])
    with ExitStack() as stack:
        for _ in range(SENDERS):
            sender = stack.enter_context(case.lab.popen("client", [sys.executable, "-c", words], stdout=PIPE))
            stack.callback(sender.kill)
            assert sender.stdout is not None
            sender.stdout.readline()
        for change in changes:
            change()
    counts = seen(case)
    assert counts.pop(service, 1), "what the session may use carries what is sent"
    log = case.agent.log.read_text()
    assert "failed" not in log
    assert "refused:" not in log
    return {link: count for link, count in counts.items() if count}


@pytest.mark.parametrize("service", ["vethc2", "nosuch0"], ids=["a link", "no link"])
@pytest.mark.parametrize("flow", [FLOW, ["*-*-*"], RANGES[0]], ids=["single values", "everything", "ranges"])
def test_a_session_that_gets_another_number(case: Case, flow: list[str], service: str) -> None:
    """Another program takes its mark, again and again."""
    case.session("s", flow_selectors=flow, allowed_interface=service)
    taken: list[int] = []

    def take() -> None:
        (mine,) = case.marks()
        rule = "rule {} pref 31000 fwmark {:#x}/0x7fff0000 lookup main protocol 99"
        case.lab.ip("client", rule.format("add", mine))
        for old in taken:
            case.lab.ip("client", rule.format("del", old))
        taken[:] = [mine]
        eventually(lambda: len(marks := case.marks()) == 1 and marks != [mine])

    assert stray(case, service, [take] * CHANGES) == {}


@pytest.mark.parametrize("service", ["vethc2", "nosuch0"], ids=["a link", "no link"])
@pytest.mark.parametrize("how", REWRITES)
def test_a_file_that_is_written_anew(case: Case, how: str, service: str) -> None:
    case.session("s", flow_selectors=REWRITES[how][0], allowed_interface=service)

    flows = cycle(REWRITES[how][::-1])

    def write() -> None:
        before = case.nft()
        case.put("s.toml", toml("s", {"flow_selectors": next(flows), "allowed_interface": service}))
        eventually(lambda: case.nft() != before)

    assert stray(case, service, [write] * CHANGES) == {}
