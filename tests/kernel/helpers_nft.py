"""What nft holds in a host, for who waits for it: the kernel tells of changes, and each look starts no program."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from contextlib import suppress

from labkit import Lab, LabError, in_ns
from mpathd.kernel.nftables.library import Library
from mpathd.kernel.nftables.netlink import events


class Ear:
    """Hears of changes to a host's rulesets, and reads mpathd's table.

    Args:
        lab: the lab.
        host: where mpathd is.
    """

    def __init__(self, lab: Lab, host: str) -> None:
        self._library, self._events = in_ns(lab.ns(host), lambda: (Library(), events()))

    def close(self) -> None:
        """Give it back."""
        self._events.close()
        self._library.close()

    def table(self) -> str:
        """Give mpathd's table as nft lists it, empty if there is none."""
        return self._library.run("list table inet mpathd")[0]

    def until(self, condition: Callable[[str], object], what: str, timeout: float = 5.0) -> None:
        """Wait until mpathd's table satisfies a condition.

        Args:
            condition: looks at its text.
            what: named in the error.
            timeout: seconds.

        Raises:
            LabError: it did not come to hold.
        """
        deadline = time.monotonic() + timeout
        while True:
            with suppress(BlockingIOError):  # what is heard from here on is newer than what is read next
                while self._events.recv(65536):
                    pass
            if condition(self.table()):
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise LabError(f"not within {timeout:g} s: {what}", "", "look at the log")
            select.select([self._events], [], [], left)
