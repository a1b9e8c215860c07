"""Selectors to nft maps: one map for each shape, so that ten thousand selectors cost what one costs.

A shape is which fields of a selector are set. More specific shapes come first; within a shape keys of single values
come before prefixes and ranges, and narrow ones before wide ones; two sessions with the same key are settled by
priority, then by age. Interval maps refuse keys that overlap in part, so keys lose what others before them have; where
that would leave too many pieces, a shape has further maps (`layers`).

What has not changed since the last call is not worked out again: a pass with ten thousand selectors would otherwise
take a tenth of a second, whatever it is about. Maps that are the same are the same objects, and cheap to compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from socket import AF_INET, AF_INET6, inet_ntop

from ..model.packet import Table
from ..model.selector import NAMES, FlowSelector
from ..model.session import Session
from ..model.words import Family, Prefix, family_of
from .layers import Box, Layers
from .prefixes import span

Shape = tuple[str, ...]  # nft's words for the fields of a key
Key = tuple[Shape, str, Box, int]  # with the element's text, the same as numbers, and how much of the world it is
EVERYTHING: Key = ((), "", (), 1)

FINDS = "m"  # names of the maps that find sessions begin so, and a _

# Fields in the order in which they stand in keys, and how the names of maps call them.
FIELDS = {
    "meta skuid": "u",
    "meta skgid": "g",
    "ip saddr": "s4",
    "ip6 saddr": "s6",
    "ip daddr": "d4",
    "ip6 daddr": "d6",
    "meta l4proto": "p",
    "th sport": "sp",
    "th dport": "dp",
}


@dataclass(frozen=True, slots=True)
class Lookup:
    """One lookup in a chain, and its map.

    Args:
        name: of the map; the same for the same shape, whatever else there is.
        expression: the key.
        table: the map.
    """

    name: str
    expression: str
    table: Table


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """What a session brings to a shape; the same object while it brings the same.

    Args:
        exact: keys of single values.
        spread: the others: their size, text and box, the narrow ones first.
    """

    exact: tuple[str, ...]
    spread: tuple[tuple[int, str, Box], ...]


def _word(name: str, value: int) -> Key:
    return (name,), str(value), ((value, value),), 1


@lru_cache(maxsize=65536)
def _address(word: str, prefix: Prefix) -> Key:
    low, high, bits = span(prefix)
    family = family_of(prefix)
    text = prefix.partition("/")[0] if bits == family.bits else str(prefix)
    return (f"{'ip' if family is Family.INET else 'ip6'} {word}",), text, ((low, high),), high - low + 1


@lru_cache(maxsize=4096)
def _protocol(number: int) -> Key:
    name = NAMES.get(number, str(number))
    # nft 1.0.6 knows icmpv6 by its other name, and reads any number.
    return ("meta l4proto",), str(number) if name == "icmpv6" else name, ((number, number),), 1


def _text(shape: Shape, box: Box) -> str:
    """The element of a piece of a key."""
    return " . ".join(_part(word, low, high) for word, (low, high) in zip(shape, box, strict=True))


def _part(word: str, low: int, high: int) -> str:
    if word == "meta l4proto":
        return _protocol(low)[1]
    if not word.startswith("ip"):
        return str(low) if low == high else f"{low}-{high}"
    family, size = (AF_INET6, 16) if word.startswith("ip6") else (AF_INET, 4)
    first, last = (inet_ntop(family, value.to_bytes(size, "big")) for value in (low, high))
    width = high - low + 1
    if low == high:
        return first
    prefix = width & (width - 1) == 0 and low % width == 0
    return f"{first}/{size * 8 - width.bit_length() + 1}" if prefix else f"{first}-{last}"


def _join(parts: Sequence[Key]) -> Key:
    shape: Shape = ()
    box: Box = ()
    size = 1
    for words, _, ranges, width in parts:
        shape += words
        box += ranges
        size *= width
    return shape, " . ".join([text for words, text, _, _ in parts if words]), box, size


def _flow(flow: FlowSelector) -> Key:
    parts: list[Key] = []
    if flow.source is not None:
        parts.append(_address("saddr", flow.source))
    if flow.destination is not None:
        parts.append(_address("daddr", flow.destination))
    if flow.protocol is not None:
        parts.append(_protocol(flow.protocol))
    for word, ports in (("th sport", flow.sport), ("th dport", flow.dport)):
        if ports is not None:
            low, high = ports
            parts.append(((word,), str(low) if low == high else f"{low}-{high}", (ports,), high - low + 1))
    return _join(parts) if parts else EVERYTHING


def key(user: int | None, flow: FlowSelector) -> Key:
    """Give the key of what a user's sockets send, or all, and a selector says.

    Args:
        user: None for everybody.
        flow: the selector.
    """
    return _flow(flow) if user is None else _join([_word("meta skuid", user), _flow(flow)])


class Flows:
    """Keys of flow selectors, worked out once; known again by identity, since their hashes take three times as long."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[FlowSelector, Key]] = {}  # holds the selectors, so that no other gets their ids

    def keys(self, flows: Iterable[FlowSelector]) -> list[Key]:
        """Give the keys of flow selectors, in their order.

        Args:
            flows: the selectors.
        """
        if len(self._known) > KEPT:
            self._known.clear()
        known = self._known
        return [(known.get(id(flow)) or self._fresh(flow))[1] for flow in flows]

    def _fresh(self, flow: FlowSelector) -> tuple[FlowSelector, Key]:
        found = self._known[id(flow)] = (flow, _flow(flow))
        return found


KEPT = 65536
_flows = Flows()


def _keys(session: Session) -> list[Key]:
    """Give everything that makes traffic a session's (any of them suffices)."""
    settings, flows = session.settings, _flows.keys(session.settings.selectors)
    groups = [_word("meta skgid", group) for group in settings.groups]
    if settings.only_user is None:
        return flows + [_word("meta skuid", user) for user in settings.users] + groups
    only = _word("meta skuid", settings.only_user)
    whole = [only] if settings.only_user in settings.users else []
    return [_join([only, flow]) for flow in flows] + whole + [_join([only, group]) for group in groups]


def _shares(session: Session) -> dict[Shape, Share]:
    exact: dict[Shape, list[str]] = {}
    spread: dict[Shape, list[tuple[int, str, Box]]] = {}
    for shape, text, box, size in _keys(session):
        if size == 1:
            if shape in exact:
                exact[shape].append(text)
            else:
                exact[shape] = [text]
        else:
            spread.setdefault(shape, []).append((size, text, box))
    return {
        shape: Share(tuple(exact.get(shape, ())), tuple(sorted(spread.get(shape, ()), key=itemgetter(0))))
        for shape in {**exact, **spread}
    }


@dataclass(frozen=True, slots=True)
class Made:
    """The maps of a shape, and what they were made from.

    Args:
        shared: verdicts and keys, the better sessions first.
        maps: what came of it.
        layers: where the keys with prefixes and ranges stand.
    """

    shared: tuple[tuple[str, Share], ...]
    maps: tuple[Lookup, ...]
    layers: Layers


# What was worked out by the last call: by name, what makes a session's keys, and its shares; by shape, its maps.
_known: dict[str, tuple[object, dict[Shape, Share]]] = {}
_made: dict[Shape, Made] = {}


def lookups(sessions: Iterable[Session]) -> tuple[tuple[Lookup, ...], tuple[int, ...]]:
    """Give the lookups in their order, and the sessions that catch everything, in theirs.

    Args:
        sessions: those that are to be marked.
    """
    global _known, _made
    known: dict[str, tuple[object, dict[Shape, Share]]] = {}
    shapes: dict[Shape, list[tuple[Session, Share]]] = {}
    for session in sorted(sessions, key=lambda s: (-s.settings.priority, s.born, s.number)):
        name, settings = session.settings.name, session.settings
        content = (settings.only_user, settings.selectors, settings.users, settings.groups)
        before = _known.get(name)
        known[name] = before if before is not None and before[0] == content else (content, _shares(session))
        for shape, share in known[name][1].items():
            shapes.setdefault(shape, []).append((session, share))
    everything = shapes.pop((), [])

    def rank(shape: Shape) -> tuple[object, ...]:
        # More fields are more specific; between shapes of as many fields the best session among them decides.
        inside = [session for session, _ in shapes[shape]]
        return (
            -len(shape),
            -max(s.settings.priority for s in inside),
            min((s.born, s.number) for s in inside),
            shape,
        )

    made: dict[Shape, Made] = {}
    for shape in sorted(shapes, key=rank):
        shared = tuple((f"goto s_{session.number}", share) for session, share in shapes[shape])
        old = _made.get(shape)
        made[shape] = old if old is not None and old.shared == shared else _maps(shape, shared, old)
    _known, _made = known, made
    out = tuple(look for found in made.values() for look in found.maps)
    return out, tuple(session.number for session, _ in everything)


def _maps(shape: Shape, shared: tuple[tuple[str, Share], ...], old: Made | None) -> Made:
    """Make the maps of a shape.

    Args:
        shape: the shape.
        shared: verdicts and keys, the better sessions first.
        old: what there was.
    """
    expression = " . ".join(shape)
    name, type_ = "_".join([FINDS, *(FIELDS[word] for word in shape)]), f"typeof {expression} : verdict"
    exact: dict[str, str] = {}
    for verdict, share in reversed(shared):  # the better session has the last word
        exact.update(dict.fromkeys(share.exact, verdict))
    spread = [(size, text, box, verdict) for verdict, share in shared for size, text, box in share.spread]
    if len(shared) > 1:
        spread.sort(key=itemgetter(0))  # stable: among keys of one size the better session's comes first
    boxes: dict[str, Box] = {}
    verdicts: dict[str, str] = {}
    for _, text, box, verdict in spread:
        if text not in boxes:
            boxes[text], verdicts[text] = box, verdict
    layers = Layers(boxes, old.layers if old is not None else None)
    elements: list[dict[str, str]] = [{} for _ in range(max((at.layer for at in layers.of.values()), default=-1) + 1)]
    for text, at in layers.of.items():
        if at.pieces is None:
            elements[at.layer][text] = verdicts[text]
        else:
            elements[at.layer].update({_text(shape, piece): verdicts[text] for piece in at.pieces})
    maps = [Lookup(name, expression, Table("map", type_, exact))] if exact else []
    maps += [
        Lookup(f"{name}_{layer}", expression, Table("map", type_, content, interval=True))
        for layer, content in enumerate(elements, 1)
    ]
    return Made(shared, tuple(maps), layers)
