"""The fuzzer finds what is wrong, and says it briefly; a moment of it finds nothing."""

from __future__ import annotations

import random

from fuzz.__main__ import fuzz, main, shrunk
from fuzz.mutate import mutated
from fuzz.targets import Selectors, Target, targets


def test_a_moment_of_fuzzing_finds_nothing() -> None:
    said: list[str] = []

    assert fuzz(targets(Selectors(None)), 2.0, random.Random(1), said.append) == 0

    assert [line.split(": ")[0] for line in said] == [
        "selectors", "policy files", "ConnMan's policy files", "mpathd.conf",
    ]  # fmt: skip


def _crashes(text: str) -> bool:
    if "%" in text and len(text) > 3:
        raise KeyError(text)
    return True


def test_a_reader_that_crashes_is_found_and_the_text_is_short() -> None:
    target = Target("crasher", ("*-*-udp-7777-8888",), _crashes)
    said: list[str] = []

    assert fuzz((target,), 30.0, random.Random(2), said.append) == 1

    text, error = said[0].split("\n")
    assert "%" in text
    assert "KeyError" in error
    assert len(shrunk(target, "x" * 100 + "%" + "y" * 100)) == 4


def test_the_same_seed_gives_the_same_texts() -> None:
    def made() -> list[str]:
        chance = random.Random(7)
        return [mutated("*-*-udp-7777-8888", chance, ("*-*-tcp",)) for _ in range(200)]

    assert made() == made()
    assert len(set(made())) > 100


def test_wrong_words_are_told() -> None:
    assert main(["soon"]) == 2
