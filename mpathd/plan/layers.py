"""Boxes into layers: nft refuses keys that overlap in part in one map, and the narrower one is to win."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

Box = tuple[tuple[int, int], ...]  # first and last value of each field
SAMPLE = 256  # boxes by which the best axis is found


def layers(boxes: Sequence[Box]) -> list[int]:
    """Give each box the first layer that is behind those of all boxes before it that it overlaps.

    Args:
        boxes: all of as many fields, in the order in which they win.
    """
    index = _Index(_axis(boxes) if boxes else 0)
    out: list[int] = []
    for box in boxes:
        layer = index.behind(box)
        index.add(box, layer)
        out.append(layer)
    return out


def _axis(boxes: Sequence[Box]) -> int:
    """The field in which a box overlaps the fewest others."""
    some = boxes[:: max(1, len(boxes) // SAMPLE)]

    def pairs(place: int) -> int:
        lows = sorted(box[place][0] for box in boxes)
        highs = sorted(box[place][1] for box in boxes)
        return sum(bisect_right(lows, box[place][1]) - bisect_left(highs, box[place][0]) for box in some)

    return min(range(len(boxes[0])), key=pairs)


class _Index:
    """Finds the boxes that overlap one without looking at all.

    A box stands in the buckets of its size in one field: of all buckets that are the next power of two wide, it
    touches one or two. A query looks at those buckets of each size that it touches.

    Args:
        axis: the field.
    """

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self._sizes: dict[int, dict[int, list[tuple[Box, int]]]] = {}

    def add(self, box: Box, layer: int) -> None:
        """Add a box.

        Args:
            box: the box.
            layer: its layer.
        """
        low, high = box[self._axis]
        bits = (high - low).bit_length()
        buckets = self._sizes.setdefault(bits, {})
        for place in {low >> bits, high >> bits}:
            buckets.setdefault(place, []).append((box, layer))

    def behind(self, box: Box) -> int:
        """Give the first layer behind all boxes that overlap one.

        Args:
            box: the one.
        """
        low, high = box[self._axis]
        found = 0
        for bits, buckets in self._sizes.items():
            first, last = low >> bits, high >> bits
            touched = (
                [bucket for place in range(first, last + 1) if (bucket := buckets.get(place)) is not None]
                if last - first < len(buckets)
                else buckets.values()
            )
            for bucket in touched:
                for other, layer in bucket:
                    if layer >= found and _overlap(box, other):
                        found = layer + 1
        return found


def _overlap(one: Box, other: Box) -> bool:
    for (low, high), (first, last) in zip(one, other, strict=True):  # noqa: SIM110 - all() takes twice as long
        if low > last or first > high:
            return False
    return True
