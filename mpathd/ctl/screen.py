"""A terminal in which the same lines are written again and again."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

HOME, REST_OF_LINE, REST_OF_SCREEN = "\033[H", "\033[K", "\033[J"


class Screen:
    """Draws over what was drawn before."""

    def __init__(self) -> None:
        self._started = False

    @staticmethod
    def there() -> bool:
        """Whether standard output is a terminal that can do this."""
        return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    @staticmethod
    def size() -> tuple[int, int]:
        """Columns and rows of the terminal at this moment."""
        try:
            width, height = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            width, height = 0, 0
        return width or 80, height or 24

    def draw(self, lines: Sequence[str]) -> None:
        """Draw, cut to what the terminal can hold.

        Args:
            lines: from the top.
        """
        width, height = self.size()
        # What stands there is scrolled up, not erased: it is still to be read afterwards.
        start = HOME if self._started else "\n" * height + HOME
        self._started = True
        # Erased before it is written: behind a line that fills the terminal that would take its last letter.
        text = "".join(f"{REST_OF_LINE}{line}\n" for line in cut(lines, width, height - 1))
        # Written at once: a terminal that shows half of it flickers.
        print(f"{start}{text}{REST_OF_SCREEN}", end="", flush=True)


def cut(lines: Sequence[str], width: int, height: int) -> list[str]:
    """Cut lines to a size, with dots where something is missing; the last one says how many lines are left out.

    Args:
        lines: from the top.
        width: columns.
        height: rows.
    """
    # Without dots a port of which digits are missing reads as another port.
    shown = [line if len(line) <= width else f"{line[: max(0, width - 3)]}..."[:width] for line in lines[:height]]
    if len(lines) > height > 0:
        shown[-1] = f"... and {len(lines) - height + 1} more"[:width]
    return shown
