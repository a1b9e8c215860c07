"""Our table as nft tells it, as a ruleset: for when nobody knows any more what was written.

nft words rules in its own way, so they differ from what was written, and are written anew. Names, declarations and keys
do not: what finds sessions is known, and the way to what is wanted can be made without a gap (plan/bridge.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...model.packet import DYNAMIC, NO_TABLE, STATE, TABLE, Chain, Ruleset, Table
from .listing import SEAL

OBJECT = re.compile(r"^\t(\w+) (\w+) \{\n(.*?)^\t\}\n", re.MULTILINE | re.DOTALL)
ELEMENTS = re.compile(r"^\t\telements = \{ (.*?) \}\n", re.MULTILINE | re.DOTALL)
ZEROS = re.compile(r"(?:^|(?<= ))0x0+(?=[0-9a-f])")  # of marks
BETWEEN = re.compile(r",\s+")
INTERVAL = "flags interval"


def ruleset(text: str, want: Ruleset) -> Ruleset | None:
    """Give what a listing says; None if there is something in it that is not known here.

    Args:
        text: of `nft --stateless list table`.
        want: what the table is to hold: a declaration that says the same is said in its words.
    """
    rest = OBJECT.sub("", text).split()
    if rest != ["table", *TABLE.split(), "{", "}"]:
        return None
    tables: dict[str, Table] = {}
    chains: dict[str, Chain] = {}
    counters: set[str] = set()
    states: list[str] = []
    for kind, name, body in OBJECT.findall(text):
        match kind:
            case "counter":
                counters.add(name)
            case "chain":
                chains[name] = _chain(body)
            case "set" if name.startswith(STATE):
                states.append(name.removeprefix(STATE))
            case "set" if name.startswith(SEAL):
                pass
            case "set" | "map":
                tables[name] = _table(kind, body, want.tables.get(name, NO_TABLE))
            case _:
                return None
    heads = all(chain.head == chains[name].head for name, chain in want.chains.items() if name in chains)
    if len(states) != 1 or not chains or not heads:
        return None
    found = Ruleset(tables, chains, frozenset(counters))
    found.known.extend(states)  # what it says of itself: the set of that name goes with it
    return found


def _chain(body: str) -> Chain:
    lines = [line.strip() for line in body.splitlines()]
    head = lines.pop(0) if lines and lines[0].startswith("type ") else ""
    return Chain(tuple(lines), head)


def _table(kind: str, body: str, want: Table) -> Table:
    said = [line.strip() for line in ELEMENTS.sub("", body).splitlines()]
    interval = INTERVAL in said
    type_ = "; ".join(word for word in said if word != INTERVAL)
    if kind == want.kind and interval == want.interval and {*type_.split("; ")} == {*want.type.split("; ")}:
        type_ = want.type
    packets = any(word.startswith(DYNAMIC) for word in said)  # put them into it
    listed = None if packets else ELEMENTS.search(body)
    return Table(kind, type_, dict(_elements(listed[1], kind)) if listed else {}, interval)


def _elements(text: str, kind: str) -> Iterator[tuple[str, str]]:
    for item in BETWEEN.split(text):
        if kind == "map":
            key, _, value = item.partition(" : ")
        else:
            key, _, value = item.partition(" comment ")
            key, value = key.removesuffix(" counter"), value.strip('"')
        yield ZEROS.sub("0x", key), value
