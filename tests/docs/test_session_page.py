"""What mpathd(8) says of sessions, against the rules and the nft table that the code makes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mpathd.model.numbers import Numbers
from mpathd.model.policy import Policy, ServiceSettings
from mpathd.model.routing import Hop, Route
from mpathd.model.selector import FlowSelector
from mpathd.model.session import Origin, Session, SessionSettings
from mpathd.model.words import Address, Family
from mpathd.model.world import Gateway, Link, LinkAddress, World
from mpathd.plan.desire import desire

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/man/mpathd.8.rst").read_text()


@dataclass(frozen=True)
class Uplink:
    """A link of the world that the page is held against."""

    index: int
    name: str

    @property
    def address(self) -> Address:
        return Address(f"10.0.{self.index}.2")

    @property
    def router(self) -> Address:
        return Address(f"10.0.{self.index}.1")

    def link(self) -> Link:
        mac = bytes((2, 0, 0, 0, 0, self.index))
        return Link(self.index, self.name, mac, addresses=(LinkAddress(Family.INET, self.address, 24),))

    def gateway(self) -> Gateway:
        return Gateway(Family.INET, self.router, "main", self.index)

    def default(self) -> Route:
        hop = Hop(self.index, self.router, dev=self.name)
        return Route(Family.INET, 254, Family.INET.any, (hop,), metric=self.index)


FIRST, SECOND = Uplink(3, "wan1"), Uplink(4, "wan2")


def wanted() -> tuple[Numbers, frozenset[str], dict[str, str]]:
    """Rules of a session with a default service and one member; base chains with their heads."""
    links = (FIRST, SECOND)
    world = World(
        {u.index: u.link() for u in links},
        tuple(u.default() for u in links),
        gateways={u.index: (u.gateway(),) for u in links},
        forwarding=True,
    )
    session = Session(SessionSettings("a", Origin.POLICY, "a.toml", selectors=(FlowSelector(),)), 1)
    policy = Policy(defaults=ServiceSettings(multipath_routing=True), sessions=(session,))
    kernel = desire(world, policy).kernel
    assert kernel.packets is not None
    rules = {rule.words() for rule in kernel.rules if (rule.mask or rule.traffic) and rule.family is Family.INET}
    heads = {name: chain.head.partition(";")[0] for name, chain in kernel.packets.chains.items() if chain.head}
    return policy.numbers, frozenset(rules), heads


def test_rules_are_those_that_are_made() -> None:
    numbers, every, _ = wanted()
    first, second = (f"fwmark {numbers.mark(0x7FFF - u.index):#x}/{numbers.mark_mask:#x}" for u in (FIRST, SECOND))
    made = {words for words in every if "iif lo" not in words and first not in words}
    shown = re.findall(r"^    (2[01]00\d)  (from .*?)(?: {2,}.*)?$", PAGE, re.MULTILINE)
    mark = numbers.mark(1)
    told = set()
    for priority, words in shown:
        text = words.replace("fwmark L", second)
        text = re.sub(r"fwmark M", f"fwmark {mark:#x}/{numbers.mark_mask:#x}", text)
        text = re.sub(r"lookup M", f"lookup {mark}", text)
        text = re.sub(r"lookup T", f"lookup {numbers.table(SECOND.index)}", text)
        text = re.sub(r"from A", f"from {SECOND.address}", text)
        told.add(f"pref {priority} {text} proto {numbers.protocol}")

    assert told == made
    order = [int(priority) for priority, _ in shown]
    assert order[:7] == sorted(order[:7])
    assert order[7:] == sorted(order[7:])  # of a router


def test_early_rules_are_those_that_are_made() -> None:
    """For the session of all packets; its three are made once for each protocol."""
    numbers, every, _ = wanted()
    made = {re.sub(r" ipproto \w+ (fwmark \S+ lookup)", r" SELECTOR \1", w) for w in every if "iif lo" in w}
    told = set()
    for priority, words in re.findall(r"^    (19\d+)  (from .*?)(?: {2,}.*)?$", PAGE, re.MULTILINE):
        text = words.replace("MASK", f"{numbers.mark_mask:#x}").replace("lookup M", f"lookup {numbers.mark(1)}")
        offset = 400 if int(priority) >= 19420 else 0  # of a selector with no fields
        told.add(f"pref {int(priority) + offset} {text} proto {numbers.protocol}")

    assert {words.split()[1] for words in told - made} == {"19001", "19010"}  # IPv6's, and with a source port
    assert len(told & made) == 5
    assert len(made - told) == 3  # link-local, broadcast, DHCP


def test_chains_are_those_that_are_made() -> None:
    _, _, heads = wanted()
    told = dict(re.findall(r"^(\w+)\n    \*(type [^*]+)\*", PAGE, re.MULTILINE))

    assert told == heads


def test_numbers_are_the_defaults() -> None:
    numbers = Numbers()

    assert f"n x {numbers.mark(1):#x} (under the mask {numbers.mark_mask:#x}" in PAGE
