"""MPTCP endpoints of others stay exactly as they were set, through 10,000 random events; ours are right in between."""

from __future__ import annotations

import json
import random
import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from kernel.helpers_bonded import Bonded
from labkit import LabError
from labkit.agent import eventually

pytestmark = pytest.mark.kernel

EVENTS, AT_ONCE = 10_000, 400  # that the kernel took; lines between two looks at what others have set
LOOKS = 10  # such looks until things are let come to rest, and ours are looked at too
PATIENCE = 40.0  # seconds: what was removed again and again is put back ever more slowly (a contest)
LINKS = (1, 2)
FIRST = {4: "10.81.{n}.2/24", 6: "fd00:81:{n}::2/64"}
FURTHER = {4: "10.81.{n}.7/24", 6: "fd00:81:{n}::7/64"}
GATEWAY = {4: "10.81.{n}.1", 6: "fd00:81:{n}::1"}
LOW = tuple(str(number) for number in range(1, 8))
# Ids that others give their endpoints, by address. At addresses that are mpathd's too none of its ids: it knows its own
# endpoints by both, so that who replaces one by its like between two looks cannot be told from it.
IDS = dict.fromkeys(("10.99.0.1", "10.99.0.2", "fd00:99::1"), (*LOW, "200", "230", "252", "253", "254"))
IDS |= dict.fromkeys(("10.81.1.2", "fd00:81:2::2", "10.81.2.7"), LOW)
ROLES = ("subflow", "subflow backup", "subflow fullmesh", "signal", "subflow backup fullmesh", "signal subflow", "")
FLAGS = ("signal", "subflow", "backup", "fullmesh", "implicit")
KINDS = (*(f"addr {verb}" for verb in ("add", "del")), *(f"route {verb}" for verb in ("add", "del", "replace")),
         *(f"mptcp endpoint {verb}" for verb in ("add", "delete", "change")), "link set")  # fmt: skip
FAILED = re.compile(r"Command failed -:(\d+)")


@dataclass(frozen=True, slots=True)
class There:
    """An endpoint as `ip` shows it.

    Args:
        address: its own.
        dev: its device, empty for none.
        flags: in the order of FLAGS.
    """

    address: str
    dev: str
    flags: tuple[str, ...]


def shown(bond: Bonded) -> dict[int, There]:
    """All endpoints in the kernel, by id."""
    found = json.loads(bond.lab.ip("client", "-j mptcp endpoint show"))
    return {
        one["id"]: There(one["address"], one.get("dev", ""), tuple(flag for flag in FLAGS if one.get(flag)))
        for one in found
    }


@dataclass(slots=True)
class Others:
    """What another program has set, so far as it was not refused.

    Args:
        there: its endpoints by id.
        counts: how many lines of each kind the kernel took.
    """

    there: dict[int, There] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def taken(self) -> int:
        """How many lines the kernel took."""
        return sum(self.counts.values())

    def follow(self, line: str) -> None:
        """Take note of a line that the kernel took.

        Args:
            line: as after `ip`.
        """
        words = line.split()
        kind = " ".join(words[:3] if words[0] == "mptcp" else words[:2])
        self.counts[kind] = self.counts.get(kind, 0) + 1
        match words:
            case ["mptcp", "endpoint", "add", address, "id", number, *rest]:
                dev = rest[1] if rest[:1] == ["dev"] else ""
                self.there[int(number)] = There(address, dev, tuple(flag for flag in FLAGS if flag in rest))
            case ["mptcp", "endpoint", "delete", "id", number]:
                self.there.pop(int(number), None)
            case ["mptcp", "endpoint", "change", "id", number, *flags] if int(number) in self.there:
                old = self.there[int(number)]
                kept = [flag for flag in old.flags if flag not in {"backup", "fullmesh"}]
                new = tuple(flag for flag in FLAGS if flag in {*kept, *flags})
                self.there[int(number)] = There(old.address, old.dev, new)
            case _:
                pass


class Events:
    """Random things that happen to a machine, as lines for `ip`.

    Args:
        dice: what makes them repeatable.
    """

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def one(self) -> str:
        """The next one."""
        dice = self._dice
        n, family, verb = dice.choice(LINKS), dice.choice((4, 6)), dice.choice(("add", "del"))
        via, route = GATEWAY[family].format(n=n), f"dev up{n} metric {n}00"
        net = {4: f"198.51.{n}.0/24", 6: f"2001:db8:{n}::/64"}[family]
        address = dice.choice(tuple(IDS))
        number = dice.choice(IDS[address])
        dev = dice.choice(("", " dev lo", " dev up1", " dev up2"))
        kinds = {
            f"addr {verb} {FURTHER[family].format(n=n)} dev up{n}": 34,
            f"addr {verb} {FIRST[family].format(n=n)} dev up{n}": 6,
            f"route {verb} default via {via} {route}": 10,
            f"route replace default via {via} {route} mtu {dice.randint(1300, 1500)}": 15,
            f"route {verb} {net} via {via}": 16,
            f"link set up{n} {dice.choice(('up', 'up', 'down'))}": 1,
            f"mptcp endpoint add {address} id {number}{dev} {dice.choice(ROLES)}": 5,
            f"mptcp endpoint delete id {number}": 3,
            f"mptcp endpoint change id {number} {dice.choice(('backup', 'nobackup', 'fullmesh', 'nofullmesh'))}": 4,
            f"mptcp limits set subflows {dice.randint(0, 8)}": 1,
        }
        return dice.choices(list(kinds), list(kinds.values()))[0].strip()


def play(bond: Bonded, lines: Sequence[str]) -> list[str]:
    """Have lines carried out one after the other, and give those that the kernel took.

    Args:
        bond: the lab.
        lines: as after `ip`.
    """
    done = bond.lab.exec("client", ["ip", "-force", "-batch", "-"], check=False, input="\n".join(lines) + "\n")
    failed = {int(number) for number in FAILED.findall(done.stderr)}
    return [line for at, line in enumerate(lines, 1) if at not in failed]


def trouble(bond: Bonded, dice: random.Random) -> None:
    """What is no line of `ip` in the client: a carrier, a setting, what mpathd has written is gone.

    Args:
        bond: the lab.
        dice: what is chosen with.
    """
    n = dice.choice(LINKS)
    bond.lab.ip("router", f"link set isp{n} {dice.choice(('up', 'up', 'down'))}")
    match dice.randrange(12):
        case 0:
            bond.config(n, dice.choice(("on", "backup", "off")))
        case 1:
            flush = f"ip -{dice.choice((4, 6))} route flush table {255 + bond.lab.index('client', f'up{n}')} proto 109"
            bond.lab.exec("client", flush.split(), check=False)
        case 2 | 3 | 4:
            bond.agent.config.write_text(f"[mptcp]\nfullmesh = {dice.choice(('true', 'false'))}\n")
            bond.agent.signal(signal.SIGHUP)


def calm(bond: Bonded) -> None:
    """Put links, settings and configuration back to what they were at first.

    Args:
        bond: the lab.
    """
    bond.agent.config.write_text("")
    bond.agent.signal(signal.SIGHUP)
    for n in LINKS:
        bond.lab.ip("router", f"link set isp{n} up")
        bond.config(n, "on")
    lines = []
    for n in LINKS:
        lines.append(f"link set up{n} up")
        for family in (4, 6):
            way = f"default via {GATEWAY[family].format(n=n)} dev up{n} metric {n}00"
            lines += [f"addr del {FURTHER[family].format(n=n)} dev up{n}", f"route del {way}"]
            lines += [f"addr add {FIRST[family].format(n=n)} dev up{n}", f"route add {way}"]
    play(bond, lines)


def wrong(bond: Bonded, others: Others) -> str:
    """What is not as it should be while nothing happens: theirs as set, ours where they have none; empty: nothing.

    Args:
        bond: the lab.
        others: what they have set.
    """
    theirs = {one.address for one in others.there.values()}
    wanted = {
        There(address, f"up{n}", ("subflow",))
        for n in LINKS
        for address in (FIRST[family].format(n=n).split("/")[0] for family in (4, 6))
        if address not in theirs
    }
    ours = {number: one for number, one in shown(bond).items() if number not in others.there}
    right = set(ours.values()) == wanted and all(200 <= number <= 254 for number in ours)
    return "" if right else f"ours: {ours}, wanted: {wanted}"


def test_ten_thousand_events() -> None:
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    events, others, turn = Events(dice), Others(), 0
    with Bonded() as bond:
        bond.lab.sysctl("client", {f"net.ipv6.conf.up{n}.keep_addr_on_down": 1 for n in LINKS})
        while others.taken < EVENTS:
            turn += 1
            for line in play(bond, [events.one() for _ in range(AT_ONCE)]):
                others.follow(line)
            trouble(bond, dice)
            now = shown(bond)
            assert {number: now.get(number) for number in others.there} == others.there, f"seed {seed}"
            if turn % LOOKS == 0 or others.taken >= EVENTS:
                calm(bond)
                with suppress(LabError):  # what is wrong says more
                    eventually(lambda: not wrong(bond, others), PATIENCE)
                assert not wrong(bond, others), f"seed {seed}"
        assert min(others.counts.get(kind, 0) for kind in KINDS) > EVENTS // 200, others.counts
        assert bond.agent.stop() == 0
        assert shown(bond) == others.there, f"seed {seed}"
