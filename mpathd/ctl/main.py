"""The program's door: behind it all is loaded, so that Ctrl-C is no traceback meanwhile either."""

from __future__ import annotations

from collections.abc import Sequence

INTERRUPTED = 130  # what shells expect: 128 + SIGINT


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says and give the exit status.

    Args:
        words: all after the program's name; by default those that it was started with.
    """
    try:
        from .work import work

        return work(words)
    except KeyboardInterrupt:
        return INTERRUPTED
