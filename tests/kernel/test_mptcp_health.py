"""Troubles of MPTCP at the far side and in between, made with real packets, as `status` tells them."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from kernel.helpers_mptcp import IPPROTO_MPTCP, say, talk, wait
from kernel.helpers_view import running
from labkit import SERVER4, Lab
from labkit.agent import Agent
from labkit.netns import in_ns
from mpathd.kernel.mptcp import counters

pytestmark = pytest.mark.kernel

HOOK = "type filter hook forward priority 0;"
JOINS = "MPJoinSynTx"


def fault(lab: Lab, *rules: str) -> None:
    """Let the router do something to packets.

    Args:
        lab: the lab.
        rules: of nft.
    """
    chain = f"add table inet fault; add chain inet fault way {{ {HOOK} }}"
    lab.exec("router", ["nft", "; ".join((chain, *(f"add rule inet fault way {rule}" for rule in rules)))])


def nothing(_lab: Lab) -> None:
    """The way is as it should be."""


def checked(lab: Lab) -> None:
    """Both ends check data, and the router writes an A into long packets of the first link."""
    for host in ("client", "server"):
        lab.sysctl(host, {"net.mptcp.checksum_enabled": 1})
    fault(lab, "iifname isp1 meta length > 500 @ih,64,8 set 0x41")


@dataclass(frozen=True, slots=True)
class Trouble:
    """A trouble.

    Args:
        code: of the finding.
        words: in its text.
        cause: makes the trouble, before anybody connects.
        host: who sees it.
        far: protocol of the server's socket.
        counter: of that host; the connection stays until the kernel has counted.
        lost: data does not arrive as it was sent.
    """

    code: str
    words: str
    cause: Callable[[Lab], object] = nothing
    host: str = "client"
    far: int = IPPROTO_MPTCP
    counter: str = "MPCapableFallbackSYNACK"
    lost: bool = False


TROUBLES = {
    "a server that asks for TCP": Trouble("mptcp-fallback", "1 of 1 connections fell back", far=socket.IPPROTO_TCP),
    "a server that has it switched off": Trouble(
        "mptcp-fallback", "1 of 1 connections fell back",
        lambda lab: lab.sysctl("server", {"net.mptcp.enabled": 0}), far=socket.IPPROTO_TCP,
    ),
    "the option taken out": Trouble(
        "mptcp-fallback", "its option was taken out on the way", lambda lab: fault(lab, "reset tcp option mptcp"),
    ),
    "taken out once it had begun": Trouble(
        "mptcp-stripped", "once MPTCP's option vanished",
        lambda lab: fault(lab, "tcp flags & syn == 0 reset tcp option mptcp"), counter="MPCapableDataFallback",
    ),
    "the same at the server": Trouble(
        "mptcp-stripped", "once MPTCP's option vanished",
        lambda lab: fault(lab, "tcp flags & syn == 0 reset tcp option mptcp"), "server",
        counter="MPCapableFallbackACK",
    ),
    "packets with it dropped": Trouble(
        "mptcp-dropped", "plain TCP is used for a while",
        lambda lab: fault(lab, "tcp flags & (syn|ack) == syn tcp option mptcp exists drop"),
        counter="MPCapableSYNTXDrop",
    ),
    "data changed": Trouble("mptcp-changed", "once MPTCP data was changed", checked, counter="MPFailRx", lost=True),
    "the server's limits": Trouble(
        "mptcp-refused", "1 of 1 further subflows were cut off at once: the far side allows no more of them",
        lambda lab: lab.ip("server", "mptcp limits set subflows 0"), counter="MPRstTx",
    ),
    "the same at the server, full": Trouble(
        "mptcp-full", "once a further subflow of a client was refused here",
        lambda lab: lab.ip("server", "mptcp limits set subflows 0"), "server", counter="MPJoinRejected",
    ),
    "the option taken out by one link": Trouble(
        "mptcp-refused", "or MPTCP's option is taken out on their way",
        lambda lab: fault(lab, "iifname isp2 reset tcp option mptcp"), counter="MPRstTx",
    ),
}  # fmt: skip


def told(agent: Agent) -> dict[str, Any]:
    """The findings about MPTCP that `status` has, by their codes."""
    done = agent.ctl("status", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads(done.stdout)["Findings"]
    return {row["Code"]: row for row in rows if row["Code"].startswith("mptcp-")}


def counted(lab: Lab, host: str, name: str) -> int:
    """What the kernel of a host has counted."""
    return in_ns(lab.ns(host), counters)[name]


def speak(lab: Lab, trouble: Trouble) -> None:
    """Connect, and say something long, until the kernel has counted it."""
    with talk(lab, far=trouble.far) as (near, far):
        if trouble.lost:
            near.sendall(bytes(3000))
        else:
            say(near, far, bytes(3000))
            say(far, near, bytes(3000))
        wait(lambda: counted(lab, trouble.host, trouble.counter), trouble.counter)


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
def test_a_trouble_is_told_with_its_cure(trouble: Trouble) -> None:
    with running(trouble.host) as agent:
        assert told(agent) == {}
        trouble.cause(agent.lab)
        speak(agent.lab, trouble)
        found = told(agent)

        assert list(found) == [trouble.code]
        assert trouble.words in found[trouble.code]["Text"]
        assert found[trouble.code]["Cure"]
        assert f"#   {trouble.code}: " in agent.ctl("status").stdout


def test_without_trouble_nothing_is_told() -> None:
    """Also of connections that are closed hard, with data that nobody has read, and of links that go."""
    with running() as agent:
        with talk(agent.lab) as (near, far):
            wait(lambda: counted(agent.lab, "client", "MPJoinSynAckRx"), "a second subflow")
            say(near, far, bytes(3000))
            far.sendall(bytes(3000))
            wait(lambda: len(near.recv(3000, socket.MSG_PEEK)) == 3000, "data that nobody reads")
        wait(lambda: counted(agent.lab, "client", "MPFastcloseTx"), "the hard close")
        with talk(agent.lab) as (near, far):
            wait(lambda: counted(agent.lab, "client", "MPJoinSynAckRx") == 2, "a second subflow")
            agent.lab.ip("client", "mptcp endpoint delete id 7")
            wait(lambda: counted(agent.lab, "client", "RmSubflow"), "it is closed")
            say(near, far, bytes(3000))
        assert told(agent) == {}


def test_what_was_before_does_not_count() -> None:
    with running(before=True) as agent:
        with talk(agent.lab, far=socket.IPPROTO_TCP):
            pass
        assert counted(agent.lab, "client", "MPCapableFallbackSYNACK") == 1
        agent.start()
        assert told(agent) == {}
        for number in (1, 2):
            with talk(agent.lab, far=socket.IPPROTO_TCP):
                assert f"{number} of {number} connections" in told(agent)["mptcp-fallback"]["Text"]


def test_a_session_that_forbids_a_link_is_no_trouble() -> None:
    """Its joins are answered by a reset that is no peer's."""
    with running() as agent:
        rule = f"ip saddr 10.81.2.2 ip daddr {SERVER4} tcp option mptcp subtype 1 reject with tcp reset"
        hook = "add table inet own; add chain inet own out { type filter hook output priority 0; }"
        agent.lab.exec("client", ["nft", f"{hook}; add rule inet own out {rule}"])
        with talk(agent.lab) as (near, far):
            wait(lambda: counted(agent.lab, "client", JOINS), "a join")
            say(near, far, bytes(3000))
        assert told(agent) == {}
