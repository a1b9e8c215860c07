"""Live connections as a real mpathd shows them: what it says is what `ss` and `nstat` say."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bench.peers.fetch import unpacked
from kernel.helpers_mptcp import Bond, say, talk, wait
from kernel.helpers_view import A2, running
from labkit import SERVER4, Lab
from labkit.agent import Agent
from mpathd.kernel.mptcp import owners
from mpathd.model.connections import Owner

pytestmark = pytest.mark.kernel

A1 = "10.81.1.2"
RATE = 25e6  # of a link of the lab
NOBODY = 65534
# A program that asks for MPTCP, says a word, and ends when it is told to.
MULTIPATH = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
s.connect((sys.argv[1], int(sys.argv[2])))
s.sendall(b"word")
s.recv(4)
"""
EXEC = """
import sys
from pathlib import Path
from mpathd.ctl import mptcpexec
from mpathd.ctl.main import main
mptcpexec.FOLDERS = (sys.argv[1],)
sys.exit(main(["mptcp", "exec", "--", *sys.argv[2:]]))
"""
# A program that asks for TCP, says a word, and ends when it is told to.
PLAIN = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.sendall(b"word")
s.recv(4)
"""


@pytest.fixture
def agent() -> Iterator[Agent]:
    """Mpathd at the client."""
    with running() as made:
        yield made


def shown(agent: Agent, *words: str) -> Any:
    """What `mpathctl mptcp --json` prints."""
    done = agent.ctl("mptcp", *words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def both(agent: Agent) -> Any:
    """The one connection that is there, once it has two subflows that both ends have agreed on."""

    def whole() -> Any:
        found = shown(agent)["Connections"]
        return found if [len([s for s in c["Subflows"] if s["Established"]]) for c in found] == [2] else None

    return wait(whole, "one connection with two subflows")[0]


# What others say.


def by_ss(lab: Lab) -> tuple[set[tuple[object, ...]], set[int]]:
    """Subflows, and tokens of connections, as ss shows them."""
    subflows: set[tuple[object, ...]] = set()
    tokens: set[int] = set()
    for line in lab.exec("client", ["ss", "-HOMtin"]).stdout.splitlines():
        if line.startswith("mptcp"):
            tokens.add(int(re.findall(r" token:(\w+)", line)[0], 16))
            continue

        def number(name: str, line: str = line) -> float:
            found = re.search(rf" {name}:(?:\d+/)?([\d.]+)", line)
            return float(found[1]) if found else 0.0

        place = re.match(r"tcp +(\w+) +\d+ +\d+ +\[?([\d.]+)\]?(?:%(\w+))?:(\d+) +([\d.]+):(\d+)", line)
        ids = re.search(r"token:\w+\(id:(\d+)\)/(\w+)\(id:(\d+)\)", line)
        flags = re.search(r" flags:(\w+)", line)
        assert place, line
        assert ids, line
        assert flags, line
        state, source, dev, sport, far, dport = place.groups()
        letters = tuple(letter in flags[1] for letter in "bB")
        bytes_ = tuple(int(number(f"bytes_{name}")) for name in ("sent", "acked", "received", "retrans"))
        again = re.search(r" retrans:\d+/(\d+)", line)
        rtt = re.search(r" rtt:([\d.]+)/", line)
        subflows.add(
            (state, source, int(sport), far, int(dport), dev or "", int(ids[2], 16), int(ids[3]), int(ids[1]), *letters,
             *bytes_, int(again[1]) if again else 0, float(rtt[1]) if rtt else 0.0, int(number("cwnd")))
        )  # fmt: skip
    return subflows, tokens


def by_us(agent: Agent) -> tuple[set[tuple[object, ...]], set[int]]:
    """The same, as mpathctl shows them."""
    found = shown(agent)["Connections"]
    bound = {"up2": "up2"}  # the first subflow is bound to no device, and is known by its address
    return {
        ("ESTAB" if s["State"] == "established" else s["State"], s["Source"], s["SourcePort"], s["Destination"],
         s["DestinationPort"], bound.get(s["Interface"], ""), c["Token"], s["LocalId"], s["RemoteId"], s["Backup"],
         s["BackupAsked"], s["BytesSent"], s["BytesAcked"], s["BytesReceived"], s["BytesRetransmitted"],
         s["Retransmissions"], s["RoundTrip"] / 1000, s["Window"])
        for c in found for s in c["Subflows"]
    }, {c["Token"] for c in found}  # fmt: skip


def property_of(agent: Agent, name: str) -> Any:
    """A property of net.mpathd.Mptcp."""
    assert agent.bus is not None
    words = ["get-property", "net.mpathd", "/net/mpathd", "net.mpathd.Mptcp", name]
    said = agent.lab.exec("client", ["busctl", f"--address={agent.bus.address}", "--json=short", *words]).stdout
    return json.loads(said)["data"]


# The tests.


def test_figures_agree_with_ss_and_nstat(agent: Agent) -> None:
    with talk(agent.lab) as (near, far), talk(agent.lab) as (near2, far2):
        for sender, receiver in ((near, far), (far, near), (near2, far2)):
            for _ in range(30):
                say(sender, receiver, bytes(10_000))
        wait(lambda: len(by_ss(agent.lab)[0]) == 4, "four subflows")
        wait(lambda: by_ss(agent.lab) == by_us(agent), "both say the same, once the last acknowledgement is here")

        def counted() -> dict[str, int]:
            said = agent.lab.exec("client", ["nstat", "-asz", "MPTcpExt*"]).stdout
            return {n: int(v) for n, v in re.findall(r"^MPTcpExt(\w+) +(\d+)", said, re.MULTILINE)}

        wait(lambda: counted() == property_of(agent, "Counters"), "nstat counts the same")
        assert counted()["MPJoinSynAckRx"] == 2
        first = next(c for c in shown(agent)["Connections"] if c["SourcePort"] == near.getsockname()[1])
        assert (first["BytesSent"], first["BytesAcked"], first["BytesReceived"]) == (300_004, 300_004, 300_004)
        assert [(s["Interface"], s["Backup"]) for s in first["Subflows"]] == [("up1", False), ("up2", True)]
        assert (property_of(agent, "Backend"), property_of(agent, "Missing")) == ("upstream", "")


def test_whose_and_which_session(agent: Agent) -> None:
    assert agent.ctl("session", "create", "video", "--flow", "*-*-tcp-*-9").returncode == 0
    mark = json.loads(agent.ctl("session", "show", "video", "--json").stdout)["Mark"]
    with talk(agent.lab) as (near, _):
        one = both(agent)
        assert (one["Session"], one["Mark"], one["User"]) == ("", 0, 0)
        assert {row["Pid"] for row in one["Processes"]} == {os.getpid()}
        near.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        assert both(agent)["Session"] == "video"
        name = Path("/proc/self/comm").read_text().strip()
        assert f", session video, {name} ({os.getpid()})\n" in agent.ctl("mptcp").stdout


def test_a_programs_connections_are_its_sessions(agent: Agent) -> None:
    """Of `session exec`, which marks each socket, those of subflows too."""
    assert agent.ctl("session", "create", "video", "--bearer", "ethernet").returncode == 0
    with agent.lab.socket("server", socket.AF_INET, socket.SOCK_STREAM, 262) as ear:
        ear.bind((SERVER4, 0))
        ear.listen(1)
        words = ["session", "exec", "video", "--", sys.executable, "-c", MULTIPATH, SERVER4, str(ear.getsockname()[1])]
        with agent.spawn_ctl(*words) as program:
            try:
                far, _ = ear.accept()
                with far:
                    assert far.recv(4) == b"word"
                    one = both(agent)
                    far.sendall(b"word")
            finally:
                program.communicate(timeout=20)

    assert program.returncode == 0
    assert (one["Session"], [row["Pid"] for row in one["Processes"]]) == ("video", [program.pid])
    assert one["Mark"]
    assert {s["Mark"] for s in one["Subflows"]} == {one["Mark"]}


def test_processes_and_who_may_look_into_them() -> None:
    """What one that hides its memory has open is root's to see, though its user is another."""
    hiding = "import ctypes, os, sys; ctypes.CDLL(None).prctl(4, 0); print(flush=True); sys.stdin.read()"
    with socket.socket() as shared, ExitStack() as stack:
        children = []
        for code in ("import sys; print(flush=True); sys.stdin.read()", hiding):
            child = subprocess.Popen(
                ["/usr/bin/env", "python3", "-c", code], user=NOBODY, group=NOBODY, pass_fds=[shared.fileno()],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PATH": "/usr/bin:/bin"},
            )  # fmt: skip
            stack.enter_context(child)
            stack.callback(child.kill)
            assert child.stdout is not None
            assert child.stdout.readline() == b"\n"
            children.append(child.pid)
        inode = os.fstat(shared.fileno()).st_ino
        found = {one.pid: one for one in owners([inode])[inode]}

    assert {pid: one.user for pid, one in found.items()} == {os.getpid(): 0, children[0]: NOBODY, children[1]: 0}
    assert found[children[0]] == Owner(children[0], "python3", NOBODY)


def test_speeds_are_what_was_carried(agent: Agent) -> None:
    agent.lab.ip("client", "mptcp endpoint change id 7 nobackup")
    with talk(agent.lab) as (near, far), flood(near, far):
        both(agent)
        watch = agent.spawn_ctl("mptcp", "--watch", "--interval", "0.5", "--json")
        assert watch.stdout is not None
        readings = [json.loads(watch.stdout.readline()) for _ in range(5)]
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=10)

    assert watch.returncode == 0
    for before, now in pairwise(readings[1:]):
        old = {s["Cookie"]: s for s in before["Connections"][0]["Subflows"]}
        new = now["Connections"][0]["Subflows"]
        assert now["Seconds"] >= 0.5
        for one in new:
            moved = one["BytesAcked"] - old[one["Cookie"]]["BytesAcked"]
            assert one["BitsOutPerSecond"] * now["Seconds"] / 8 == pytest.approx(moved, abs=1)
        assert sum(one["BitsOutPerSecond"] for one in new) <= 2.2 * RATE
    links = {s["Interface"]: s["BitsOutPerSecond"] for s in readings[-1]["Connections"][0]["Subflows"]}
    assert set(links) == {"up1", "up2"}
    assert sum(links.values()) > 0.5 * RATE


@contextmanager
def flood(sender: socket.socket, receiver: socket.socket) -> Iterator[None]:
    """Sends as fast as it goes while the block lasts."""
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            try:
                sender.sendall(bytes(65536))
            except TimeoutError:
                continue

    def receive() -> None:
        while True:
            try:
                if not receiver.recv(1 << 20):
                    return
            except TimeoutError:
                return

    threads = [threading.Thread(target=work) for work in (send, receive)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        threads[0].join()
        sender.shutdown(socket.SHUT_WR)
        threads[1].join()


def test_ages() -> None:
    with running(before=True) as agent, talk(agent.lab):
        agent.start()
        old = both(agent)
        assert {s["AgeAtLeast"] for s in old["Subflows"]} == {True}
        with talk(agent.lab) as (near, _):
            port = near.getsockname()[1]

            def whole() -> Any:
                found = [c for c in shown(agent)["Connections"] if c["SourcePort"] == port]
                return found if found and len(found[0]["Subflows"]) == 2 else None

            (young,) = wait(whole, "the young one with two subflows")
            older = both_of(agent, old["Token"])
        assert {s["AgeAtLeast"] for s in young["Subflows"]} == {False}
        assert all(0 < s["Age"] < min(o["Age"] for o in older["Subflows"]) for s in young["Subflows"])


def both_of(agent: Agent, token: int) -> Any:
    """The connection of that token."""
    return next(c for c in shown(agent)["Connections"] if c["Token"] == token)


def test_events_in_words(agent: Agent) -> None:
    monitor = agent.spawn_ctl("mptcp", "monitor")
    assert monitor.stdout is not None
    assert " is there " in monitor.stdout.readline()
    with talk(agent.lab):
        one = both(agent)
        agent.lab.ip("client", "mptcp endpoint delete id 7")
        wait(lambda: len(shown(agent)["Connections"][0]["Subflows"]) == 1, "the subflow is gone")
    lines: list[str] = []
    while not lines or "connection closed" not in lines[-1]:
        lines.append(monitor.stdout.readline())
    monitor.send_signal(signal.SIGINT)
    monitor.communicate(timeout=10)

    token = f"{one['Token']:08x}"
    second = one["Subflows"][1]
    ends = f"{A2}:{second['SourcePort']} > {SERVER4}:{second['DestinationPort']}"
    told = [line[13:].strip() for line in lines]
    assert told[0].startswith(f"mptcp    {token} connection opened {A1}:")
    assert f"mptcp    {token} subflow established {ends} by up2 (ids 7 > 0)" in told
    assert f"mptcp    {token} subflow closed {ends} by up2 (ids 7 > 0)" in told
    assert told[-1] == f"mptcp    {token} connection closed"
    assert not [line for line in told if not line.startswith(f"mptcp    {token} ")]


def test_the_busiest_are_kept_and_all_are_counted() -> None:
    with Bond(1) as bond, ExitStack() as stack:
        ports = []
        for number in range(12):
            near, far = stack.enter_context(bond.talk())
            say(near, far, bytes(1000 * (number * 5 % 12)))
            ports.append((number * 5 % 12, near.getsockname()[1]))
        wait(lambda: sum(one.acked for one in bond.diag.connections()) == 66_000 + 12 * 4, "all is acknowledged")
        found, total = bond.diag.busiest(5)
        parts = bond.diag.subflows({one.token for one in found})

        assert total == 12
        assert {one.sport for one in found} == {port for _, port in sorted(ports)[-5:]}
        assert sorted(part.sport for part in parts) == sorted(one.sport for one in found)
        assert bond.diag.busiest(0) == ((), 12)
        assert len(bond.diag.busiest(100)[0]) == 12


def test_where_mptcp_is_off_the_reason_stands_first(agent: Agent) -> None:
    agent.lab.sysctl("client", {"net.mptcp.enabled": 0})
    said = agent.ctl("mptcp")

    assert said.stdout.splitlines() == [
        "MPTCP cannot be used: MPTCP is switched off (sysctl -w net.mptcp.enabled=1)",
        "0 connections, 0 subflows",
    ]


def test_a_program_that_asks_for_tcp_gets_mptcp(agent: Agent) -> None:
    """With the library of Debian, unpacked: nothing is installed."""
    folder = unpacked("mptcpwrap", ["libmptcpwrap0"]) / "usr/lib"
    with agent.lab.socket("server", socket.AF_INET, socket.SOCK_STREAM, 262) as ear:
        ear.bind((SERVER4, 0))
        ear.listen(1)
        argv = [sys.executable, "-c", EXEC, str(folder), sys.executable, "-c", PLAIN, SERVER4]
        with agent.lab.popen(
            "client", [*argv, str(ear.getsockname()[1])], env=agent.env, stderr=subprocess.PIPE
        ) as program:
            try:
                far, _ = ear.accept()
                with far:
                    assert far.recv(4) == b"word"
                    (one,) = shown(agent)["Connections"]
                    far.sendall(b"word")
            finally:
                _, said = program.communicate(timeout=20)

    assert (program.returncode, said) == (0, "")
    assert [row["Pid"] for row in one["Processes"]] == [program.pid]
    assert not one["Fallback"]
