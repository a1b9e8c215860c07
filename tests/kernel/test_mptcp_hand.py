"""The MPTCP hand on the real kernel: what it reads is what `ip` and pyroute2 read, what it writes is what is there."""

from __future__ import annotations

import errno
import json
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import MPTCP

from kernel.conftest import fresh_name
from labkit import netns
from mpathd.kernel.mptcp import Backend, PathManager, Support, codec, hand, probe
from mpathd.kernel.mptcp import support as probing
from mpathd.model.errors import Refusal
from mpathd.model.mptcp import Act, Change, Endpoint, Flag, Kept, Limits, Manager, Mptcp
from mpathd.model.words import Address

pytestmark = pytest.mark.kernel

NAMES = {1: "lo"}
ODD = (
    Endpoint(200, Address("10.0.1.2"), 1, 0, Flag.SUBFLOW, "lo"),
    Endpoint(201, Address("10.0.2.2"), 0, 0, Flag.SUBFLOW | Flag.BACKUP),
    Endpoint(202, Address("fd00:1::2"), 1, 0, Flag.SUBFLOW | Flag.FULLMESH, "lo"),
    Endpoint(203, Address("10.0.3.2"), 0, 4433, Flag.SIGNAL),
    Endpoint(1, Address("10.0.3.2"), 1, 0, Flag.SIGNAL | Flag.SUBFLOW, "lo"),
    Endpoint(254, Address("fd00:2::2"), 0, 0, Flag.SUBFLOW | Flag.BACKUP | Flag.FULLMESH),
)


class Place:
    """A network namespace of the test's own, with a hand in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.finished = threading.Event()
        subprocess.run(["ip", "netns", "add", name], check=True, timeout=10)
        self.ip("link", "set", "lo", "up")
        self.ip("addr", "add", "10.0.3.2/32", "dev", "lo")  # an endpoint with a port listens
        self.hand: PathManager = netns.in_ns(name, lambda: PathManager(self.finished.set))

    def ip(self, *words: str) -> str:
        """Run `ip` there."""
        argv = ["ip", "-n", self.name, *words]
        return subprocess.run(argv, check=True, text=True, capture_output=True, timeout=10).stdout

    def typed(self, command: str) -> None:
        """Type a command of `ip` there."""
        words = command.split()
        assert words[0] == "ip"
        self.ip(*words[1:])

    def sysctl(self, name: str, value: str) -> None:
        """Set one of net.mptcp."""
        file = f"/proc/sys/net/mptcp/{name}"

        def write() -> None:
            with open(file, "w") as out:  # noqa: PTH123  pathlib is no clearer
                out.write(value)

        netns.in_ns(self.name, write)

    def look(self) -> Mptcp:
        """Look there."""
        return netns.in_ns(self.name, lambda: self.hand.look(NAMES))

    def add(self, *endpoints: Endpoint) -> tuple[tuple[Change, Refusal], ...]:
        """Add endpoints, and give what was refused."""
        return self.hand.apply([Change(Act.ADD, endpoint) for endpoint in endpoints])[1]

    def close(self) -> None:
        """Leave nothing behind."""
        self.hand.close()
        subprocess.run(["ip", "netns", "del", self.name], check=True, timeout=10)


@pytest.fixture
def places() -> Iterator[Callable[[], Place]]:
    """Makes namespaces for the length of a test."""
    made: list[Place] = []

    def make() -> Place:
        made.append(Place(fresh_name()))
        return made[-1]

    yield make
    for place in made:
        place.close()


@pytest.fixture
def place(places: Callable[[], Place]) -> Place:
    """One namespace."""
    return places()


def by_id(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """In the order of a look."""
    return tuple(sorted(endpoints, key=lambda endpoint: endpoint.id))


# Reading.


def test_a_fresh_namespace_has_the_kernels_defaults(place: Place) -> None:
    assert place.look() == Mptcp(limits=Limits(2, 0))
    assert place.hand.support == Support(Backend.UPSTREAM)


def test_what_ip_writes_is_read(place: Place) -> None:
    for endpoint in ODD:
        place.typed(str(endpoint))
    place.typed(str(Limits(5, 3)))

    assert place.look() == Mptcp(endpoints=by_id(ODD), limits=Limits(5, 3))
    assert {e.dev for e in place.look().endpoints if e.index} == {"lo"}


def test_what_is_written_ip_reads(place: Place) -> None:
    assert place.add(*ODD) == ()
    assert place.hand.apply([Change(Act.SET, Limits(5, 3))])[1] == ()

    told = {one["id"]: one for one in json.loads(place.ip("-j", "mptcp", "endpoint", "show"))}
    assert set(told) == {endpoint.id for endpoint in ODD}
    for endpoint in ODD:
        one = told[endpoint.id]
        assert (one["address"], one.get("port", 0), one.get("dev", "")) == (
            endpoint.address,
            endpoint.port,
            endpoint.dev,
        )
        assert {word for word in ("signal", "subflow", "backup", "fullmesh") if one.get(word)} == set(
            endpoint.flags.words
        )
    assert place.ip("mptcp", "limits", "show").split() == ["add_addr_accepted", "3", "subflows", "5"]


def test_pyroute2_reads_the_same(place: Place) -> None:
    place.add(*ODD)

    def oracle() -> tuple[list[Any], list[Any]]:
        with MPTCP() as mptcp:
            return list(mptcp.endpoint("show")), list(mptcp.limits("show"))

    endpoints, limits = netns.in_ns(place.name, oracle)
    found = []
    for message in endpoints:
        one = message.get_attr("MPTCP_PM_ATTR_ADDR")
        address = one.get_attr("MPTCP_PM_ADDR_ATTR_ADDR4") or one.get_attr("MPTCP_PM_ADDR_ATTR_ADDR6")
        flags = Flag(one.get_attr("MPTCP_PM_ADDR_ATTR_FLAGS"))
        port = one.get_attr("MPTCP_PM_ADDR_ATTR_PORT") or 0
        found.append((one.get_attr("MPTCP_PM_ADDR_ATTR_ID"), address, port, flags))
    assert sorted(found) == [(e.id, e.address, e.port, e.flags) for e in place.look().endpoints]
    told = [m.get_attr(f"MPTCP_PM_ATTR_{name}") for m in limits for name in ("SUBFLOWS", "RCV_ADD_ADDRS")]
    assert told == [place.look().limits.subflows, place.look().limits.accepted]


# Writing.


def test_each_change_does_what_its_words_do(places: Callable[[], Place]) -> None:
    """What logs and --dry-run print is what a person would type."""
    typing, writing = places(), places()
    for one in (typing, writing):
        one.add(*ODD)
    changes = [
        Change(Act.SET, Limits(8, 1)),
        Change(Act.CHANGE, Endpoint(200, ODD[0].address, 1, 0, Flag.SUBFLOW | Flag.BACKUP, "lo")),
        Change(Act.CHANGE, Endpoint(202, ODD[2].address, 1, 0, Flag.SUBFLOW, "lo")),
        Change(Act.CHANGE, Endpoint(254, ODD[5].address, 0, 0, Flag.SUBFLOW | Flag.FULLMESH)),
        Change(Act.DELETE, ODD[1]),
        Change(Act.ADD, Endpoint(210, Address("10.0.9.2"), 1, 0, Flag.SUBFLOW | Flag.BACKUP, "lo")),
        Change(Act.DELETE, ODD[3]),
    ]
    for change in changes:
        typing.typed(str(change))
        done, refused = writing.hand.apply([change])
        assert (done, refused) == ((change,), ())
        writing.hand.settle()
        wrote, typed = writing.look(), typing.look()
        assert (wrote.endpoints, wrote.limits) == (typed.endpoints, typed.limits), str(change)
    assert {e.id: e.flags for e in writing.look().endpoints}[254] == Flag.SUBFLOW | Flag.FULLMESH


def test_a_refusal_has_the_kernels_words_and_stops_nothing(place: Place) -> None:
    place.add(ODD[0])
    bad = (
        Endpoint(220, ODD[0].address, flags=Flag.SUBFLOW),  # that address is there
        Endpoint(221, Address("10.0.5.2"), flags=Flag.SIGNAL | Flag.FULLMESH),
        Endpoint(222, Address("10.0.6.2"), port=443, flags=Flag.SUBFLOW),
    )
    good = Endpoint(223, Address("10.0.7.2"), flags=Flag.SUBFLOW)
    refused = place.add(*bad, good)

    assert [change.what for change, _ in refused] == list(bad)
    assert [refusal.errno for _, refusal in refused] == [errno.EEXIST, errno.EINVAL, errno.EINVAL]
    assert all("(" in refusal.text for _, refusal in refused)
    assert str(refused[1][1]).startswith(
        "ip mptcp endpoint add 10.0.5.2 id 221 signal fullmesh: Invalid argument (flags "
    )
    assert [endpoint.id for endpoint in place.look().endpoints] == [200, 223]


def test_deleting_what_is_gone_is_done(place: Place) -> None:
    done, refused = place.hand.apply([Change(Act.DELETE, ODD[0])])
    place.hand.settle()

    assert (len(done), refused, place.hand.late()) == (1, (), ())


def test_what_others_made_with_the_id_of_ours_is_not_written(place: Place) -> None:
    """The kernel goes by the id alone."""
    mine = Endpoint(230, Address("10.0.1.2"), flags=Flag.SUBFLOW)
    place.add(mine)
    place.look()
    place.ip("mptcp", "endpoint", "delete", "id", "230")
    place.ip("mptcp", "endpoint", "add", "10.7.7.7", "id", "230", "subflow")
    theirs = place.ip("mptcp", "endpoint", "show")

    change = Change(Act.CHANGE, replace(mine, flags=Flag.SUBFLOW | Flag.BACKUP))
    assert [refusal.errno for _, refusal in place.hand.apply([change])[1]] == [errno.ENOENT]
    assert place.hand.apply([Change(Act.DELETE, mine)])[1] == ()
    place.hand.settle()
    assert (place.hand.late(), place.ip("mptcp", "endpoint", "show")) == ((), theirs)


def test_the_nest_is_marked_as_one() -> None:
    """This kernel takes it without; a strict one would not."""
    (length, kind) = struct.unpack_from("=HH", codec.endpoint_attribute(ODD[0]))

    assert (length, kind) == (len(codec.endpoint_attribute(ODD[0])), 0x8001)


def test_an_accepted_connection_is_told_by_a_flag_or_an_attribute() -> None:
    """Linux 6.18 sends both, older ones the attribute, and newer ones may send the flag alone."""
    head = struct.pack("=BBxx", 1, 1)
    flag, attribute = struct.pack("=HHHxx", 6, 13, 0x2), struct.pack("=HHBxxx", 5, 18, 1)

    assert [codec.event(head + more).server for more in (b"", flag, attribute)] == [False, True, True]


# Which are ours.


def test_what_was_written_is_ours_and_what_was_adopted(place: Place) -> None:
    place.ip("mptcp", "endpoint", "add", "10.0.1.2", "id", "200", "dev", "lo", "subflow")
    assert place.look().mine == frozenset()
    place.hand.adopt(Kept(frozenset({ODD[0].name, ODD[4].name})))
    place.add(ODD[1])

    assert place.look().mine == {ODD[0].name, ODD[1].name}  # what is gone is nobody's
    place.ip("mptcp", "endpoint", "delete", "id", "201")
    assert place.look().mine == {ODD[0].name}


def test_who_asks_for_no_id_may_get_one_of_ours(place: Place) -> None:
    """Why ids alone do not tell."""
    place.add(ODD[0])
    place.ip("mptcp", "endpoint", "add", "10.0.7.7", "subflow")

    assert [(e.id, e.name in place.look().mine) for e in place.look().endpoints] == [(200, True), (201, False)]


def test_beside_the_highest_ids_others_get_low_ones(place: Place) -> None:
    """Why ours come from the top down."""
    place.add(*(Endpoint(254 - n, Address(f"10.1.{n}.2"), flags=Flag.SUBFLOW) for n in range(3)))
    for n in range(3):
        place.ip("mptcp", "endpoint", "add", f"10.2.{n}.2", "subflow")

    assert [e.id for e in place.look().endpoints] == [1, 2, 252, 253, 254, 255]


# What the kernel can hold is learned from its refusals.


def test_room_is_learned(place: Place) -> None:
    assert place.look().room == 0
    many = [Endpoint(200 + n, Address(f"10.1.{n}.2"), flags=Flag.SUBFLOW) for n in range(50)]
    refused = place.add(*many)
    there = place.look()

    assert {refusal.errno for _, refusal in refused} == {errno.ERANGE}
    assert there.room == len(there.endpoints) == len(many) - len(refused) >= 8
    assert [e.id for e in there.endpoints] == [e.id for e in many[: there.room]]  # the first ones have it


def test_room_is_not_learned_from_what_others_have_meanwhile(place: Place) -> None:
    """Else links would be left out for good, long after those endpoints have gone."""
    first, second = (Endpoint(200 + n, Address(f"10.1.{n}.2"), flags=Flag.SUBFLOW) for n in range(2))
    assert (place.look().room, place.add(first)) == (0, ())
    for n in range(7):
        place.ip("mptcp", "endpoint", "add", f"10.2.{n}.2", "id", str(n + 1), "subflow")

    ((_, refusal),) = place.add(second)

    assert refusal.errno == errno.ERANGE
    assert place.look().room == 0  # they came between the look and the refusal: it was known of 1
    assert [one.errno for _, one in place.add(second)] == [errno.ERANGE]
    assert place.look().room == 8
    place.hand.adopt(Kept(room=3))
    assert place.look().room == 8  # so many are there


def test_the_ceiling_of_limits_is_learned(place: Place) -> None:
    refused = place.hand.apply([Change(Act.SET, Limits(250, 0))])[1]
    there = place.look()

    assert "maximum" in refused[0][1].text
    assert there.ceiling >= 8
    assert there.limits == Limits(2, 0)
    assert place.hand.apply([Change(Act.SET, Limits(there.ceiling, there.ceiling))])[1] == ()
    assert place.hand.apply([Change(Act.SET, Limits(there.ceiling + 1, 0))])[1] != ()


def test_flags_that_are_not_kept_are_learned(place: Place) -> None:
    unknown = Flag(0x200)
    place.add(Endpoint(200, Address("10.0.1.2"), flags=Flag.SUBFLOW | unknown))
    there = place.look()

    assert there.lacks == unknown
    assert there.endpoints[0].flags == Flag.SUBFLOW
    assert place.look().lacks == unknown  # for good


def test_flags_that_others_change_are_no_lack(place: Place) -> None:
    place.add(ODD[1])
    place.ip("mptcp", "endpoint", "change", "id", "201", "nobackup")

    assert place.look().lacks == Flag(0)


def test_an_endpoint_that_others_made_anew_is_no_lack(place: Place) -> None:
    place.add(Endpoint(200, Address("10.0.1.2"), flags=Flag.SUBFLOW | Flag.SIGNAL))
    place.ip("mptcp", "endpoint", "delete", "id", "200")
    place.look()
    place.ip("mptcp", "endpoint", "add", "10.0.1.2", "id", "200", "subflow")

    assert place.look().lacks == Flag(0)


@pytest.mark.parametrize("address", ["10.0.1.2", "10.0.9.9"])
def test_an_endpoint_of_others_with_the_id_of_ours_is_no_lack(place: Place, address: str) -> None:
    """Before mpathd has looked: else it would never ask for that flag again."""
    place.add(Endpoint(200, Address("10.0.1.2"), flags=Flag.SUBFLOW))
    place.ip("mptcp", "endpoint", "delete", "id", "200")
    place.ip("mptcp", "endpoint", "add", address, "id", "200", "signal")

    assert place.look().lacks == Flag(0)


# Removals take the kernel milliseconds.


def test_a_removal_is_not_waited_for_and_what_comes_then_queues_up(place: Place) -> None:
    place.add(ODD[0], ODD[1])
    place.look()
    gate = threading.Event()
    write = place.hand._later._write

    def slowly(change: Change) -> tuple[int, str]:
        gate.wait(5.0)
        return write(change)

    place.hand._later._write = slowly
    assert place.hand.apply([Change(Act.DELETE, ODD[0])])[0] == (Change(Act.DELETE, ODD[0]),)
    assert place.look().endpoints == (ODD[1],)  # what will be true; the kernel itself has both still
    assert [one["id"] for one in json.loads(place.ip("-j", "mptcp", "endpoint", "show"))] == [200, 201]
    again, double = Endpoint(230, ODD[0].address, flags=Flag.SUBFLOW), Endpoint(231, ODD[1].address)
    taken = Endpoint(232, Address("10.0.9.9"), flags=Flag.SUBFLOW)
    place.typed(str(taken))  # by somebody else, meanwhile
    assert place.add(again, double, taken) == ()
    assert not place.finished.is_set()
    gate.set()
    place.hand.settle()

    assert place.finished.wait(5.0)
    late = [(change.what, refusal.errno) for change, refusal in place.hand.late()]
    assert late == [(double, errno.EEXIST), (taken, errno.EBUSY)]
    assert place.hand.late() == ()
    assert place.look().endpoints == (ODD[1], again, taken)
    assert place.look().mine == {ODD[1].name, again.name}


def test_a_removal_in_the_way_is_waited_for(place: Place) -> None:
    place.add(ODD[0])
    moved = Endpoint(200, ODD[0].address, 0, 0, Flag.SUBFLOW)
    done, refused = place.hand.apply([Change(Act.DELETE, ODD[0]), Change(Act.ADD, moved)])

    assert (len(done), refused) == (2, ())
    assert place.look().endpoints == (moved,)
    assert not place.finished.is_set()


def test_closing_waits_for_removals(place: Place) -> None:
    place.add(*ODD)
    place.hand.apply([Change(Act.DELETE, endpoint) for endpoint in ODD])
    place.hand.close()

    assert json.loads(place.ip("-j", "mptcp", "endpoint", "show")) == []


# Whether there is MPTCP.


def test_mptcp_switched_off_and_on(place: Place) -> None:
    place.sysctl("enabled", "0")
    assert place.look().missing == "MPTCP is switched off (sysctl -w net.mptcp.enabled=1)"
    assert netns.in_ns(place.name, probe) == Support(Backend.UPSTREAM, place.look().missing)
    late: PathManager = netns.in_ns(place.name, PathManager)
    assert netns.in_ns(place.name, late.look).missing
    place.sysctl("enabled", "1")

    assert place.look().missing == ""
    assert netns.in_ns(place.name, late.look).missing == ""
    late.close()


def test_who_makes_subflows(place: Place) -> None:
    assert place.look().manager is Manager.KERNEL
    place.sysctl("pm_type", "1")
    assert place.look().manager is Manager.USERSPACE
    place.sysctl("pm_type", "0")
    assert place.look().manager is Manager.KERNEL


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EINVAL, "this kernel has no MPTCP (it came with Linux 5.6)"),
        (errno.EPROTONOSUPPORT, "this kernel is built without MPTCP (CONFIG_MPTCP)"),
    ],
)
def test_a_kernel_without(number: int, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such kernel runs here: what socket(2) says there, and no family of generic netlink."""
    monkeypatch.setattr(probing, "tried", lambda: number)
    monkeypatch.setattr(hand, "tried", lambda: number)
    monkeypatch.setattr(probing, "PM_NAME", "mptcp_none")
    monkeypatch.setattr(probing.Sysctls, "read", lambda *_: "")
    made = PathManager()

    assert made.support == Support(Backend.NONE, text)
    assert made.look() == Mptcp(text)
    _, refused = made.apply([Change(Act.ADD, ODD[0])])
    assert [str(refusal) for _, refusal in refused] == [f"{ODD[0]}: {text}"]
    made.close()


def test_a_multipath_tcp_org_kernel_is_told_by_its_sysctl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing.Sysctls, "read", lambda _, name: {"mptcp_enabled": "1"}.get(name, ""))

    assert probing.probe() == Support(Backend.OUT_OF_TREE)


def test_without_rights_it_looks_and_writes_nothing(place: Place) -> None:
    """As --dry-run does."""
    place.add(ODD[0])
    place.look()
    code = """
from mpathd.kernel.mptcp import Events, PathManager
from mpathd.model.mptcp import Act, Change
hand = PathManager()
found = hand.look()
_, refused = hand.apply([Change(Act.CHANGE, found.endpoints[0])])
print(found.endpoints[0], found.limits, [refusal.errno for _, refusal in refused], Events().heard)
"""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all"]
    # The file's own rights are no matter here: what is imported is read before the rights go.
    argv = ["ip", "netns", "exec", place.name, *nobody, sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30, cwd=Path.cwd())

    assert done.stderr == ""
    assert done.stdout == (
        f"ip mptcp endpoint add 10.0.1.2 id 200 dev if1 subflow ip mptcp limits set subflows 2 add_addr_accepted 0 "
        f"[{errno.EPERM}] False\n"
    )
