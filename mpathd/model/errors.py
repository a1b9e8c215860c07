"""Errors that a person or a client gets to see: what, what was given, what to do."""

from __future__ import annotations

from dataclasses import dataclass


class MpathError(Exception):
    """A refusal with a name and a way out.

    Args:
        text: what is wrong and what was given, one sentence.
        hint: what was expected, or what to do; may be empty.
    """

    name = "Failed"

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.text}\n  {self.hint}" if self.hint else self.text


class InvalidArguments(MpathError):
    """A value, type or number of arguments that does not fit."""

    name = "InvalidArguments"


class InvalidProperty(MpathError):
    """No such property, or it cannot be set."""

    name = "InvalidProperty"


class NotFound(MpathError):
    """Nothing of that name is here."""

    name = "NotFound"


class AlreadyExists(MpathError):
    """Something of that name is here already."""

    name = "AlreadyExists"


class PermissionDenied(MpathError):
    """The caller may not do this."""

    name = "PermissionDenied"


class NotSupported(MpathError):
    """This machine or this version cannot do it."""

    name = "NotSupported"


class LimitsExceeded(MpathError):
    """More than the configured number."""

    name = "LimitsExceeded"


class NotApplied(MpathError):
    """The setting is saved, and the kernel refused part of it."""

    name = "NotApplied"


class ConfigError(MpathError):
    """A file that cannot be used, with its place."""

    name = "InvalidArguments"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One write that the kernel refused.

    Args:
        command: the write in the words of `ip`.
        errno: the kernel's number.
        text: its reason, with the extended ack's words where there are some.
    """

    command: str
    errno: int
    text: str

    def __str__(self) -> str:
        return f"{self.command}: {self.text}"
