"""The packet engine's part of the kernel: table `inet mpathd`, as values that print themselves as nft's words."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import itemgetter

TABLE = "inet mpathd"
DYNAMIC = "flags dynamic"  # in the type of a set that packets fill
STATE = "state_"  # name of the empty set that carries the digest
LATE = ("late4", "late6")  # sets that they fill with what sessions have sent lately
SORTED = 512  # elements
COUNTS = "; counter"  # behind the type of a set
_first = itemgetter(0)


def _name(*lines: str) -> str:
    return blake2b("\n".join(lines).encode(), digest_size=32).hexdigest()


def _joined(shares: Iterable[Share], others: Container[int]) -> Mapping[str, str]:
    return {key: value for share in shares if id(share) not in others for key, value in share.items()}


class Share(dict[str, str]):
    """What one session, or link, brings to a set or map. It is never changed."""

    __slots__ = ("_digest",)

    def digest(self) -> str:
        """A short name of the content, worked out once."""
        try:
            return self._digest
        except AttributeError:
            self._digest: str = _name(*sorted(f"{key} : {value}" for key, value in self.items()))
            return self._digest


class Joined(Mapping[str, str]):
    """What shares are together; put together when somebody looks, since mostly nobody does.

    Args:
        shares: no two with a key in common.
    """

    __slots__ = ("_all", "_shares")

    def __init__(self, shares: tuple[Share, ...]) -> None:
        self._shares, self._all = shares, dict[str, str]()

    def _whole(self) -> Mapping[str, str]:
        if not self._all:
            for share in self._shares:
                self._all.update(share)
        return self._all

    def __getitem__(self, key: str) -> str:
        return self._whole()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._whole())

    def __len__(self) -> int:
        return sum(map(len, self._shares))

    def __eq__(self, other: object) -> bool:
        return self._whole() == (other._whole() if isinstance(other, Joined) else other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain.

    Args:
        rules: in their order.
        head: hook, type and priority of a base chain; empty for one that others jump to.
        known: its digest, once that was asked for.
    """

    rules: tuple[str, ...]
    head: str = ""
    known: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def digest(self) -> str:
        """A short name of the content."""
        if not self.known:
            self.known.append(_name(self.head, *self.rules))
        return self.known[0]


@dataclass(frozen=True, slots=True)
class Table:
    """A set or map.

    Args:
        kind: "set" or "map".
        type: nft's type, with the value's for a map.
        elements: key to value; in a set these are comments, mostly empty.
        interval: keys may be prefixes and ranges.
        shares: what the elements were put together from, if they were; no two have a key in common.
        known: its digest, once that was asked for: ten thousand elements take 8 ms.
    """

    kind: str
    type: str
    elements: Mapping[str, str] = field(default_factory=dict)
    interval: bool = False
    shares: tuple[Share, ...] = field(default=(), repr=False, compare=False)
    known: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, kind: str, type_: str, shares: tuple[Share, ...]) -> Table:
        """Put one together.

        Args:
            kind: "set" or "map".
            type_: nft's type.
            shares: no two with a key in common.
        """
        return cls(kind, type_, Joined(shares), shares=shares)

    @property
    def counts(self) -> bool:
        """Whether each element counts what is found by it, under the name that is its comment."""
        return self.kind == "set" and self.type.endswith(COUNTS)

    def words(self) -> str:
        """The declaration, without elements."""
        return self.type + ("; flags interval" if self.interval else "")

    def digest(self) -> str:
        """A short name of the content.

        In large tables the order of elements counts too: sorting ten thousand takes longer than all the rest, and the
        plan gives selectors in the same order as long as they are the same.
        """
        if not self.known and self.shares:
            self.known.append(_name(self.words(), *sorted([share.digest() for share in self.shares])))
        if not self.known:
            small = len(self.elements) < SORTED
            keys = sorted(self.elements) if small else self.elements
            values = [self.elements[key] for key in keys] if small else self.elements.values()
            self.known.append(_name(self.words(), *keys, *values))
        return self.known[0]

    def against(self, other: Table) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Give the elements of both that may differ: where both were put together, those of shares that only one has.

        Args:
            other: the other one.
        """
        mine, theirs = self.shares, other.shares
        if not mine or not theirs:
            return self.elements, other.elements
        # Sessions are in one order, and nearly all shares are those of the last pass.
        last = min(len(mine), len(theirs))
        first = next((at for at, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a is not b), last)
        mine, theirs = mine[first:], theirs[first:]
        here, there = ({id(share) for share in shares} for shares in (mine, theirs))
        return _joined(mine, there), _joined(theirs, here)


NO_TABLE = Table("set", "")


def differences(have: Table, want: Table) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Give the elements that go and those that come; one with another value does both.

    Args:
        have: what there is.
        want: what there is to be.
    """
    if have is want:
        return {}, {}
    old, new = have.against(want)
    comes = {key: value for key, value in new.items() if old.get(key) != value}
    if len(old) == len(new) - len(comes):  # all that were there still are: no need to look at all again
        return {}, comes
    return {key: value for key, value in old.items() if new.get(key) != value}, comes


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything in our table.

    Args:
        tables: sets and maps by name.
        chains: chains by name.
        counters: names of counters of their own; elements count too. What they count is not part of the content.
        known: its digest, once that was asked for.
    """

    tables: Mapping[str, Table] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)
    counters: frozenset[str] = frozenset()
    known: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def empty(self) -> bool:
        """Whether nothing is wanted, not even the table."""
        return not self.chains

    def lost(self, want: Ruleset) -> frozenset[str]:
        """Give the names under which something counts that goes, or begins anew, with another ruleset.

        Args:
            want: the other one.
        """
        counting = ((table, want.tables.get(name, NO_TABLE)) for name, table in self.tables.items() if table.counts)
        gone = (name for table, other in counting for name in differences(table, other)[0].values())
        return (self.counters - want.counters).union(gone)

    def digest(self) -> str:
        """A short name of the content, by which a later process knows it again."""
        if not self.known:
            # Each counter is named in an element or a rule.
            tables = (f"table {name} {table.digest()}" for name, table in sorted(self.tables.items(), key=_first))
            chains = (f"chain {name} {chain.digest()}" for name, chain in sorted(self.chains.items(), key=_first))
            self.known.append(_name(*tables, *chains)[:16])
        return self.known[0]


@dataclass(frozen=True, slots=True)
class Load:
    """What leads to a ruleset: one nft transaction, or several where one would open a gap.

    Args:
        want: what the table is to hold.
        have: what it holds; None if that is not known.
        texts: the transactions in nft's words.
        tables: the sets and maps that they speak of, by name.
    """

    want: Ruleset
    have: Ruleset | None = None
    texts: tuple[str, ...] = field(default=(), compare=False)

    tables: Mapping[str, Table] = field(default_factory=dict, compare=False)

    @property
    def anew(self) -> bool:
        """Whether the table is made anew, and counts from zero."""
        return any(text.startswith("add table") for text in self.texts)

    def __hash__(self) -> int:
        return len(self.want.chains)  # contents are compared, and a pass has one of these

    def __str__(self) -> str:
        if self.want.empty:
            return f"nft delete table {TABLE}"
        old = self.have or Ruleset()
        names = [n for n, c in self.want.chains.items() if old.chains.get(n) != c]
        names += [n for n, t in self.want.tables.items() if old.tables.get(n) != t]
        names += [n for n in (*old.chains, *old.tables) if n not in self.want.chains and n not in self.want.tables]
        return f"nft -f - # table {TABLE}: {', '.join(sorted(names))}"


@dataclass(frozen=True, slots=True)
class Connections:
    """Connections of a session, to be forgotten since they are translated for a link that they may not take any more.

    Args:
        mark: of the session.
        mask: our bits.
        ended: the session is no more, and what they send is not refused as something late of it.
        lost: addresses that the session may not use any more. A TCP connection from one cannot be moved: conntrack is
            told of it anew, so that it is the session's whoever speaks next, and is reset.
    """

    mark: int
    mask: int
    ended: bool = False
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"conntrack -D -m {self.mark:#x}/{self.mask:#x}"
