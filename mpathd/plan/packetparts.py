"""What one session, or one link, brings to the packet engine's table.

Rule 1: a session is elements of sets that all share, by its mark, and one chain that sets the mark: sets hold what a
chain would say (an nft transaction costs by its rules), and packets pay the same however many sessions there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..model.numbers import Numbers
from ..model.packet import Chain, Share
from ..model.session import Nat
from ..model.statistics import counter
from ..model.words import Family
from .forward import LinkMark
from .sessions import Choice

WORDS = {Family.INET: "ip", Family.INET6: "ip6"}
BITS = {Family.INET: 4, Family.INET6: 6}  # in names of sets


@dataclass(frozen=True, slots=True)
class Ground:
    """What all sessions stand on.

    Args:
        numbers: marks.
        forwarding: this machine is a router.
        uplinks: names of the links that count as uplinks, quoted.
        nameless: indexes of those that nft has no words for.
        ways: names of links whose connections are answered by them, and the verdicts that mark what comes in.
    """

    numbers: Numbers
    forwarding: bool
    uplinks: tuple[str, ...] = ()
    nameless: tuple[str, ...] = ()
    ways: tuple[tuple[str, str], ...] = ()

    @property
    def mask(self) -> str:
        """Our bits of a mark."""
        return f"{self.numbers.mark_mask:#x}"

    @property
    def named_by_index(self) -> str:
        """The set of those links that have no name."""
        return f"{{ {', '.join(self.nameless)} }}"

    @property
    def leaving(self) -> tuple[str, ...]:
        """What matches packets that leave by uplinks."""
        return ("oifname @uplinks", *((f"oif {self.named_by_index}",) if self.nameless else ()))


@dataclass(frozen=True, slots=True)
class Part:
    """What a session, or a link, brings to the table.

    Args:
        chains: by name.
        elements: by the name of a set in SHARED.
        counters: names of those that are no elements.
    """

    chains: Mapping[str, Chain]
    elements: Mapping[str, Share]
    counters: frozenset[str] = frozenset()


def quoted(name: str) -> str:
    """Give a name in nft's words.

    Args:
        name: of a link that has words (`naming.unsayable`), or of a counter.
    """
    return f'"{name[:-1]}\\*"' if name.endswith("*") else f'"{name}"'  # nft takes a last * for all that begin so


def marked(what: str, mark: int, numbers: Numbers) -> str:
    """Give the statement that sets a mark, and leaves the bits of others as they are.

    Args:
        what: "meta mark" or "ct mark".
        mark: of a session, or of a link.
        numbers: marks.
    """
    return f"{what} set {what} & {0xFFFFFFFF & ~numbers.mark_mask:#x} | {mark:#x}"


def refused(count: str, which: str = "") -> tuple[str, str]:
    """Give the rules that refuse packets so that their sockets hear it; a joining MPTCP subflow hears only a reset.

    Args:
        count: the statement that counts them.
        which: the packets; all if empty.
    """
    return f"{which}meta l4proto tcp {count} reject with tcp reset", f"{which}{count} reject"


def _session(choice: Choice, mark: int, ground: Ground) -> Chain:
    """A session's chain: refuse what has no way before it is marked, so that connect() fails at once; then mark."""
    rules: list[str] = []
    for family in Family:
        own_family = f"meta nfproto ipv{BITS[family]} "
        if choice.falls_back(family):
            rules.append(f"{own_family}accept")
        elif family not in choice.defaults:
            count = f'counter name "{counter("d", choice.session.born)}"'
            for leaving in ground.leaving:
                rules += refused(count, f"{own_family}{leaving} ")
    marks = (marked(what, mark, ground.numbers) for what in ("meta mark", "ct mark"))
    kept = choice.session.settings.nat is Nat.NEVER
    return Chain((*rules, f"{' '.join(marks)} goto {'untranslated' if kept else 'marked'}"))


def _sources(choice: Choice, mark: str) -> Iterator[tuple[str, dict[str, str]]]:
    """By which links, with which addresses: when links come and go these change, and no chain does."""
    for family in Family:
        sources: dict[str, str] = {}
        own: dict[str, str] = {}
        best: dict[str, str] = {}
        for member in choice.serves(family):
            there, link = member.addresses(family), f"{mark} . {quoted(member.link.name)}"
            first = next((a for a in there if not a.tentative and not a.deprecated), there[0])
            best[link] = first.address
            sources |= {f"{link} . {a.address}": "" for a in there}
            own |= {f"{mark} . {a.address}": "" for a in there}
        bits = BITS[family]
        yield f"ok{bits}", sources
        yield f"own{bits}", own
        if choice.session.settings.nat is Nat.AUTO:
            yield f"nat{bits}", best
        if choice.falls_back(family):
            yield f"main{bits}", {mark: ""}
        elif family not in choice.defaults:
            yield f"lost{bits}", {mark: ""}


def session_part(choice: Choice, ground: Ground) -> Part:
    """Give what a session brings: s_ marks its packets, c_ what is forwarded.

    Args:
        choice: the session and its services.
        ground: what it stands on, without the names of uplinks, which come and go.
    """
    numbers, number, born = ground.numbers, choice.session.number, choice.session.born
    value = numbers.mark(number)
    mark = f"{value:#x}"
    chains = {f"s_{number}": _session(choice, value, ground)}
    elements = {"sessions": {mark: ""}, "kept": {mark: f"goto s_{number}"}, **dict(_sources(choice, mark))}
    lost = counter("d", born)
    elements["dropped"] = {mark: quoted(lost)}
    # One for each service that the session allows: they stay while links come and go.
    for name, kind in (("sent", "o"), ("received", "i")):
        elements[name] = {f"{mark} . {quoted(m.link.name)}": counter(kind, born, m.id) for m in choice.counted}
    if ground.forwarding:
        chains[f"c_{number}"] = Chain((f"{marked('meta mark', value, numbers)} accept",))
        elements["carried"] = {mark: f"goto c_{number}"}
    return Part(chains, {name: Share(brought) for name, brought in elements.items()}, frozenset({lost}))


def link_part(link: LinkMark, numbers: Numbers) -> Part:
    """Give what a link brings whose connections are answered by it: l_ marks those that come in, r_ their answers.

    Args:
        link: the link.
        numbers: marks.
    """
    index = link.member.link.index
    chains = {
        f"l_{index}": Chain((f"{marked('ct mark', link.mark, numbers)} accept",)),
        f"r_{index}": Chain((f"{marked('meta mark', link.mark, numbers)} accept",)),
    }
    return Part(chains, {"carried": Share({f"{link.mark:#x}": f"goto r_{index}"})})
