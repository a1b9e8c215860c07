"""The socket engine's programs and folders: whose they are, how long they stay, and who may enter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kernel.helpers_cgroup import Cgroup, Hook, Program, programs, tree
from kernel.helpers_early import way
from kernel.helpers_peer import SESSION_FACE, Peer, Reached, Refused
from kernel.helpers_sessions import FAMILIES, KINDS, OF, OTHER, PORT, SERVER, TIMED_OUT, Case
from kernel.helpers_shared import answers, keeping, lab
from labkit.agent import eventually

USER, STRANGER = 1, 65534  # a bus knows no user without a name: daemon and nobody
UNUSED = ["*-*-udp-*-4999"]
NAME = f"s{os.getpid()}"  # folders of sessions are the machine's: another lab's have other names


shared = lab(keeping, answers)


@pytest.fixture
def place(case: Case) -> Iterator[Path]:
    """The folder of the session NAME, which is not there when it begins, nor when it has ended."""
    folder = tree() / "mpathd" / NAME
    assert not folder.exists()
    yield folder
    for path in (folder, folder.parent):  # where mpathd has failed to; others may have theirs there
        with suppress(OSError):
            path.rmdir()


def goes(peer: Peer, number: int, *, marked: bool = True) -> None:
    """Assert that all kinds of sockets go by one link, know their source, and are marked or not."""
    for family in FAMILIES:
        for kind in KINDS:
            told = peer.reach(kind, family, PORT)
            knows = "" if kind == "sendto" else OF[family][number - 1]
            assert told == Reached((way(number, family),), knows, told.born, told.born, 0, answered=True), (kind, told)
            assert bool(told.born) is marked, kind


def ours(folder: Path) -> list[Program]:
    """What mpathd has attached to a folder."""
    return [program for program in programs(folder) if program.name.startswith("mpathd_")]


def looked(case: Case, condition: bool) -> bool:
    """Have mpathd look, since the kernel has no event for what it waits for, and give the condition."""
    case.status()
    return condition


@pytest.mark.parametrize("gone", [False, True], ids=["its link is there", "its link goes"])
def test_no_leak_while_mpathd_is_away(case: Case, group: Cgroup, peer: Peer, gone: bool) -> None:
    """It is killed without warning; the programs and rules stay, and are taken over without being doubled."""
    case.session("s", cgroup=group.path, allowed_interface="vethc2", nat="never")
    before = ours(group.folder)
    assert {program.hook for program in before} >= {Hook.SOCK_CREATE, Hook.CONNECT4, Hook.CONNECT6}

    case.agent.kill()
    if gone:
        case.carrier(2, up=False, settle=False)
    try:
        case.reset()
        if gone:
            for kind in KINDS:
                for family in FAMILIES:
                    peer.reach(kind, family, PORT, answer=False)
            assert {dev for dev, _ in case.ways(dport=PORT)} == set()
        else:
            goes(peer, 2)
        case.agent.start()
        case.settle()
        assert ours(group.folder) == before
        if gone:
            for kind in KINDS:
                told = peer.reach(kind, 4, PORT)
                assert (told.ways, told.error in {0, TIMED_OUT}) == ((), False), kind
    finally:
        if gone:
            case.carrier(2, up=True, settle=case.agent.running)
    goes(peer, 2)


@pytest.mark.parametrize("how", ["file", "file while it is away", "stop"])
def test_the_programs_go_with_the_session(case: Case, group: Cgroup, peer: Peer, how: str) -> None:
    """Also of one that ended while nobody was there; and with mpathd itself, when it does not keep."""
    case.session("s", cgroup=group.path, allowed_interface="vethc2")
    goes(peer, 2)
    assert ours(group.folder)
    match how:
        case "file":
            case.drop()
        case "stop":
            case.agent.stop()
            assert ours(group.folder)  # it was told to keep
            assert case.agent.once("--release").returncode == 0
            assert ours(group.folder) == []
            goes(peer, 1, marked=False)
            case.drop_files()
            case.agent.start()
        case _:
            case.agent.kill()
            case.drop_files()
            case.agent.start()
    eventually(lambda: not ours(group.folder), what="the programs are gone")
    goes(peer, 1, marked=False)


def test_changed_in_place(case: Case, group: Cgroup, peer: Peer) -> None:
    """To another link with the mark that it had, to another group, and to none."""
    case.session("s", cgroup=group.path, allowed_interface="vethc2")
    before = ours(group.folder)
    case.session("s", cgroup=group.path, allowed_interface="vethc3")
    goes(peer, 3)
    assert ours(group.folder) == before
    with Cgroup() as second, Peer(case, bus=False) as other:
        second.take(other)
        case.session("s", cgroup=second.path, allowed_interface="vethc3")
        goes(other, 3)
        goes(peer, 1, marked=False)
        assert ours(group.folder) == []
        case.session("s", users=[USER], allowed_interface="vethc3")
        goes(other, 1, marked=False)
        assert ours(second.folder) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_with_another_number_sockets_get_the_new_mark(case: Case, group: Cgroup, peer: Peer, family: int) -> None:
    """A rule of somebody else comes to match the mark: what has the old one would be nobody's, and leave by main."""
    case.session("s", cgroup=group.path, allowed_interface="vethc2")
    talks = {kind: peer.open(kind, family) for kind in ("udp", "tcp", "mptcp")}
    for kind, number in talks.items():
        assert peer.reach(kind, family, PORT, number=number).ways == (way(2, family),)
    (mark,) = case.marks()
    rule = f"fwmark {mark:#x}/0x7fff0000 lookup main pref 31000"
    case.lab.ip("client", f"rule add {rule}")
    try:
        eventually(lambda: case.marks() not in ([], [mark]), what="it has another number")
        case.settle()
        case.reset()

        assert [peer.talk(number) for number in talks.values()] == [1, 1, 1]
        case.arrived()
        assert set(case.ways(dst=SERVER[family], dport=PORT)) == {way(2, family)}
    finally:
        case.lab.ip("client", f"rule del {rule}")


@pytest.mark.parametrize("family", FAMILIES)
def test_sockets_of_an_ended_session_are_not_the_next_ones(case: Case, group: Cgroup, peer: Peer, family: int) -> None:
    """Its number is given again, and with it the mark."""
    case.session("s", cgroup=group.path, allowed_interface="vethc2")
    talks = {kind: peer.open(kind, family) for kind in ("udp", "tcp", "mptcp")}
    for kind, number in talks.items():
        assert peer.reach(kind, family, PORT, number=number).mark, kind
    marks = case.marks()

    case.drop("s")
    case.session("next", flow_selectors=UNUSED, allowed_interface="nosuch0")

    assert case.marks() == marks
    assert {peer.mark(number) for number in talks.values()} == {0}


def test_other_namespaces_are_not_touched(case: Case, group: Cgroup, peer: Peer) -> None:
    """A process of the same group in another namespace: the folder is the machine's, the session is not."""
    case.session("s", cgroup=group.path, allowed_interface="vethc2")
    goes(peer, 2)
    with Peer(case, host="server", bus=False) as far:
        group.take(far)
        for family in FAMILIES:
            for kind in KINDS:
                told = far.reach(kind, OF[family][0], OTHER)
                assert (told.born, told.mark, told.error, told.answered) == (0, 0, 0, True), kind
            assert far.reach("udp", family, PORT).answered  # and its own loopback


def test_a_folder_that_comes_late_and_comes_again(case: Case) -> None:
    """Units are started after mpathd, and restarted: their folder is a new one then."""
    made = Cgroup()
    case.session("s", cgroup=made.path, allowed_interface="vethc2")
    assert made.path[1:] in str(case.status()["Findings"])  # a person sees that it catches nothing yet
    for _ in range(2):
        with made, Peer(case, bus=False) as peer:
            eventually(lambda: looked(case, bool(ours(made.folder))), what="the programs are there")
            made.take(peer)
            goes(peer, 2)
            assert made.path[1:] not in str(case.status()["Findings"])


def test_a_dry_run_beside_it_knows_what_is_attached(case: Case, group: Cgroup) -> None:
    """The kernel tells instructions only by their digest; and what marks with another session's mark is not there."""

    def due() -> set[str]:
        done = case.agent.once("--dry-run")
        assert (done.returncode, done.stderr) == (0, "")
        return {line for line in done.stdout.splitlines() if not line.startswith("#")}

    with Cgroup() as second:
        case.session("s", cgroup=group.path, allowed_interface="vethc2")
        case.session("t", cgroup=second.path, allowed_interface="vethc2")
        before = ours(group.folder), ours(second.folder)
        assert due() == set()
        case.agent.kill()
        case.session("s", cgroup=second.path, allowed_interface="vethc2", settle=False)
        case.session("t", cgroup=group.path, allowed_interface="vethc2", settle=False)
        assert {words.split()[-1] for words in due()} == {group.path, second.path}
        assert (ours(group.folder), ours(second.folder)) == before
        case.drop_files()
        case.agent.start()


def test_programs_of_others_stay(case: Case, group: Cgroup, peer: Peer) -> None:
    others = [Program(Hook.EGRESS, name) for name in ("ks_before", "ks_after")]
    group.attach("ks_before")
    case.session("s", cgroup=group.path, allowed_interface="vethc2")
    group.attach("ks_after")
    goes(peer, 2)
    case.agent.kill()
    case.agent.start()
    case.settle()
    goes(peer, 2)
    case.drop()
    eventually(lambda: programs(group.folder) == others, what="only those of others are left")


def test_where_another_wants_to_be_alone_a_person_is_told(case: Case, group: Cgroup, peer: Peer) -> None:
    """The kernel refuses a second program there: EPERM. The other's stays, and nothing else fails."""
    group.attach("ks_alone", flags=0)
    case.session("s", cgroup=group.path, allowed_interface="vethc2")
    with Cgroup() as free:
        case.session("free", cgroup=free.path, allowed_interface="vethc2")
        findings = case.status()["Findings"]
        assert free.path[1:] not in str(findings)
        (found,) = [finding for finding in findings if group.path[1:] in finding["Text"]]
        assert found["Cure"]
        (case.policies / "free.toml").unlink()
        case.settle()
    assert Program(Hook.EGRESS, "ks_alone") in programs(group.folder)
    case.session("t", users=[USER], allowed_interface="vethc3")
    assert case.as_user("udp", 4, PORT, user=USER).ways == (way(3, 4),)
    case.drop()
    assert programs(group.folder) == [Program(Hook.EGRESS, "ks_alone")]


# Enter: the caller's process is moved.


def enter(peer: Peer, path: str) -> str:
    """Call Enter and give the answer."""
    return str(peer.call(path, SESSION_FACE, "Enter"))


def test_who_enters_is_in_the_session(case: Case, place: Path) -> None:
    """It and its children, from the answer on; the folder stays as long as anybody is in it, the programs do not."""
    case.session(NAME, flow_selectors=UNUSED, allowed_interface="vethc2")
    with Peer(case) as who, Peer(case) as stays:
        goes(who, 1, marked=False)
        path = who.session(NAME)
        answer = enter(who, path)
        assert who.cgroup() == f"/mpathd/{NAME}"
        assert answer.endswith(who.cgroup())
        assert stays.cgroup() != who.cgroup()
        goes(who, 2)
        for family in FAMILIES:
            told = who.reach("tcp", family, PORT, child=True)
            assert (told.ways, told.source) == ((way(2, family),), OF[family][1])
        goes(stays, 1, marked=False)
        case.agent.kill()
        goes(who, 2)
        case.agent.start()
        case.settle()
        goes(who, 2)
        (case.policies / f"{NAME}.toml").unlink()
        eventually(lambda: not ours(place), what="the programs are gone")  # a file that is gone has a moment
        assert who.cgroup() == f"/mpathd/{NAME}"
        goes(who, 1, marked=False)
    eventually(lambda: looked(case, not place.exists()), what="the empty folder is gone")


def test_the_folder_of_a_session_that_nobody_entered_or_left_is_gone_with_it(case: Case, place: Path) -> None:
    case.session(NAME, flow_selectors=UNUSED, allowed_interface="vethc2")
    with Peer(case) as who:
        enter(who, who.session(NAME))
    (case.policies / f"{NAME}.toml").unlink()
    case.settle()
    eventually(lambda: looked(case, not place.exists()), what="the folder is gone")


def test_who_may_enter(case: Case, place: Path) -> None:
    """A user whom the session names, and root; nobody else, and nobody else is moved."""
    case.session(NAME, users=[USER], allowed_interface="vethc2")
    with Peer(case, user=USER, group=USER) as named, Peer(case, user=STRANGER, group=STRANGER) as stranger:
        before = stranger.cgroup()
        with pytest.raises(Refused) as refusal:
            enter(stranger, stranger.session(NAME))
        assert refusal.value.name == "net.mpathd.Error.PermissionDenied"
        assert NAME in refusal.value.text
        assert stranger.cgroup() == before
        enter(named, named.session(NAME))
        assert named.cgroup() == f"/mpathd/{NAME}"
        goes(named, 2)


def test_a_clients_own_session(case: Case) -> None:
    """Its owner enters, without any right; it ends with the owner, and leaves no folder."""
    with Peer(case, user=USER, group=USER) as owner, Peer(case, user=STRANGER, group=STRANGER) as stranger:
        path = owner.create(AllowedInterface="vethc2", FlowSelectors=UNUSED)
        with pytest.raises(Refused) as refusal:
            enter(stranger, path)
        assert refusal.value.name == "net.mpathd.Error.PermissionDenied"
        enter(owner, path)
        folder = tree() / owner.cgroup()[1:]
        assert folder.parent == tree() / "mpathd"
        assert ours(folder)
        goes(owner, 2)
    eventually(lambda: looked(case, not folder.exists()), what="its folder is gone")


def test_a_group_in_a_session_of_a_user_without_rights(case: Case, group: Cgroup, peer: Peer) -> None:
    """It catches that user's own sockets in the group, and nobody else's."""
    with Peer(case, user=USER, group=USER) as owner:
        owner.create(Cgroup=group.path, AllowedInterface="vethc2")
        group.take(owner)
        goes(owner, 2)
        goes(peer, 1, marked=False)


def test_a_user_who_has_a_group_of_its_own_is_served_there(case: Case) -> None:
    """As systemd makes them: all kinds of sockets are marked. Not where another session's selectors have a say."""
    folder = tree() / "user.slice" / f"user-{USER}.slice"
    made = [path for path in (folder.parent, folder) if not path.exists()]
    for path in made:
        path.mkdir()
    try:
        case.session("s", users=[USER], allowed_interface="vethc2", nat="never")
        eventually(lambda: looked(case, bool(ours(folder))), what="the programs are there")
        with Peer(case, user=USER, group=USER, bus=False) as his, Peer(case, bus=False) as roots:
            for peer in (his, roots):
                (folder / "cgroup.procs").write_text(str(peer.pid))
            goes(his, 2)
            goes(roots, 1, marked=False)
            case.session("t", flow_selectors=UNUSED, allowed_interface="vethc3")
            eventually(lambda: not ours(folder), what="the packet engine decides")
            told = his.reach("udp", 4, PORT)
            assert (told.ways, told.born) == ((way(2, 4),), 0)
    finally:
        case.drop()
        for path in reversed(made):
            path.rmdir()
