"""The manual against the tables: nothing is missing, and its examples make sense."""

from __future__ import annotations

import re
import shlex

import pytest

from ctl.program import ROOT
from mpathd.ctl import stats
from mpathd.ctl.news import VERBS
from mpathd.ctl.parse import parse
from mpathd.ctl.table import COMMANDS, GLOBAL, Command
from mpathd.ctl.words import HEADINGS

PAGE = (ROOT / "docs/man/mpathctl.1.rst").read_text()
SAME = "session create"  # where the options of other commands are explained, which name it in their text
PLAIN = PAGE.replace("*", "")


def section(title: str, page: str = PLAIN) -> str:
    """The text of a section."""
    start = page.index(f"\n{title}\n====") + len(title) + 2
    following = re.search(r"\n[A-Z ]+\n====", page[start:])
    return page[start : start + following.start()] if following else page[start:]


def parts() -> dict[str, tuple[str, str]]:
    """The parts of COMMANDS: command to the rest of its heading, and its text."""
    pieces = re.split(
        r"^([a-z ]+?)((?: [A-Z]+(?:\.\.\.)?)?(?: \[.*)?)\n-{4,}\n", section("COMMANDS"), flags=re.MULTILINE
    )[1:]
    return {name: (head or "", text) for name, head, text in zip(*[iter(pieces)] * 3, strict=True)}


def test_the_order_is_that_of_wg() -> None:
    assert re.findall(r"\n([A-Z ]+)\n=====*", PAGE) == [
        "SYNOPSIS",
        "DESCRIPTION",
        "COMMANDS",
        "OPTIONS OF ALL COMMANDS",
        "OUTPUT FOR PROGRAMS",
        "EXAMPLES",
        "EXIT STATUS",
        "ENVIRONMENT",
        "SEE ALSO",
    ]


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_every_command_has_its_place_with_all_its_options(row: Command) -> None:
    place = parts().get(row.name)

    assert place, f"COMMANDS has no part {row.name}"
    head, text = place
    assert [argument.name for argument in row.takes] == re.findall(r"[A-Z]{2,}", re.sub(r"\[--.*?\]", "", head))
    if f"options are those of {SAME}" in re.sub(r"\s+", " ", text):
        row_options = {option.names[0] for option in row.options}
        assert row_options == {option.names[0] for other in COMMANDS if other.name == SAME for option in other.options}
        text += parts()[SAME][1]
    for option in row.options:
        value = f" {option.value}" if option.value else ""
        assert f"[{option.names[0]}{value}]" + ("..." if option.many else "") in head
        head_line = re.escape(option.names[0]) + r"(, --\w+)?" + re.escape(value)
        entry = re.search(rf"^{head_line}\n((?:    .*\n)+)", text, re.MULTILINE)
        assert entry, f"{row.name} does not explain {option.names[0]}"
        assert "Default: " in entry[2], f"{option.names[0]} has no default"
        assert all(name in text for name in option.names)


def test_no_command_is_told_that_there_is_not() -> None:
    assert list(parts()) == [row.name for row in COMMANDS]


def test_the_options_of_all_commands() -> None:
    for option in GLOBAL:
        assert f"\n{', '.join(option.names)}\n    " in section("OPTIONS OF ALL COMMANDS")


def test_the_forms_for_programs_are_spelled_out() -> None:
    text = re.sub(r"\s+", " ", section("OUTPUT FOR PROGRAMS"))

    places = [text.index(f" {heading}") for heading in HEADINGS]
    assert places == sorted(places)
    assert all(f" {verb}" in text for verb in (*VERBS, "did"))
    for row in COMMANDS:
        assert row.name in text


def test_columns_of_counters_are_spelled_out() -> None:
    text = re.sub(r"\s+", " ", section("OUTPUT FOR PROGRAMS"))
    text = text[text.index("session stats prints") :]

    places = [re.search(rf"[ ,]{re.escape(heading)}[ ,;.]", text) for heading in stats.HEADINGS]
    assert [place.start() for place in places if place] == sorted(place.start() for place in places if place)
    assert None not in places
    assert all(f" {heading} " in text for heading in {*stats.RATED} - {*stats.HEADINGS})


def test_every_example_is_a_command_line() -> None:
    lines = re.findall(r"^    (mpathctl .*)$", section("EXAMPLES", PAGE), re.MULTILINE)

    shown = set()
    for line in lines:
        words = shlex.split(line)
        order = parse(words[1 : words.index("|")] if "|" in words else words[1:])
        assert order.command is not None, line
        shown.add(order.command.name)
    assert {row.name for row in COMMANDS} == shown


def test_every_exit_status() -> None:
    found = re.findall(r"^(\d+)$", section("EXIT STATUS"), re.MULTILINE)

    assert found == ["0", "1", "2", "3", "4", "126", "127", "130"]
