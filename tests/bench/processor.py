"""How fast and how steady the processor is: on a shared machine the same loop may take twice as long a moment later."""

from __future__ import annotations

import time
from statistics import quantiles

LOOPS, LOOKS, APART = 20_000, 50, 0.02  # additions; how often they are timed; seconds of sleep before each


def steadiness() -> str:
    """Say how long a loop takes, as a line to read all other figures by."""
    took = []
    for _ in range(LOOKS):
        time.sleep(APART)
        start, total = time.perf_counter(), 0
        for number in range(LOOPS):
            total += number
        took.append((time.perf_counter() - start) * 1000)
    tenths = quantiles(took, n=10)
    return (
        f"processor: {LOOPS:,} additions take {tenths[4]:.2f} ms (a tenth {tenths[0]:.2f}, nine tenths {tenths[8]:.2f})"
    )
