"""A terminal in which the same lines are written again and again."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

HOME, REST_OF_LINE, REST_OF_SCREEN, ALL = "\033[H", "\033[K", "\033[J", "\033[2J"


class Screen:
    """Draws over what was drawn before."""

    def __init__(self) -> None:
        self._started = False

    @staticmethod
    def there() -> bool:
        """Whether standard output is a terminal that can do this."""
        return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def draw(self, lines: Sequence[str]) -> None:
        """Draw, cut to what the terminal can hold at this moment.

        Args:
            lines: from the top.
        """
        start = HOME if self._started else ALL + HOME
        self._started = True
        try:
            width, height = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            width, height = 0, 0
        text = "".join(f"{line}{REST_OF_LINE}\n" for line in cut(lines, width or 80, (height or 24) - 1))
        # Written at once: a terminal that shows half of it flickers.
        print(f"{start}{text}{REST_OF_SCREEN}", end="", flush=True)


def cut(lines: Sequence[str], width: int, height: int) -> list[str]:
    """Cut lines to a size; the last one says how many are left out.

    Args:
        lines: from the top.
        width: columns.
        height: rows.
    """
    shown = [line[:width] for line in lines[:height]]
    if len(lines) > height > 0:
        shown[-1] = f"... and {len(lines) - height + 1} more"[:width]
    return shown
