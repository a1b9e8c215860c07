"""Without the socket engine: nothing is attached, the packet engine serves, and status says what it does not hold."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from kernel.helpers_cgroup import Cgroup, programs
from kernel.helpers_early import way
from kernel.helpers_peer import Peer
from kernel.helpers_sessions import FAMILIES, FLOW, KINDS, OTHER, PORT, Case
from kernel.helpers_shared import OFF, keeping, lab
from labkit.agent import eventually

USER, GROUP = 41301, 42301
SAID = {"unmarked-group", "unheld-subflows"}
UNABLE = 'set -- setpriv --bounding-set=-sys_admin,-bpf --inh-caps=-sys_admin,-bpf "$@"'  # before mpathd

shared = lab(partial(keeping, config=OFF))


def said(case: Case) -> Mapping[tuple[str, str], Mapping[str, str]]:
    """What `status` says of sockets, by finding and session; but for the session that `settle` makes."""
    found = [finding for finding in case.status()["Findings"] if finding["Code"] in SAID]
    return {(f["Code"], f["Text"].split()[1].rstrip(":")): f for f in found if "zz-marker" not in f["Text"]}


def goes(peer: Peer, number: int, port: int = PORT, *, marked: bool) -> None:
    """Assert that all kinds of fresh sockets go by one link, and are marked at birth or not."""
    for family in FAMILIES:
        for kind in KINDS:
            told = peer.reach(kind, family, port)
            assert (told.ways, told.answered, bool(told.born)) == ((way(number, family),), True, marked), kind


def test_a_control_group_is_not_served_and_a_person_is_told(case: Case, group: Cgroup, peer: Peer) -> None:
    """What its selectors say is served all the same."""
    case.session("s", cgroup=group.path, allowed_interface="vethc2", flow_selectors=FLOW)

    assert programs(group.folder) == []
    goes(peer, 2, marked=False)
    goes(peer, 1, OTHER, marked=False)
    (found,) = said(case).items()
    assert found[0] == ("unmarked-group", "s")
    assert found[1]["Severity"] == "high"
    assert group.path in found[1]["Text"]
    assert "socket_engine = true" in found[1]["Cure"]


def test_whose_subflows_are_not_held_is_told(case: Case) -> None:
    """Those of users and groups; a selector holds them (test_mptcp_paths.py), and needs no word."""
    case.session("u", users=[USER], allowed_interface="vethc2")
    case.session("g", groups=[GROUP], allowed_interface="vethc2")
    case.session("f", flow_selectors=FLOW, allowed_interface="vethc2")

    found = said(case)
    assert set(found) == {("unheld-subflows", "u"), ("unheld-subflows", "g")}
    assert all("flow_selectors" in finding["Cure"] for finding in found.values())
    for who in ({"user": USER}, {"group": GROUP}):
        assert case.as_user("tcp", 4, OTHER, **who).ways == (way(2, 4),)
    case.goes(way(2, 4), 4)


def test_exec_says_that_it_is_off_and_runs_nothing(case: Case, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    done = case.agent.ctl("session", "exec", "--bearer", "ethernet", "--", "touch", str(mark))

    assert done.returncode not in {0, 3}
    assert "socket_engine" in done.stderr
    assert not mark.exists()
    assert case.status()["Sessions"] == []


def _configure(case: Case, text: str) -> None:
    case.agent.config.write_text(text)
    case.agent.signal(signal.SIGHUP)


def test_it_is_switched_on_and_off_by_a_reload(case: Case, group: Cgroup, peer: Peer) -> None:
    case.session("s", cgroup=group.path, allowed_interface="vethc2")
    goes(peer, 1, marked=False)
    try:
        _configure(case, "")
        eventually(lambda: programs(group.folder), what="the programs are there")
        case.settle()
        goes(peer, 2, marked=True)
        assert said(case) == {}
    finally:
        _configure(case, OFF)
    eventually(lambda: not programs(group.folder), what="the programs are gone")
    goes(peer, 1, marked=False)
    assert set(said(case)) == {("unmarked-group", "s")}


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_what_was_attached_before_is_taken_away(case: Case, group: Cgroup, peer: Peer, how: str) -> None:
    """By the mpathd before, which had the socket engine."""
    case.agent.kill()
    case.agent.config.write_text("")
    case.agent.start()
    try:
        case.session("s", cgroup=group.path, allowed_interface="vethc2")
        assert programs(group.folder)
        if how == "kill":
            case.agent.kill()
        else:
            assert case.agent.stop() == 0  # it keeps
    finally:
        case.agent.config.write_text(OFF)
    case.agent.start()

    assert programs(group.folder) == []
    goes(peer, 1, marked=False)


def test_where_mpathd_may_not_use_bpf_it_is_the_same() -> None:
    """Neither cgroup v2 nor bpf(2) can be had: the rest works, nothing is tried again, and the reason is told."""
    with Case(prelude=UNABLE) as case, Cgroup() as group:
        case.session("s", cgroup=group.path, allowed_interface="vethc2", flow_selectors=FLOW)
        case.session("u", users=[USER], allowed_interface="vethc2")

        for family in FAMILIES:
            case.goes(way(2, family), family)
        found = said(case)
        assert set(found) == {("unmarked-group", "s"), ("unheld-subflows", "u")}
        assert all("cgroup v2 cannot be reached" in finding["Text"] for finding in found.values())
        assert [f for f in case.status()["Findings"] if f["Code"] == "refused"] == []
        assert programs(group.folder) == []
        done = case.agent.ctl("session", "exec", "--bearer", "ethernet", "--", "true")
        assert done.returncode
        assert "cgroup v2" in done.stderr
