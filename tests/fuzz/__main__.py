"""`python -m tests.fuzz [SECONDS] [SEED]`: half a minute unless told, the same texts for the same seed."""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "netns-lab")]

from labkit.netns import step_out  # noqa: E402 - the path comes first
from mpathd.kernel.nftables.library import Library  # noqa: E402

from .mutate import mutated  # noqa: E402
from .targets import Broken, Selectors, Target, targets  # noqa: E402

SECONDS, KEPT, SLOW, SHOWN = 30.0, 400, 0.5, 800
PATIENCE = 10.0  # seconds for making a text shorter
Say = Callable[[str], object]


def trouble(target: Target, text: str) -> tuple[str, bool]:
    """What is wrong with how a text is read, empty if nothing is; and whether it was taken.

    Args:
        target: the reader.
        text: the text.
    """
    start = time.thread_time()
    try:
        taken = target.check(text)
    except Exception as error:
        return f"{type(error).__name__}: {error}", False
    took = time.thread_time() - start
    return (f"it took {took:.1f} s" if took > SLOW else ""), taken


def shrunk(target: Target, text: str) -> str:
    """A shorter text with which something is wrong too.

    Args:
        target: the reader.
        text: one with which something is wrong.
    """
    size = len(text) // 2
    end = time.monotonic() + PATIENCE
    while size:
        at = 0
        while at < len(text) and time.monotonic() < end:
            shorter = text[:at] + text[at + size :]
            if trouble(target, shorter)[0]:
                text = shorter
            else:
                at += size
        size //= 2
    return text


def fuzz(found: tuple[Target, ...], seconds: float, chance: random.Random, say: Say = print) -> int:
    """Fuzz for a time; give the number of texts with which something is wrong, at most one for each reader.

    Args:
        found: the readers.
        seconds: how long.
        chance: makes the texts.
        say: gets what is found, and the count in the end.
    """
    pools = {target.name: list(target.seeds) for target in found}
    tried: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    bad: dict[str, str] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end and len(bad) < len(found):
        for target in found:
            if target.name in bad:
                continue
            pool = pools[target.name]
            text = mutated(chance.choice(pool), chance, pool)
            wrong, good = trouble(target, text)
            tried[target.name] += 1
            taken[target.name] += good
            if wrong:
                short = shrunk(target, text)
                bad[target.name] = trouble(target, short)[0] or wrong
                say(f"{target.name}: {short[:SHOWN]!r}\n  {bad[target.name][:SHOWN]}")
            elif good or chance.random() < 0.02:  # what is taken leads to more that is; what is nearly right too
                if len(pool) < KEPT:
                    pool.append(text)
                else:
                    pool[chance.randrange(len(target.seeds), KEPT)] = text
    for target in found:
        say(f"{target.name}: {tried[target.name]} texts, {taken[target.name]} of them taken")
    return len(bad)


def main(words: list[str]) -> int:
    """Fuzz everything.

    Args:
        words: seconds and seed, both may be left out.
    """
    try:
        seconds = float(words[0]) if words else SECONDS
        seed = int(words[1]) if len(words) > 1 else random.SystemRandom().randrange(1 << 32)
    except ValueError:
        print(f"fuzz: expected SECONDS and SEED, given was {' '.join(words)!r}", file=sys.stderr)
        return 2
    print(f"fuzz: {seconds:g} s, seed {seed}", flush=True)
    selectors = Selectors(_nft())
    found = targets(selectors)
    bad = fuzz(found, seconds, random.Random(seed))
    try:
        selectors.ask()
    except Broken as error:
        print(f"selectors: {error}")
        bad += 1
    return 1 if bad else 0


def _nft() -> Library | None:
    """Libnftables in a network namespace of its own, that goes with this process; None without root."""
    if os.geteuid():
        print("fuzz: without root nft is not asked whether it takes the selectors")
        return None
    step_out()
    return Library()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
