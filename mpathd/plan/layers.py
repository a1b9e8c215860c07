"""Boxes into layers: nft refuses keys that overlap in part in one map, and the narrower one is to win."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Box = tuple[tuple[int, int], ...]  # first and last value of each field
SAMPLE = 256  # boxes by which the best axis is found
PIECES = 8  # of one box
FEW = 16  # boxes that come or go without everything being worked out again


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a box stands.

    Args:
        layer: which map.
        pieces: what is left of it where those before it have taken their parts; None: it stands there whole.
    """

    layer: int
    pieces: tuple[Box, ...] | None = None


WHOLE = Placed(0)


class Layers:
    """The place of each box: in the first map, without what the boxes before it have; if that leaves too many pieces,
    in the first map that is behind those of all boxes before it that it overlaps.

    Each further map costs every packet a lookup, so few boxes should need one.

    Args:
        boxes: by name, all of as many fields, in the order in which they win.
        before: what was there before, and is given up with this; a few boxes more or less are then found quickly.

    Attributes:
        of: the places by name.
    """

    def __init__(self, boxes: Mapping[str, Box], before: Layers | None = None) -> None:
        self.of: dict[str, Placed] = {}
        if before is not None and self._taken_over(before, boxes):
            return
        self._index = _Index(_axis(tuple(boxes.values())))
        for name, box in boxes.items():
            self.of[name] = _placed(box, [(other, self.of[by]) for by, other in self._index.overlapping(box)])
            self._index.add(name, box)

    def _taken_over(self, before: Layers, boxes: Mapping[str, Box]) -> bool:
        """Go on from what was there; False: too much is new, or a box that comes or goes stands before another one."""
        old = before.of
        fresh = [name for name in boxes if name not in old]
        gone = [name for name in old if name not in boxes]
        if len(fresh) + len(gone) > FEW or not old:
            return False
        was, index = list(old), before._index
        before.of = {}
        if gone:
            places = {name: place for place, name in enumerate(was)}
            for name in gone:
                box = index.remove(name)
                if any(places[other] > places[name] for other, _ in index.overlapping(box)):
                    return False
            was = [name for name in was if name in boxes]
        if was != [name for name in boxes if name in old]:
            return False  # others come first now
        places = {name: place for place, name in enumerate(boxes)} if fresh else {}
        came: dict[str, Placed] = {}
        for name in fresh:
            found = index.overlapping(boxes[name])
            if any(places[other] > places[name] for other, _ in found):
                return False
            came[name] = _placed(boxes[name], [(box, came.get(other) or old[other]) for other, box in found])
            index.add(name, boxes[name])
        self._index = index
        self.of = {name: came[name] if name in came else old[name] for name in boxes} if came or gone else old
        return True


def _placed(box: Box, others: Sequence[tuple[Box, Placed]]) -> Placed:
    """Place a box behind others that it overlaps.

    Args:
        box: the box.
        others: those before it, and their places.
    """
    if not others:
        return WHOLE
    pieces = [box]
    for other, _ in others:
        pieces = [part for piece in pieces for part in _without(piece, other)]
        if len(pieces) > PIECES:
            return Placed(max(place.layer for _, place in others) + 1)
    return Placed(0, tuple(pieces))


def _without(box: Box, other: Box) -> list[Box]:
    """What is left of a box outside of another one; the last fields, ports, are cut first, so that prefixes stay."""
    if not _overlap(box, other):
        return [box]
    out: list[Box] = []
    rest = list(box)
    for place in reversed(range(len(box))):
        (low, high), (first, last) = rest[place], other[place]
        for start, end in ((low, first - 1), (last + 1, high)):
            if start <= end:
                out.append((*rest[:place], (start, end), *rest[place + 1 :]))
        rest[place] = (max(low, first), min(high, last))
    return out


def _overlap(one: Box, other: Box) -> bool:
    return all(low <= last and first <= high for (low, high), (first, last) in zip(one, other, strict=True))


def _axis(boxes: Sequence[Box]) -> int:
    """The field in which a box overlaps the fewest others."""
    some = boxes[:: max(1, len(boxes) // SAMPLE)]

    def pairs(place: int) -> int:
        lows = sorted(box[place][0] for box in boxes)
        highs = sorted(box[place][1] for box in boxes)
        return sum(bisect_right(lows, box[place][1]) - bisect_left(highs, box[place][0]) for box in some)

    return min(range(len(boxes[0])), key=pairs, default=0) if boxes else 0


class _Index:
    """Finds the boxes that overlap one without looking at all.

    Boxes are sorted by where they begin in one field, those of about one width by themselves: what begins much before
    the one cannot reach it.

    Args:
        axis: the field.
    """

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self._boxes: dict[str, Box] = {}
        self._widths: dict[int, tuple[list[int], list[str]]] = {}  # by bits of the width: beginnings, and names

    def _alike(self, box: Box) -> tuple[list[int], list[str]]:
        low, high = box[self._axis]
        return self._widths.setdefault((high - low).bit_length(), ([], []))

    def add(self, name: str, box: Box) -> None:
        """Add a box.

        Args:
            name: of the box.
            box: the box.
        """
        self._boxes[name] = box
        lows, names = self._alike(box)
        low = box[self._axis][0]
        place = bisect_right(lows, low)
        lows.insert(place, low)
        names.insert(place, name)

    def remove(self, name: str) -> Box:
        """Take a box out, and give it.

        Args:
            name: of the box.
        """
        box = self._boxes.pop(name)
        lows, names = self._alike(box)
        place = names.index(name, bisect_left(lows, box[self._axis][0]))
        del lows[place], names[place]
        return box

    def overlapping(self, box: Box) -> list[tuple[str, Box]]:
        """Give the boxes that overlap one, by name.

        Args:
            box: the one.
        """
        low, high = box[self._axis]
        boxes = self._boxes
        out: list[tuple[str, Box]] = []
        for bits, (lows, names) in self._widths.items():
            first, last = bisect_left(lows, low - (1 << bits) + 1), bisect_right(lows, high)
            for name in names[first:last]:
                other = boxes[name]
                for (start, end), (begin, finish) in zip(box, other, strict=True):  # all() takes twice as long
                    if start > finish or begin > end:
                        break
                else:
                    out.append((name, other))
        return out
