"""The packet engine's part of the kernel: table `inet mpathd`, as values that print themselves as nft's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b, sha256

TABLE = "inet mpathd"
SORTED = 512  # elements


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain.

    Args:
        rules: in their order.
        head: hook, type and priority of a base chain; empty for one that others jump to.
    """

    rules: tuple[str, ...]
    head: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A set or map.

    Args:
        kind: "set" or "map".
        type: nft's type, with the value's for a map.
        elements: key to value; values are empty in a set.
        interval: keys may be prefixes and ranges.
        known: its digest, once that was asked for: ten thousand elements take 8 ms.
    """

    kind: str
    type: str
    elements: Mapping[str, str] = field(default_factory=dict)
    interval: bool = False
    known: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    def words(self) -> str:
        """The declaration, without elements."""
        return self.type + ("; flags interval" if self.interval else "")

    def digest(self) -> str:
        """A short name of the content.

        In large tables the order of elements counts too: sorting ten thousand takes longer than all the rest, and the
        plan gives selectors in the same order as long as they are the same.
        """
        if not self.known:
            small = len(self.elements) < SORTED
            keys = sorted(self.elements) if small else self.elements
            values = [self.elements[key] for key in keys] if small else self.elements.values()
            text = "\n".join((self.words(), *keys, *values))
            self.known.append(blake2b(text.encode(), digest_size=32).hexdigest())
        return self.known[0]


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything in our table.

    Args:
        tables: sets and maps by name.
        chains: chains by name.
        counters: names of counters; what they count is not part of the content.
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

    def digest(self) -> str:
        """A short name of the content, by which a later process knows it again."""
        if not self.known:
            text = repr((sorted((n, t.digest()) for n, t in self.tables.items()),
                         sorted((n, c.head, c.rules) for n, c in self.chains.items()),
                         ",".join(sorted(self.counters))))  # fmt: skip
            self.known.append(sha256(text.encode()).hexdigest()[:16])
        return self.known[0]


@dataclass(frozen=True, slots=True)
class Load:
    """One nft transaction.

    Args:
        want: what the table is to hold.
        have: what it holds; None if that is not known.
        text: the transaction in nft's words.
    """

    want: Ruleset
    have: Ruleset | None = None
    text: str = field(default="", compare=False)

    @property
    def anew(self) -> bool:
        """Whether the table is made anew, and counts from zero."""
        return self.text.startswith("add table")

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
    """

    mark: int
    mask: int

    def __str__(self) -> str:
        return f"conntrack -D -m {self.mark:#x}/{self.mask:#x}"
