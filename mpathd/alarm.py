"""A clock that rings once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """It rings at one time at most: a new time takes the place of the old one.

    Args:
        ring: what it does.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float | None) -> None:
        """Set the time.

        Args:
            seconds: from now; None: not at all.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            try:
                self._timer = asyncio.get_running_loop().call_later(seconds, self._ring)
            except RuntimeError:  # --dry-run and --release have no loop and need none
                return
