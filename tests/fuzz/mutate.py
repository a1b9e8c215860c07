"""Texts that are nearly right."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

BITS = (
    *("*", "-", "--", "/", ":", "::", ".", "%", "%eth0", "0", "00", "1", "-1", "65535", "65536", "255", "256", "129"),
    *("tcp", "UDP", "icmpv6", "sctp", "10.0.0.1", "fd00::/64", "::ffff:1.2.3.4", "0.0.0.0/0", "::/0", "1/2", "/032"),
    *("\x00", "\n", "\r", "\t", " ", "\ufeff", "\u0661", "\u2028", "\U0001f600", "\udcff", "é", "İ", "²", "\uff11"),
    *("[", "]", "[[", "]]", "{", "}", '"', "'", '"""', "'''", "=", ",", "#", "\\", "\\u0000", "[session.x]"),
    *("true", "inf", "nan", "1e9", "0x10", "1979-05-27T07:32:00Z", "9" * 40, "a" * 300, "[" * 40, "users = 1"),
    *("9" * 5000, "(", ")", "\x85", "\x1c"),
)  # fmt: skip


def mutated(text: str, chance: random.Random, others: Sequence[str]) -> str:
    """Give a text with one to a few faults.

    Args:
        text: right or already wrong.
        chance: decides.
        others: texts of which parts may come in.
    """
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        text = chance.choice(FAULTS)(text, chance, others)
    return text[:20_000]


def _place(text: str, chance: random.Random) -> int:
    return chance.randint(0, len(text))


def _inserted(text: str, chance: random.Random, _others: Sequence[str]) -> str:
    at = _place(text, chance)
    return text[:at] + chance.choice(BITS) + text[at:]


def _deleted(text: str, chance: random.Random, _others: Sequence[str]) -> str:
    at = _place(text, chance)
    return text[:at] + text[at + chance.choice((1, 1, 2, 5, 20)) :]


def _doubled(text: str, chance: random.Random, _others: Sequence[str]) -> str:
    at, length = _place(text, chance), chance.choice((1, 3, 10, 100))
    return text[: at + length] + text[at:]


def _swapped(text: str, chance: random.Random, _others: Sequence[str]) -> str:
    one, other = sorted((_place(text, chance), _place(text, chance)))
    middle = (one + other) // 2
    return text[:one] + text[middle:other] + text[one:middle] + text[other:]


def _changed(text: str, chance: random.Random, _others: Sequence[str]) -> str:
    at = _place(text, chance)
    return text[:at] + chr(chance.choice((chance.randint(0, 127), chance.randint(0, 0x2FF)))) + text[at + 1 :]


def _crossed(text: str, chance: random.Random, others: Sequence[str]) -> str:
    other = chance.choice(others)
    return text[: _place(text, chance)] + other[_place(other, chance) :]


def _lined(text: str, chance: random.Random, others: Sequence[str]) -> str:
    lines, more = text.split("\n"), chance.choice(others).split("\n")
    lines.insert(chance.randint(0, len(lines)), chance.choice(more))
    return "\n".join(lines)


FAULTS: tuple[Callable[[str, random.Random, Sequence[str]], str], ...] = (
    _inserted, _inserted, _deleted, _doubled, _swapped, _changed, _crossed, _lined,
)  # fmt: skip
