"""What can go wrong on the command line, and the exit status that each trouble has."""

from __future__ import annotations

from mpathd.model.errors import MpathError

DONE, FAILED, USAGE, ABSENT, NOT_APPLIED = range(5)

# What shells say of a command that they cannot run.
NOT_EXECUTABLE, NOT_FOUND = 126, 127


class Usage(MpathError):
    """The command line makes no sense."""

    name = "Usage"


class Absent(MpathError):
    """Nobody is there to ask: no daemon, or no bus."""

    name = "Absent"


class Late(MpathError):
    """No answer in time."""

    name = "Late"


class NotFound(MpathError):
    """There is no such command to run."""

    name = "CommandNotFound"


class NotExecutable(MpathError):
    """A command is there and cannot be run."""

    name = "CommandNotExecutable"


class Answered(MpathError):
    """The daemon, or the bus, answered with an error.

    Args:
        name: the error's last name ("NotApplied").
        text: what is wrong.
        hint: what to do.
    """

    def __init__(self, name: str, text: str, hint: str = "") -> None:
        super().__init__(text, hint)
        self.name = name


STATUS = {
    "Usage": USAGE,
    "Absent": ABSENT,
    "NotApplied": NOT_APPLIED,
    NotFound.name: NOT_FOUND,
    NotExecutable.name: NOT_EXECUTABLE,
}


def status(error: MpathError) -> int:
    """Give the exit status of an error.

    Args:
        error: the error.
    """
    return STATUS.get(error.name, FAILED)
