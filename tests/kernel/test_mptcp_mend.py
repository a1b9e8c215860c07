"""Subflows that the kernel has given up come back by the running daemon, and nothing that lives is reset for it."""

from __future__ import annotations

import errno

import pytest

from kernel.helpers_bonded import Bonded
from kernel.helpers_mptcp import say, wait
from labkit import SERVER4
from labkit.stream import Stream
from mpathd.model.mptcp import Kind

pytestmark = pytest.mark.kernel

A1, A2 = "10.81.1.2", "10.81.2.2"
FAULT = (
    "add table ip fault; add chain ip fault way {{ type filter hook forward priority 0; }}; "
    "add rule ip fault way ip saddr {0} meta l4proto tcp reject with tcp reset"
)


def resets(bond: Bonded, source: str = A2) -> None:
    """Let the router reset all TCP of a source."""
    bond.lab.exec("router", ["nft", FAULT.format(source)])


def heals(bond: Bonded) -> None:
    """Let it be."""
    bond.lab.exec("router", ["nft", "delete table ip fault"])


def test_a_subflow_that_was_reset_comes_back() -> None:
    with Bonded() as bond:
        bond.config(1, "backup")
        with bond.talk() as (near, far):
            wait(lambda: bond.sources() == [A1, A2], "two subflows")
            resets(bond)
            near.sendall(b"word")  # by up2, which is no backup
            assert bond.event("client", Kind.SUB_CLOSED, error=errno.ECONNRESET).source == A2
            heals(bond)
            assert far.recv(4) == b"word"
            wait(lambda: bond.sources() == [A1, A2], "its subflow is back")
            say(near, far)


def test_it_is_tried_again_with_growing_pauses_until_the_way_is_free() -> None:
    with Bonded() as bond:
        bond.config(1, "backup")
        with bond.talk() as (near, far):
            wait(lambda: bond.sources() == [A1, A2], "two subflows")
            resets(bond)
            near.sendall(b"word")
            assert far.recv(4) == b"word"
            closed = [Kind.SUB_CLOSED, A2]
            wait(lambda: len(bond.events("client", Kind.SUB_CLOSED)) >= 3, f"{closed} again and again")
            say(near, far)  # the other one is not disturbed
            heals(bond)
            wait(lambda: bond.sources() == [A1, A2], "its subflow is back")
            said = bond.agent.log.read_text()
            tries = said.count("subflows are tried anew")
            assert 2 <= tries <= 6
            assert {event.source for event in bond.events("client", Kind.SUB_CLOSED)} == {A2}


def test_the_first_subflow_comes_back_while_data_waits_at_another_link() -> None:
    """It always has id 0: told too late to forget that one, behind the data, the far side would close the new one."""
    with Bonded() as bond, Stream(bond.lab, "client", "server", SERVER4, seconds=30.0) as stream:
        wait(lambda: bond.sources() == [A1, A2], "two subflows")
        bond.lab.ip("router", "link set isp1 down")
        wait(lambda: bond.sources() == [A2], "one subflow")
        resets(bond, A1)  # the first try when the link is back fails, as it does when ARP has just given up
        bond.lab.ip("router", "link set isp1 up")
        wait(lambda: any(e.source == A1 and e.error for e in bond.events("client", Kind.SUB_CLOSED)), "it fails")
        heals(bond)
        wait(
            lambda: any(one.source == A1 and one.sent > 1_000_000 for one in bond.subflows()), "it is back, and carries"
        )
        stream.stop()


def test_a_living_subflow_of_another_connection_is_never_reset_for_it() -> None:
    """Delete and add would close it: the lost one has to wait."""
    with Bonded(config='[log]\nlevel = "debug"\n') as bond:
        bond.config(1, "backup")
        with bond.talk() as (near, far):
            wait(lambda: bond.sources() == [A1, A2], "two subflows")
            with bond.talk() as (other, beyond):
                wait(lambda: bond.sources() == [A1, A1, A2, A2], "two more")
                (port,) = {near.getpeername()[1]}
                only = FAULT.format(A2).replace("reject", f"tcp dport {port} reject").replace("meta l4proto tcp ", "")
                bond.lab.exec("router", ["nft", only])
                near.sendall(b"word")
                bond.event("client", Kind.SUB_CLOSED, source=A2, dport=port)
                assert far.recv(4) == b"word"
                heals(bond)
                living = [one.cookie for one in bond.subflows() if one.dport != port]
                say(other, beyond)
                wait(
                    lambda: "subflows are left alone" in bond.agent.log.read_text(), "mpathd has looked, and let it be"
                )
                say(other, beyond)
                assert [one.cookie for one in bond.subflows() if one.dport != port] == living
            wait(lambda: bond.sources() == [A1, A2], "once the other is closed, it comes back")
            say(near, far)
