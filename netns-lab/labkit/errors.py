"""What the lab says when something does not work."""

from __future__ import annotations


class LabError(Exception):
    """A trouble of the lab in the form: what, what was given, what to do.

    Args:
        what: what does not work.
        given: what was given or found.
        todo: what the person can do about it.
    """

    def __init__(self, what: str, given: str = "", todo: str = "") -> None:
        self.what, self.given, self.todo = what, given, todo
        super().__init__("; ".join(part for part in (what, given, todo) if part))


class WordsError(LabError):
    """Words on the command line that fit nothing: the exit status tells them from what failed."""


class TopologyError(WordsError):
    """A topology file that cannot be used; `what` names file and key."""


class WatchError(LabError):
    """A watch that did not see what was waited for, or lost packets."""
