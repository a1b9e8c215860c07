"""Selectors to nft maps: one map for each shape, so that ten thousand selectors cost what one costs.

A shape is which fields are set, and whether one of them is a prefix or a range. More specific shapes come first; within
a shape two sessions with the same key are settled by priority, then by age. Interval maps refuse keys that overlap in
part, so each shape has as many layers as it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..model.packet import Table
from ..model.selector import NAMES, FlowSelector
from ..model.session import Session
from ..model.words import Family, family_of
from .prefixes import span


@dataclass(frozen=True, slots=True)
class Match:
    """What a session catches by one selector, user or group.

    Args:
        session: its number.
        priority: of the session.
        born: when the session came; lower is older.
        user: the socket's user; None is any.
        group: the socket's group; None is any.
        flow: the packet's fields.
    """

    session: int
    priority: int
    born: int = 0
    user: int | None = None
    group: int | None = None
    flow: FlowSelector = FlowSelector()


# A field of a key: its nft expression by family, and how to get text and range from a match.
@dataclass(frozen=True, slots=True)
class Field:
    """One field of a key.

    Args:
        expression: nft's words for it.
        text: the element's text.
        low, high: the same as numbers.
    """

    expression: str
    text: str
    low: int
    high: int


def matches(session: Session) -> Iterator[Match]:
    """Give everything that makes traffic a session's (any of them suffices).

    Args:
        session: the session.
    """
    settings = session.settings
    only, head = settings.only_user, (session.number, settings.priority, session.born)
    for flow in settings.selectors:
        yield Match(*head, only, None, flow)
    for user in settings.users:
        if only in {None, user}:
            yield Match(*head, user)
    for group in settings.groups:
        yield Match(*head, only, group)


def key(match: Match) -> tuple[Field, ...]:
    """Give the fields that a packet must have, in the order of nft's keys.

    Args:
        match: what a session catches.
    """
    out: list[Field] = []
    for expression, value in (("meta skuid", match.user), ("meta skgid", match.group)):
        if value is not None:
            out.append(Field(expression, str(value), value, value))
    flow = match.flow
    for word, prefix in (("saddr", flow.source), ("daddr", flow.destination)):
        if prefix is not None:
            low, high, bits = span(prefix)
            family = family_of(prefix)
            text = prefix.partition("/")[0] if bits == family.bits else prefix
            out.append(Field(f"{'ip' if family is Family.INET else 'ip6'} {word}", text, low, high))
    if flow.protocol is not None:
        name = NAMES.get(flow.protocol, str(flow.protocol))
        # nft 1.0.6 knows icmpv6 by its other name, and reads any number.
        out.append(
            Field("meta l4proto", str(flow.protocol) if name == "icmpv6" else name, flow.protocol, flow.protocol)
        )
    for word, ports in (("sport", flow.sport), ("dport", flow.dport)):
        if ports is not None:
            low, high = ports
            out.append(Field(f"th {word}", str(low) if low == high else f"{low}-{high}", low, high))
    return tuple(out)


def size(fields: Iterable[Field]) -> int:
    """Tell how much of the world a key takes; less is more specific.

    Args:
        fields: the key.
    """
    size = 1
    for field in fields:
        size *= field.high - field.low + 1
    return size


class Layer:
    """One map of a shape: keys that do not overlap in part, where the narrow ones come first.

    Args:
        axis: the field by which keys are sorted to find neighbours.
    """

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self._buckets: dict[int, list[tuple[Field, ...]]] = {}
        self._wide: list[tuple[Field, ...]] = []
        self.elements: dict[str, str] = {}

    def takes(self, fields: tuple[Field, ...]) -> bool:
        """Tell whether a key overlaps none of the layer's.

        Args:
            fields: the key.
        """
        field = fields[self._axis]
        near = self._wide if field.low == field.high else [key for keys in self._buckets.values() for key in keys]
        own = self._buckets.get(field.low, []) if field.low == field.high else []
        others = [*near, *own] if field.low == field.high else [*self._wide, *near]
        return not any(_overlap(fields, other) for other in others)

    def add(self, fields: tuple[Field, ...], verdict: str) -> None:
        """Add a key.

        Args:
            fields: the key.
            verdict: where its packets go.
        """
        field = fields[self._axis]
        if field.low == field.high:
            self._buckets.setdefault(field.low, []).append(fields)
        else:
            self._wide.append(fields)
        self.elements[" . ".join(f.text for f in fields)] = verdict


def _overlap(one: tuple[Field, ...], other: tuple[Field, ...]) -> bool:
    return all(a.low <= b.high and b.low <= a.high for a, b in zip(one, other, strict=True))


@dataclass(frozen=True, slots=True)
class Lookup:
    """One lookup in a chain, and its map.

    Args:
        name: of the map.
        expression: the key.
        table: the map.
    """

    name: str
    expression: str
    table: Table


def lookups(sessions: Iterable[Session]) -> tuple[tuple[Lookup, ...], tuple[int, ...]]:
    """Give the lookups in their order, and the sessions that catch everything, in theirs.

    Args:
        sessions: those that are to be marked.
    """
    shapes: dict[tuple[str, ...], list[tuple[int, Match, tuple[Field, ...]]]] = {}
    everything: list[Match] = []
    for match in (match for session in sessions for match in matches(session)):
        fields = key(match)
        if fields:
            shapes.setdefault(tuple(f.expression for f in fields), []).append((size(fields), match, fields))
        else:
            everything.append(match)
    out: list[Lookup] = []

    def rank(shape: tuple[str, ...]) -> tuple[object, ...]:
        # More fields are more specific; between shapes of as many fields the best session among them decides.
        inside = [match for _, match, _ in shapes[shape]]
        return (-len(shape), -max(m.priority for m in inside), min((m.born, m.session) for m in inside), shape)

    for expressions in sorted(shapes, key=rank):
        found = sorted(
            shapes[expressions], key=lambda item: (item[0], -item[1].priority, item[1].born, item[1].session)
        )
        out.extend(_shape(expressions, [(match, fields) for _, match, fields in found], len(out)))
    everything.sort(key=lambda match: (-match.priority, match.born, match.session))
    return tuple(out), tuple(dict.fromkeys(match.session for match in everything))


def _shape(expressions: tuple[str, ...], found: list[tuple[Match, tuple[Field, ...]]], first: int) -> Iterator[Lookup]:
    type_ = f"typeof {' . '.join(expressions)} : verdict"
    exact: dict[str, str] = {}
    spread: list[tuple[Match, tuple[Field, ...]]] = []
    for match, fields in found:
        if all(f.low == f.high for f in fields):
            exact.setdefault(" . ".join(f.text for f in fields), f"goto s_{match.session}")
        else:
            spread.append((match, fields))
    key = " . ".join(expressions)
    if exact:
        yield Lookup(f"m_{first}", key, Table("map", type_, exact))
        first += 1
    for layer in _layers(spread):
        yield Lookup(f"m_{first}", key, Table("map", type_, layer.elements, interval=True))
        first += 1


def _layers(found: list[tuple[Match, tuple[Field, ...]]]) -> Iterator[Layer]:
    """Narrow keys before wide ones, and better sessions before worse; each into the first layer that can take it."""
    if not found:
        return
    width = len(found[0][1])
    axis = max(range(width), key=lambda place: len({(f[place].low, f[place].high) for _, f in found}))
    layers: list[Layer] = []
    for match, fields in found:
        # A key may not stand in a layer before one that holds a narrower key it overlaps: then that would lose.
        start = max((n + 1 for n, layer in enumerate(layers) if not layer.takes(fields)), default=0)
        if start == len(layers):
            layers.append(Layer(axis))
        layers[start].add(fields, f"goto s_{match.session}")
    yield from layers
