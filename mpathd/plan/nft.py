"""A ruleset to the text of one nft transaction: the whole table, or what differs.

Small chains and sets are filled anew; maps of selectors get and lose single elements, since filling a large interval
map anew costs seconds (quadratic in nft 1.0.6).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..model.packet import NO_TABLE, STATE, TABLE, Chain, Ruleset, Table, differences

# An interval map loses elements one by one at 1.5 us for each that it has, and is filled at 20 us for each: from so
# many that go, times those that are there, it is made anew.
COSTLY = 100_000
# nft 1.0.6 keeps what a key's fields are in a number that has room for so many. Of a map with more, which is there
# already, it forgets the first one, and refuses its elements: then the map is made anew too.
KNOWN_FIELDS = 5


def _key(key: str, _comment: str) -> str:
    return key


def _valued(key: str, value: str) -> str:
    return f"{key} : {value}"


def _commented(key: str, comment: str) -> str:
    return f'{key} comment "{comment}"' if comment else key


# What is said of an element to delete it, and to add it.
GOES, COMES = {"set": _key, "map": _valued}, {"set": _commented, "map": _valued}


def _elements(verb: str, name: str, kind: str, elements: Mapping[str, str]) -> Iterator[str]:
    if elements:
        said = (COMES if verb == "add" else GOES)[kind]
        yield f"{verb} element {TABLE} {name} {{ {', '.join(said(k, v) for k, v in elements.items())} }}"


def _chain_first(chains: Mapping[str, Chain], names: Iterable[str]) -> Iterator[str]:
    for name in names:
        head = chains[name].head
        yield f"add chain {TABLE} {name}" + (f" {{ {head} }}" if head else "")


def _fill(name: str, chain: Chain) -> Iterator[str]:
    for rule in chain.rules:
        yield f"add rule {TABLE} {name} {rule}"


def _declare(name: str, table: Table) -> str:
    return f"add {table.kind} {TABLE} {name} {{ {table.words()}; }}"


def whole(want: Ruleset) -> str:
    """Give the text that replaces the table, whatever it holds.

    Args:
        want: what it is to hold; an empty one takes the table away.
    """
    lines = [f"add table {TABLE}", f"delete table {TABLE}"]
    if not want.empty:
        lines.append(f"add table {TABLE}")
        # Chains before maps: nft 1.0.6 does not find a chain that is declared after an interval map of one field.
        lines += _chain_first(want.chains, want.chains)
        lines += [f"add counter {TABLE} {name}" for name in sorted(want.counters)]
        lines += [_declare(name, table) for name, table in want.tables.items()]
        for name, table in want.tables.items():
            lines += _elements("add", name, table.kind, table.elements)
        for name, chain in want.chains.items():
            lines += _fill(name, chain)
        lines.append(f"add set {TABLE} {STATE}{want.digest()} {{ type mark; }}")
    return "\n".join(lines) + "\n"


def _misread(table: Table) -> bool:
    return len(table.type.split(" . ")) > KNOWN_FIELDS


Differ = Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]]  # by the name of a table: what goes, what comes


def differing(want: Ruleset, have: Ruleset) -> Differ:
    """Give what goes from tables and what comes; mostly a few are others, and the rest the same objects.

    Args:
        want: what there is to be.
        have: what there is.
    """
    if not _asked or _asked[0][0] is not want or _asked[0][1] is not have:
        old, new = have.tables, want.tables
        pairs = ((name, old.get(name, NO_TABLE), new.get(name, NO_TABLE)) for name in {**old, **new})
        _asked[:] = [(want, have, {name: differences(was, is_) for name, was, is_ in pairs if was is not is_})]
    return _asked[0][2]


_asked: list[tuple[Ruleset, Ruleset, Differ]] = []  # one: asked again in a pass, and ten thousand elements take 1 ms


def remade(have: Ruleset, differ: Differ) -> frozenset[str]:
    """Give the names of the maps that are made anew, since to change them takes longer or is refused.

    Args:
        have: what there is.
        differ: what is to go from each table, and to come.
    """
    return frozenset(
        name
        for name, (goes, comes) in differ.items()
        if name in have.tables
        and (
            (have.tables[name].interval and len(goes) * len(have.tables[name].elements) > COSTLY)
            or (_misread(have.tables[name]) and (goes or comes))
        )
    )


def _uses(chain: Chain, tables: Iterable[str]) -> bool:
    return any(rule.endswith(f"@{name}") for name in tables for rule in chain.rules)


def changes(want: Ruleset, have: Ruleset) -> str:
    """Give the text that turns one ruleset into another.

    Args:
        want: what the table is to hold.
        have: what it holds.
    """
    if want.empty or have.empty:
        return whole(want)
    differ = differing(want, have)
    fresh = [name for name in want.chains if name not in have.chains]
    gone = [name for name in have.chains if name not in want.chains]
    tables = {name: table for name, table in want.tables.items() if name in differ}
    if any(name in have.tables and have.tables[name].words() != table.words() for name, table in tables.items()):
        return whole(want)  # a map of another type under an old name: rules refer to it, so all is made anew
    anew = remade(have, differ)
    lines = list(_chain_first(want.chains, fresh))
    lines += [f"add counter {TABLE} {name}" for name in sorted(want.counters - have.counters)]
    lines += [_declare(name, table) for name, table in tables.items() if name not in have.tables]
    # What goes is unreferenced first: changed chains lose their rules, maps their elements.
    changed = [
        name for name, chain in want.chains.items() if have.chains.get(name) != chain or (anew and _uses(chain, anew))
    ]
    lines += [f"flush chain {TABLE} {name}" for name in (*changed, *gone) if name in have.chains]
    for name, (goes, _) in differ.items():
        if name in anew:
            lines.append(f"delete {have.tables[name].kind} {TABLE} {name}")
            lines += [_declare(name, want.tables[name])] if name in want.tables else []
        else:
            lines += _elements("delete", name, have.tables.get(name, NO_TABLE).kind, goes)
    for name, table in tables.items():
        comes = table.elements if name in anew else differ[name][1]
        lines += _elements("add", name, table.kind, comes)
    for name in changed:
        lines += _fill(name, want.chains[name])
    lines += [f"delete chain {TABLE} {name}" for name in gone]
    lines += [
        f"delete {table.kind} {TABLE} {name}"
        for name, table in have.tables.items()
        if name not in want.tables and name not in anew
    ]
    lines += [f"delete counter {TABLE} {name}" for name in sorted(have.counters - want.counters)]
    lines.append(f"delete set {TABLE} {STATE}{have.digest()}")
    lines.append(f"add set {TABLE} {STATE}{want.digest()} {{ type mark; }}")
    return "\n".join(lines) + "\n"
