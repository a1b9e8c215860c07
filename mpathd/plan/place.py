"""Where in a TOML text a section or key stands; tomllib does not tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

HEADING = re.compile(r"\s*\[{1,2}([^\[\]]+)\]{1,2}\s*(?:#.*)?$")
PART = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(?:\.|$)""")


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a text.

    Args:
        line: counts from 1; 0 if it was not found.
        column: counts from 1.
    """

    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f":{self.line}:{self.column}" if self.line else ""


def _parts(text: str) -> tuple[str, ...]:
    """The parts of a dotted key, up to what is none. (Searching for them takes quadratic time in what is no key.)"""
    out: list[str] = []
    at = 0
    while (found := PART.match(text, at)) and found.end() > at:
        out.append(found[1] or found[2] or found[3] or "")
        at = found.end()
    return tuple(out)


def find(text: str, path: Sequence[str]) -> Place:
    """Find a section or key.

    Args:
        text: the TOML text.
        path: ("section", "key"), or ("session", "name", "key"), or a section alone.
    """
    wanted = tuple(path)
    section: tuple[str, ...] = ()
    best = Place()
    for number, line in enumerate(text.splitlines(), 1):
        if heading := HEADING.match(line):
            section = _parts(heading[1])
            if section[: len(wanted)] == wanted:
                return Place(number, line.index("[") + 1)
            if section and wanted[: len(section)] == section:
                best = Place(number, line.index("[") + 1)
            continue
        key, equals, _ = line.partition("=")
        if equals and not key.lstrip().startswith("#"):
            full = (*section, *_parts(key))
            column = len(line) - len(line.lstrip()) + 1
            if full[: len(wanted)] == wanted:
                return Place(number, column)
            if len(full) > len(section) and wanted[: len(full)] == full:
                best = Place(number, column)
    return best


def find_item(text: str, key: Place, item: str) -> Place:
    """Find a text of a list that goes over several lines; the key's place if it is on the key's line, or not found.

    Args:
        text: the TOML text.
        key: where the list's key stands.
        item: the text.
    """
    for number, line in enumerate(text.splitlines()[key.line :], key.line + 1):
        at = max(line.find(f'"{item}"'), line.find(f"'{item}'"))
        if key.line and at >= 0:
            return Place(number, at + 1)
    return key
