"""docs/api/connman.rst says what ConnMan's face has, and the face has what it says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from mpathd.bus.connman import clock, manager, service, session, technology
from mpathd.bus.connman.errors import NAMES
from mpathd.bus.table import Arg, Interface, Property

PAGE = (Path(__file__).parents[2] / "docs" / "api" / "connman.rst").read_text()
FACES: dict[str, tuple[Interface, Sequence[Property]]] = {
    row.name: (row, rows)
    for row, rows in (
        (manager.MANAGER, manager.ROWS),
        (clock.CLOCK, clock.ROWS),
        (service.SERVICE, service.ROWS),
        (technology.TECHNOLOGY, technology.ROWS),
        (session.SESSION, ()),
        (session.NOTIFICATION, ()),
    )
}
ROW = re.compile(r"^``([^`]+)``(?: \[(\w+)\])?$", re.MULTILINE)


def part(name: str) -> str:
    """What stands below an interface's heading."""
    found = re.search(rf"^{re.escape(name)}\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"no part {name}"
    return found[1]


def words(args: tuple[Arg, ...]) -> str:
    return ", ".join(f"{arg.signature} {arg.name}" for arg in args)


@pytest.mark.parametrize("name", FACES)
def test_every_row_and_nothing_else(name: str) -> None:
    face, properties = FACES[name]
    wanted = [
        *(
            (f"{row.name}({words(row.takes)})" + (f" -> {words(row.gives)}" if row.gives else ""), "")
            for row in face.methods
        ),
        *((f"{row.name}({words(row.args)})", "") for row in face.signals),
        *((f"{row.signature} {row.name}", "readwrite" if row.set else "readonly") for row in properties),
    ]

    assert Counter(ROW.findall(part(name))) == Counter(wanted)


def test_no_interface_is_told_that_there_is_not() -> None:
    assert re.findall(r"^(net\.connman\.\w+)\n-+$", PAGE, re.MULTILINE) == list(FACES)


def test_possible_errors_are_connmans() -> None:
    told = re.findall(r"Possible errors: ([^\n]+)", PAGE)

    assert {re.sub(r" \(.*\)", "", error) for line in told for error in line.split(", ")} <= NAMES


def test_everything_that_an_update_tells() -> None:
    text = re.sub(r"\s+", " ", part("net.connman.Notification"))

    assert all(re.search(rf"\b{row.name}\b", text) for row in session.TOLD)
