"""Our nft table: what it holds, and its changes.

The kernel is asked again only when its generation has moved without us. What it holds is known by a digest that stands
in the table as the name of an empty set, and by the listing that followed our own last write: nft rewrites what it is
given (`& 0x8000ffff | 0x10000` comes back as `& 0x8001ffff | 0x10000`), so texts are never compared with what was sent.
"""

from __future__ import annotations

import errno
import re
from collections import deque
from collections.abc import Iterator, Mapping
from time import monotonic

from ...model.packet import DYNAMIC, STATE, TABLE, Connections, Load, Ruleset, Table
from ...model.statistics import Count
from ...model.world import Stranger
from . import conntrack, late
from .ear import Ear
from .encode import messages
from .library import Library, Missing
from .listing import NAME, Listing, counters, listing
from .netlink import Netfilter
from .openers import Openers
from .reading import ELEMENTS, ruleset
from .strangers import strangers

REMEMBERED = 256  # generations of ours; events of a pass are read right behind it
REST = 50  # times as long as reading others' rules took, they are not read again: who changes them often costs 2 %
TIMES = re.compile(r" (?:timeout|expires) \w+")


class Nftables:
    """The nftables hand. The library is opened when there first is something to write or to know."""

    def __init__(self) -> None:
        self._netfilter, self.ear = Netfilter(), Ear()
        self._openers = Openers(self._netfilter)
        self._library: Library | None = None
        self.missing = ""
        self._generation = -2
        self._known: Ruleset | None = None  # what we wrote last, while nobody has changed it since
        self._listing: Listing | None = None
        self._unread, self._unsealed = True, False
        self._digest = ""
        self._made: deque[int] = deque(maxlen=REMEMBERED)  # generations
        self._anew = -1  # the last one with which the table was made anew
        self.strangers: tuple[Stranger, ...] = ()
        self._told: tuple[int, Ruleset, Ruleset | None] = (-1, Ruleset(), None)  # when, for what, and what `read` gave
        self._stuck = False  # the last write was refused
        self._strange, self._rested = False, 0.0  # they are to be read, and not before this time

    def close(self) -> None:
        """Give socket and context back."""
        self.seal()
        for one in (self._netfilter, self._openers, self.ear):
            one.close()
        if self._library is not None:
            self._library.close()

    def _open(self) -> Library | None:
        if self._library is None and not self.missing:
            try:
                self._library = Library()
            except Missing as error:
                self.missing = str(error)
        return self._library

    def look(self) -> tuple[Ruleset | None, str]:
        """Give what our table holds, None if only its digest is known, and that digest (empty: there is no table)."""
        current = self._netfilter.generation()
        if current != self._generation and self._unsealed and self._untouched(current):
            self._generation, self._strange = current, True
        elif current != self._generation:
            found = listing(self._netfilter, NAME)
            if self._unread or self._unsealed or found != self._listing:
                # At the first look the table may be our predecessor's, whole as it left it; later, others changed it.
                intact = self._unread and found is not None and found.intact
                self._known, self._listing = (None if found else Ruleset()), found
                self._digest = _digest(found) if intact else "?" if found else ""
                self._unread = self._unsealed = False
            self._generation, self._strange = current, True
        self._meet()
        return self._known, self._digest

    def _meet(self) -> None:
        """Read what others do with marks, if it may have changed; ten thousand of their rules take 0.1 s."""
        began = monotonic()
        if self._strange and began >= self._rested:
            self.strangers, self._strange = strangers(self._netfilter, NAME), False
            ended = monotonic()
            self._rested = ended + REST * (ended - began)

    def moved(self) -> bool:
        """Take events, and tell whether somebody else has changed a ruleset since the last look."""
        touched = self._touched()
        return self._netfilter.generation() != self._generation or touched

    def _touched(self) -> bool:
        """Take events, and tell whether somebody else has changed something in our table."""
        others = any(one not in self._made and one > self._anew for one in self.ear.drain())
        if others and self._digest:
            self._known, self._digest = None, "?"
        return others

    def _untouched(self, current: int) -> bool:
        """Whether our table is what we wrote last, as the events tell, of which none is missing up to a generation."""
        return not self._touched() and self.ear.heard == current and self._known is not None

    def forget(self, gone: Connections) -> int:
        """Delete the conntrack entries of a session and give errno, 0 if it is done.

        Args:
            gone: whose they are.
        """
        said = late.said(self._netfilter) if gone.ended else frozenset()
        if said:  # the kernel goes through all of conntrack's buckets for it, which takes milliseconds
            said &= conntrack.flows(self._netfilter, gone.mark, gone.mask)
        number = conntrack.forget(self._netfilter, gone.mark, gone.mask)
        if (made := late.forget(self._netfilter, said)) >= 0:
            self._made.append(made)
            self._generation = made if self._generation == made - 1 else self._generation
        if gone.lost:
            self._openers.tell(gone.lost)
        return number

    def adopt(self, want: Ruleset) -> None:
        """Take it that the table holds a ruleset, because its digest says so.

        Args:
            want: the ruleset of that digest.
        """
        self._known = want

    def read(self, want: Ruleset) -> Ruleset | None:
        """Give what our table holds as nft tells it; None if we do not understand it, or it did not lead on.

        Args:
            want: what it is to hold.
        """
        library = self._open()
        if library is None or self._stuck:
            return None
        if self._told[0] != self._generation or self._told[1] is not want:
            found = ruleset(library.run(f"list table {TABLE}", stateless=True)[0], want)
            self._told = (self._generation, want, found)
        return self._told[2] if self._netfilter.generation() == self._generation else None

    def counters(self) -> dict[str, Count]:
        """Give what the counters in our table have counted, by name."""
        return counters(self._netfilter, NAME)

    def apply(self, load: Load) -> str:
        """Write transactions and give the error, empty if all is done. Of each one all is done, or nothing.

        Args:
            load: what they lead to.
        """
        library = self._open()
        if library is None:
            return self.missing
        text, *rest = load.texts
        seal = self._listing.seal if self._listing is not None else ""
        more = "" if load.anew or not seal else f"delete set {TABLE} {seal}\n"
        if load.anew and self._digest:
            more = "".join(_stays(library, load.want))
        if not self._digest and not load.want.empty:  # with the first table conntrack begins to watch
            self._openers.tell()
        before = self._netfilter.generation()
        tables = load.tables
        error, after = self._run(library, text + more, tables, before)
        if error and load.anew and more:  # a set of another version may have held something else
            error, after = self._run(library, text, tables, before)
        made = [after]
        for text in rest:
            if not error:
                error, after = self._run(library, text, tables, after)
                made.append(after)
        # Each transaction counts one: if somebody else's came in between, nobody knows what the table holds now.
        ours, self._stuck = not error and after == before + len(made), bool(error)
        self._unread, self._unsealed = False, ours and not load.want.empty
        self._listing = None if ours else listing(self._netfilter, NAME)
        self._generation = after if ours else -2
        if ours:
            self._made.extend(made)
            self._anew = after if load.anew else self._anew
            self._known, self._digest = load.want, "" if load.want.empty else load.want.digest()
        else:
            self._known, self._digest = (None, "?") if self._listing is not None else (Ruleset(), "")
        return error.strip()

    def _run(self, library: Library, text: str, tables: Mapping[str, Table], generation: int) -> tuple[str, int]:
        """Write a transaction by messages of our own if it is a small one; give the error and the generation after it.

        What the kernel refuses then the library tries once more, which has words for it.
        """
        parts = messages(text, tables) if generation >= 0 else None  # else the kernel does not say, and may have no nft
        if parts and not self._netfilter.batch(generation, parts):
            return "", generation + 1
        return library.run(text)[1], self._netfilter.generation()

    @property
    def unsealed(self) -> bool:
        """Whether what we wrote last is to be sealed."""
        return self._unsealed

    def seal(self) -> None:
        """Write down in the table what it looks like: later, since nobody has to wait for it.

        Without a seal (we were killed just now) the next mpathd reads what is there (`reading.py`).
        """
        if self._library is None or not self._unsealed or self._netfilter.generation() != self._generation:
            return
        found, error = listing(self._netfilter, NAME), 0
        if found is not None:
            seal = messages(f"add set {TABLE} {found.wanted_seal} {{ type mark; }}", {})
            error = self._netfilter.batch(self._generation, seal or ())
        if error == errno.ERESTART:
            return  # others have written meanwhile: what, the next look tells, and only what is ours is sealed
        self._unsealed = False
        if found is not None and not error:
            self._generation, self._listing = self._generation + 1, found.sealed
            self._made.append(self._generation)
        else:
            self._generation, self._known, self._digest = -2, None, "?"


def _stays(library: Library, want: Ruleset) -> Iterator[str]:
    """What packets have put into sets, which nobody else knows, for a table that is made anew."""
    for name, table in want.tables.items():
        if DYNAMIC in table.type and (found := ELEMENTS.search(library.run(f"list set {TABLE} {name}")[0])):
            yield f"add element {TABLE} {name} {{{TIMES.sub('', found[1])}}}\n"


def _digest(found: Listing | None) -> str:
    """The digest that our predecessor left in the table."""
    names = found.sets if found is not None else frozenset()
    return next((name.removeprefix(STATE) for name in names if name.startswith(STATE)), "?")
