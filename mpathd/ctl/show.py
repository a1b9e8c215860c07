"""Where results go: standard output, as text or as JSON."""

from __future__ import annotations

from typing import Any


def json_text(thing: Any, *, lines: bool = False) -> str:
    """Write JSON.

    Args:
        thing: plain values, lists and mappings.
        lines: on one line, for streams.
    """
    import json

    return json.dumps(thing, indent=None if lines else 2)


def say(text: str) -> None:
    """Print a result; nothing at all when there is none.

    Args:
        text: the lines.
    """
    if text:
        print(text)
