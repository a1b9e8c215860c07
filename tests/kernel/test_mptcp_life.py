"""Whose endpoints and limits they are, through starts, stops, kills and other programs, with the running daemon."""

from __future__ import annotations

import json

import pytest

from kernel.helpers_bonded import Bonded
from kernel.helpers_mptcp import say, wait
from mpathd.model.mptcp import Limits

pytestmark = pytest.mark.kernel

A1, A2 = "10.81.1.2", "10.81.2.2"
B1, B2 = "fd00:81:1::2", "fd00:81:2::2"
BOTH = (f"{A1} up1 subflow", f"{A2} up2 subflow", f"{B1} up1 subflow", f"{B2} up2 subflow")


def ids(bond: Bonded) -> dict[str, int]:
    """The endpoints' ids by address."""
    return {one["address"]: one["id"] for one in json.loads(bond.lab.ip("client", "-j mptcp endpoint show"))}


# Limits.


def test_limits_are_raised_and_put_back() -> None:
    with Bonded(4, start=False) as bond:
        bond.agent.start()
        wait(lambda: bond.limits() == Limits(4, 0), "four links need four")
        bond.config(4, "off")
        assert bond.limits() == Limits(4, 0)  # never lowered while mpathd runs
        assert bond.agent.stop() == 0
        assert bond.limits() == Limits(2, 0)


def test_limits_are_never_lowered_under_what_was_there() -> None:
    with Bonded(3, start=False) as bond:
        bond.lab.ip("client", "mptcp limits set subflows 7 add_addr_accepted 5")
        bond.agent.start()
        wait(lambda: len(bond.words()) == 6, "endpoints")
        assert bond.limits() == Limits(7, 5)
        bond.agent.stop()
        assert bond.limits() == Limits(7, 5)


def test_limits_that_others_have_changed_meanwhile_stay() -> None:
    with Bonded(3) as bond:
        wait(lambda: bond.limits() == Limits(3, 0), "three links need three")
        bond.lab.ip("client", "mptcp limits set subflows 6 add_addr_accepted 1")
        bond.settle()
        bond.agent.stop()
        assert bond.limits() == Limits(6, 1)


def test_limits_that_others_lower_are_raised_again_and_then_put_back() -> None:
    with Bonded(3) as bond:
        wait(lambda: bond.limits() == Limits(3, 0), "three links need three")
        bond.lab.ip("client", "mptcp limits set subflows 1")
        assert bond.status()["Settled"]
        assert bond.limits() == Limits(3, 0)
        bond.agent.stop()
        assert bond.limits() == Limits(1, 0)


@pytest.mark.parametrize("end", ["kill", "keep"])
def test_limits_of_before_outlive_mpathd(end: str) -> None:
    with Bonded(4, config="[stop]\nkeep = true\n" if end == "keep" else "") as bond:
        wait(lambda: bond.limits() == Limits(4, 0), "four links need four")
        if end == "keep":
            bond.agent.stop()
        else:
            bond.agent.kill()
        assert (bond.limits(), len(bond.words())) == (Limits(4, 0), 8)
        done = bond.agent.once("--release")
        assert done.returncode == 0, done
        assert "[#] ip mptcp limits set subflows 2 add_addr_accepted 0" in done.stdout.splitlines()
        assert sum("ip mptcp endpoint delete" in line for line in done.stdout.splitlines()) == 8
        assert (bond.limits(), bond.words()) == (Limits(2, 0), [])


# Restarts.


@pytest.mark.parametrize("end", ["kill", "keep"])
def test_a_restart_touches_no_endpoint_and_no_subflow(end: str) -> None:
    with Bonded(config="[stop]\nkeep = true\n" if end == "keep" else "") as bond, bond.talk() as (near, far):
        wait(lambda: bond.sources() == [A1, A2], "two subflows")
        before, sockets = ids(bond), sorted(one.cookie for one in bond.subflows())
        if end == "keep":
            assert bond.agent.stop() == 0
        else:
            bond.agent.kill()
        assert ids(bond) == before
        bond.agent.start()
        bond.settle()
        assert ids(bond) == before
        assert sorted(one.cookie for one in bond.subflows()) == sockets
        say(near, far)


def test_what_changed_while_mpathd_was_dead_is_put_right() -> None:
    with Bonded() as bond:
        bond.until(*BOTH)
        bond.agent.kill()
        # One at whose address another program's is now, with an id of ours; one that is gone; a link that is gone.
        number = ids(bond)[A1]
        bond.lab.ip("client", f"mptcp endpoint delete id {number}")
        bond.lab.ip("client", "addr add 10.99.0.1/32 dev lo")
        bond.lab.ip("client", f"mptcp endpoint add 10.99.0.1 id {number} dev lo subflow")
        bond.lab.ip("router", "link set isp2 down")
        wait(lambda: "NO-CARRIER" in bond.lab.ip("client", "link show up2"), "carrier is lost")
        bond.agent.start()
        bond.until("10.99.0.1 lo subflow", *BOTH[::2])
        assert ids(bond)["10.99.0.1"] == number
        assert bond.agent.stop() == 0
        assert bond.words() == ["10.99.0.1 lo subflow"]


def test_a_start_without_memory_knows_its_own_by_their_looks() -> None:
    with Bonded() as bond:
        bond.until(*BOTH)
        before = ids(bond)
        bond.agent.kill()
        (bond.agent.folder / "run" / "sessions.json").unlink()
        bond.agent.start()
        assert ids(bond) == before
        assert bond.agent.stop() == 0
        assert bond.words() == []


# Others.


def test_dry_run_prints_and_writes_nothing() -> None:
    with Bonded(3, start=False) as bond:
        said = bond.agent.once("--dry-run").stdout.splitlines()
        mine = [line for line in said if line.startswith("ip mptcp")]
        assert mine[0] == "ip mptcp limits set subflows 3 add_addr_accepted 0"
        assert said[-len(mine) :] == mine  # behind all routing
        assert sum(line.startswith("ip mptcp endpoint add") for line in mine) == 6
        assert (bond.words(), bond.limits()) == ([], Limits(2, 0))
        for line in mine:
            bond.lab.ip("client", line.removeprefix("ip "))
        assert len(bond.words()) == 6


def test_monitor_and_log_tell_the_writes() -> None:
    with Bonded(config='[log]\nlevel = "debug"\n') as bond:
        bond.until(*BOTH)
        log = [json.loads(line) for line in bond.agent.log.read_text().splitlines()]
        told = [line["command"] for line in log if line["event"] == "wrote"]
        assert sum(line.startswith("ip mptcp endpoint add") for line in told[-4:]) == 4


def test_an_endpoint_of_another_program_serves_and_a_contradiction_is_told() -> None:
    with Bonded(start=False) as bond:
        bond.lab.ip("client", f"mptcp endpoint add {A2} id 7 dev up2 subflow")
        bond.agent.start()
        bond.until(*BOTH)
        assert ids(bond)[A2] == 7
        assert bond.codes() == ["endpoint-shared"]
        bond.config(2, "off")
        bond.until(*BOTH[:3])  # theirs stays
        (told,) = bond.status()["Findings"]
        assert (told["Code"], "id 7" in told["Text"]) == ("endpoint-foreign", True)
        assert bond.agent.stop() == 0
        assert bond.words() == [BOTH[1]]


def test_who_undoes_our_endpoints_again_and_again_is_told() -> None:
    with Bonded() as bond:
        bond.until(*BOTH)

        def undo() -> bool:
            if number := ids(bond).get(A2):
                bond.lab.ip("client", f"mptcp endpoint delete id {number}")
            return "contested" in bond.codes()

        wait(undo, "it is told")
        text = next(f["Text"] for f in bond.status()["Findings"] if f["Code"] == "contested")
        assert f"ip mptcp endpoint add {A2}" in text
