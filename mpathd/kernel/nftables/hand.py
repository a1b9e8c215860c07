"""Our nft table: what it holds, and its changes.

The kernel is asked again only when its generation has moved without us. What it holds is known by a digest that stands
in the table as the name of an empty set, and by the listing that followed our own last write: nft rewrites what it is
given (`& 0x8000ffff | 0x10000` comes back as `& 0x8001ffff | 0x10000`), so texts are never compared with what was sent.
"""

from __future__ import annotations

import re
from hashlib import sha256

from ...model.packet import TABLE, Load, Ruleset
from ...model.statistics import Count
from .conntrack import forget
from .library import Library, Missing
from .netlink import Netfilter

STATE = re.compile(r"set state_([0-9a-f]{16}) ")
NAME = TABLE.partition(" ")[2]
SEEN = re.compile(r"\n\tset (seen_[0-9a-f]{16}) \{\n\t\ttype mark\n\t\}\n")
COUNTED = re.compile(r"counter (\S+) \{\s+packets (\d+) bytes (\d+)\s+\}")
COUNTERS = re.compile(r"packets \d+ bytes \d+")


class Nftables:
    """The nftables hand. The library is opened when there first is something to write or to know."""

    def __init__(self) -> None:
        self._netfilter = Netfilter()
        self._library: Library | None = None
        self.missing = ""
        self._generation = -2
        self._known: Ruleset | None = None  # what we wrote last, while nobody has changed it since
        self._listing: str | None = None
        self._digest = ""

    def close(self) -> None:
        """Give socket and context back."""
        self._netfilter.close()
        if self._library is not None:
            self._library.close()

    def _open(self) -> Library | None:
        if self._library is None and not self.missing:
            try:
                self._library = Library()
            except Missing as error:
                self.missing = str(error)
        return self._library

    def _list(self) -> str:
        library = self._open() if self._netfilter.has_table(NAME) else None
        if library is None:
            return ""
        output, error = library.run(f"list table {TABLE}", terse=True)
        return "" if error else COUNTERS.sub("", output)

    def look(self) -> tuple[Ruleset | None, str]:
        """Give what our table holds, None if only its digest is known, and that digest (empty: there is no table)."""
        current = self._netfilter.generation()
        if current != self._generation:
            listing = self._list()
            if listing != self._listing:
                # At the first look the table may be our predecessor's, whole as it left it; later, others changed it.
                intact = self._listing is None and _intact(listing)
                self._known, self._listing = (None if listing else Ruleset()), listing
                found = STATE.search(listing)
                self._digest = found[1] if found and intact else "?" if listing else ""
            self._generation = current
        return self._known, self._digest

    def moved(self) -> bool:
        """Tell whether somebody else has changed a ruleset since the last look."""
        return self._netfilter.generation() != self._generation

    def forget(self, mark: int, mask: int) -> int:
        """Delete the conntrack entries of a session and give errno, 0 if it is done.

        Args:
            mark: of the session.
            mask: our bits.
        """
        return forget(self._netfilter, mark, mask)

    def adopt(self, want: Ruleset) -> None:
        """Take it that the table holds a ruleset, because its digest says so.

        Args:
            want: the ruleset of that digest.
        """
        self._known = want

    def counters(self) -> dict[str, Count]:
        """Give what the counters in our table have counted, by name."""
        library = self._open() if self._netfilter.has_table(NAME) else None
        output = library.run(f"list counters table {TABLE}")[0] if library is not None else ""
        return {found[1]: (int(found[2]), int(found[3])) for found in COUNTED.finditer(output)}

    def apply(self, load: Load, text: str) -> str:
        """Write a transaction and give the error, empty if it is done. All of it is done, or nothing.

        Args:
            load: what it leads to.
            text: in nft's words.
        """
        library = self._open()
        if library is None:
            return self.missing
        old = SEEN.search(self._listing or "")
        goes = f"delete set {TABLE} {old[1]}\n" if old and not load.anew else ""
        _, error = library.run(text + goes)
        if not error and not load.want.empty:
            library.run(f"add set {TABLE} {_seal(self._list())} {{ type mark; }}")
        # The generation before the listing: what others change in between is then news, not a part of what we know.
        generation, self._listing = self._netfilter.generation(), self._list()
        ours = not error and (not self._listing if load.want.empty else _intact(self._listing))
        self._generation = generation if ours else -2
        self._known, self._digest = (load.want, load.want.digest()) if ours else (None, "?")
        return error.strip()


def _seal(listing: str) -> str:
    """The name of the set that says: the table is as its maker left it."""
    return f"seen_{sha256(listing.encode()).hexdigest()[:16]}"


def _intact(listing: str) -> bool:
    found = SEEN.search(listing)
    return found is not None and _seal(SEEN.sub("", listing)) == found[1]
