"""Where results go: standard output, as text or as JSON; and troubles: standard error."""

from __future__ import annotations

import sys
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


def complain(text: str) -> None:
    """Tell a trouble.

    Args:
        text: what, and what to do in the lines below.
    """
    from .words import clean

    if sys.stderr is not None:
        print("\n".join(map(clean, f"mpathctl: {text}".splitlines())), file=sys.stderr, flush=True)
