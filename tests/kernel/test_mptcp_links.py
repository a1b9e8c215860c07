"""MPTCP links on, backup and off by the running daemon: endpoints, subflows and packets (issue: links and limits)."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from kernel.helpers_bonded import Bonded
from kernel.helpers_mptcp import say, wait
from mpathd.model.mptcp import Kind, Limits

pytestmark = pytest.mark.kernel

A1, A2, A3 = "10.81.1.2", "10.81.2.2", "10.81.3.2"
B1, B2 = "fd00:81:1::2", "fd00:81:2::2"
BOTH = (f"{A1} up1 subflow", f"{A2} up2 subflow", f"{B1} up1 subflow", f"{B2} up2 subflow")
ONE = (f"{A1} up1 subflow", f"{B1} up1 subflow")


@contextmanager
def transfer(bond: Bonded) -> Iterator[list[int]]:
    """Data that flows from the client to the server until the end; gives how many bytes have come so far."""
    with bond.talk() as (near, far):
        wait(lambda: len(bond.sources()) == 2, "two subflows")
        stop, count = threading.Event(), [0]

        def send() -> None:
            while not stop.is_set():
                near.sendall(bytes(20000))

        def receive() -> None:
            while data := far.recv(1 << 16):
                count[0] += len(data)

        threads = [threading.Thread(target=send), threading.Thread(target=receive)]
        for thread in threads:
            thread.start()
        try:
            yield count
        finally:
            stop.set()
            threads[0].join()
            near.close()
            threads[1].join()


def flows(count: list[int]) -> None:
    """Wait until a good deal more has come."""
    before = count[0]
    wait(lambda: count[0] > before + 300_000, "data flows")


def carried(bond: Bonded) -> dict[str, int]:
    """What each source's subflow has sent."""
    return {one.source: one.sent for one in bond.subflows()}


def rests(bond: Bonded, idle: str, busy: str) -> bool:
    """Whether one source sends next to nothing while another one sends a lot."""
    before = carried(bond)
    wait(lambda: carried(bond)[busy] > before[busy] + 300_000, f"{busy} carries")
    after = carried(bond)
    return (after[idle] - before[idle]) * 50 < after[busy] - before[busy]


def test_endpoints_come_with_routing_and_go_with_mpathd() -> None:
    with Bonded(start=False) as bond:
        assert (bond.words(), bond.limits()) == ([], Limits(2, 0))
        bond.agent.start()
        bond.until(*BOTH)
        ids = [one["id"] for one in json.loads(bond.lab.ip("client", "-j mptcp endpoint show"))]
        assert all(200 <= number <= 254 for number in ids)
        assert bond.agent.stop() == 0
        assert (bond.words(), bond.limits()) == ([], Limits(2, 0))


def test_a_link_that_is_not_routed_has_no_endpoint() -> None:
    with Bonded(args=()) as bond:
        bond.agent.ctl("status")
        assert bond.words() == []
        assert bond.agent.ctl("config", "up1", "--mpath_routing", "yes").returncode == 0
        bond.until(*ONE)
        assert bond.agent.ctl("config", "--mpath_routing", "yes").returncode == 0
        bond.until(*BOTH)
        assert bond.agent.ctl("config", "--mpath_routing", "no").returncode == 0
        bond.until()


def test_backup_and_on_again_while_data_flows() -> None:
    """The flag reaches the far side (MP_PRIO), no subflow is reset, and a backup carries nothing."""
    with Bonded() as bond, transfer(bond) as count:
        flows(count)
        sockets = sorted(one.cookie for one in bond.subflows())
        bond.config(2, "backup")
        bond.event("server", Kind.SUB_PRIORITY, destination=A2, backup=True)
        bond.until(*ONE, f"{A2} up2 subflow backup", f"{B2} up2 subflow backup")
        wait(lambda: rests(bond, A2, A1), "up2 rests, once what was queued there is through")
        bond.config(2, "on")
        bond.event("server", Kind.SUB_PRIORITY, destination=A2, backup=False)
        before = carried(bond)
        wait(lambda: carried(bond)[A2] > before[A2] + 100_000, "up2 carries again")
        bond.config(1, "backup")  # also the first subflow
        bond.event("server", Kind.SUB_PRIORITY, destination=A1, backup=True)
        flows(count)
        assert sorted(one.cookie for one in bond.subflows()) == sockets
        assert bond.events("client", Kind.SUB_CLOSED) == []


def test_off_and_on_again_while_data_flows() -> None:
    with Bonded() as bond, transfer(bond) as count:
        for link, address, other in ((2, A2, A1), (1, A1, A2)):
            bond.config(link, "off")
            wait(lambda other=other: [one.source for one in bond.subflows()] == [other], "one subflow")  # type: ignore[misc]
            assert not [line for line in bond.words() if line.startswith(address)]
            flows(count)
            bond.config(link, "on")
            wait(lambda: bond.sources() == [A1, A2], "both again")
            flows(count)


@pytest.mark.parametrize("how", ["carrier", "down", "unplug"])
def test_a_link_that_is_lost_while_data_flows(how: str) -> None:
    with Bonded() as bond, transfer(bond) as count:
        flows(count)
        match how:
            case "carrier":
                bond.lab.ip("router", "link set isp2 down")
            case "down":
                bond.lab.ip("client", "link set up2 down")
            case _:
                bond.lab.ip("client", "link del up2")
        bond.until(*ONE)
        wait(lambda: bond.sources() == [A1], "one subflow")
        flows(count)
        if how == "carrier":
            bond.lab.ip("router", "link set isp2 up")
            bond.until(*BOTH)
            wait(lambda: bond.sources() == [A1, A2], "the subflow is back")
            before = carried(bond)
            wait(lambda: carried(bond)[A2] > before[A2] + 100_000, "up2 carries again")


def test_an_address_that_is_renewed() -> None:
    """What a DHCP client does: the old address goes, another one comes, the default is set anew."""
    with Bonded() as bond, transfer(bond) as count:
        bond.lab.ip("client", f"addr del {A2}/24 dev up2")
        bond.lab.ip("client", "addr add 10.81.2.9/24 dev up2")
        bond.lab.ip("client", "route add default via 10.81.2.1 dev up2 metric 200")
        bond.until(*ONE, "10.81.2.9 up2 subflow", f"{B2} up2 subflow")
        wait(lambda: bond.sources() == [A1, "10.81.2.9"], "a subflow from the new address")
        before = carried(bond)
        wait(lambda: carried(bond)["10.81.2.9"] > before["10.81.2.9"] + 100_000, "it carries")
        flows(count)


def test_an_endpoint_comes_only_when_its_way_out_is_there() -> None:
    """An address without a gateway yet: it would be tried once, and never again."""
    with Bonded() as bond, bond.talk() as (near, far):
        wait(lambda: bond.sources() == [A1, A2], "two subflows")
        bond.lab.ip("client", f"addr del {A2}/24 dev up2")
        bond.lab.ip("client", "-6 route del default dev up2")
        bond.until(*ONE)
        bond.lab.ip("client", "addr add 10.81.2.9/24 dev up2")
        bond.settle()
        bond.until(*ONE)
        bond.lab.ip("client", "route add default via 10.81.2.1 dev up2 metric 200")
        bond.until(*ONE, "10.81.2.9 up2 subflow")
        wait(lambda: bond.sources() == [A1, "10.81.2.9"], "its first try came through")
        say(near, far)


def test_more_addresses_than_the_kernel_takes() -> None:
    with Bonded(5) as bond:
        wait(lambda: len(bond.words()) == 8, "as many as the kernel takes")
        homes = bond.homes()
        assert {line.split()[1] for line in homes} == {f"up{n}" for n in range(1, 6)}  # each link has one at least
        assert sum(":" in line for line in homes) == 4  # and each family its share
        assert bond.codes() == ["endpoints-full"]
        assert bond.status()["Settled"]
        bond.config(1, "off")
        wait(lambda: len({line.split()[1] for line in bond.homes()}) == 4 and len(bond.words()) == 8, "all of the rest")
        assert {line for line in homes if not line.endswith("up1")} < bond.homes()  # nothing had to move
        wait(lambda: bond.codes() == [], "no finding")


def test_temporary_tentative_and_deprecated_addresses_have_none() -> None:
    with Bonded() as bond:
        bond.until(*BOTH)
        bond.lab.ip("client", "addr add fd00:81:1::77/64 dev up1 preferred_lft 0")
        bond.settle()
        bond.until(*BOTH)
        bond.lab.ip("client", "addr change fd00:81:1::77/64 dev up1 preferred_lft forever valid_lft forever")
        bond.until(*BOTH, "fd00:81:1::77 up1 subflow")


def test_switched_off_by_sysctl() -> None:
    """Everything else works, the reason is shown; what lives goes on, and may lose links."""
    with Bonded() as bond, transfer(bond) as count:
        assert bond.status()["Extra"] == {"MPTCP": "upstream, 4 endpoints"}
        bond.lab.sysctl("client", {"net.mptcp.enabled": 0})
        assert "MPTCP is switched off" in bond.status()["Extra"]["MPTCP"]
        flows(count)
        bond.lab.ip("client", "addr add 10.81.2.9/24 dev up2")
        bond.settle()
        bond.until(*BOTH)
        bond.lab.ip("router", "link set isp2 down")
        bond.until(*ONE)
        flows(count)
        bond.lab.ip("router", "link set isp2 up")
        bond.settle()
        bond.until(*ONE)
        bond.lab.sysctl("client", {"net.mptcp.enabled": 1})
        bond.status()
        bond.until(*BOTH, "10.81.2.9 up2 subflow")
        bond.lab.sysctl("client", {"net.mptcp.enabled": 0})
    with Bonded(start=False) as bond:
        bond.lab.sysctl("client", {"net.mptcp.enabled": 0})
        bond.agent.start()
        assert bond.agent.ctl("services").stdout.startswith("*AMR")
        assert "MPTCP: upstream: MPTCP is switched off" in bond.agent.ctl("status").stdout
        assert (bond.words(), bond.limits()) == ([], Limits(2, 0))
        bond.lab.sysctl("client", {"net.mptcp.enabled": 1})
        bond.agent.ctl("status")
        bond.until(*BOTH)


def test_options_of_all_links() -> None:
    with Bonded(config="[mptcp]\nfullmesh = true\n") as bond:
        bond.until(*(f"{line} fullmesh" for line in BOTH))
        assert bond.limits() == Limits(6, 2)
        bond.agent.config.write_text("[mptcp]\nsignal = true\nlimits = false\n")
        bond.agent.ctl("status")
        bond.agent.signal(signal.SIGHUP)
        bond.until(*(line.replace("subflow", "signal subflow") for line in BOTH))
        bond.agent.config.write_text("[mptcp]\n\nsignal = true\nfullmesh = true\n")
        bond.agent.signal(signal.SIGHUP)
        wait(lambda: "config" in bond.codes(), "the clash is told")
        text = bond.status()["Findings"][0]["Text"]
        assert "mpathd.conf:4:1: signal and fullmesh exclude each other" in text, text
