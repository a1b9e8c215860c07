"""`python -m tests.bench [NAME]...`."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from pathlib import Path

from .processor import steadiness

ROOT = Path(__file__).resolve().parents[2]
BENCHES = (
    "events",
    "mptcp",
    "aggregate",
    "start1000",
    "start",
    "idle",
    "codec",
    "session",
    "switch",
    "selectors",
    "load",
    "connections",
)


def main(names: list[str]) -> int:
    """Run the benchmarks of these names, or all.

    Args:
        names: some of BENCHES.
    """
    if wrong := [name for name in names if name not in BENCHES]:
        print(f"bench: no benchmark called {wrong[0]!r}; there are: {' '.join(BENCHES)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # labs and daemons are taken down on the way out
    sys.path[:0] = [str(ROOT), str(ROOT / "netns-lab")]
    for name in names or BENCHES:
        print(steadiness(), flush=True)
        import_module(f"{__package__}.{name}").run()
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
