"""The man pages against the code that they describe."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from docutils.core import publish_string
from docutils.writers import manpage

from mpathd.app import parser
from mpathd.model.config import Config
from mpathd.plan.config import KEYS, SOURCES, parse

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs/man").glob("*.rst"))
MPATHD, CONF = ROOT / "docs/man/mpathd.8.rst", ROOT / "docs/man/mpathd.conf.5.rst"


def section(page: Path, title: str) -> str:
    """The text below a heading, up to the next one of its kind."""
    pattern = rf"^{re.escape(title)}\n=+\n(.*?)(?=^[^\n]+\n=+\n|\Z)"
    found = re.search(pattern, page.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no section {title}"
    return found[1]


def finding_codes() -> set[str]:
    """The first argument of every Finding(...) in the program."""
    out = set()
    for path in (ROOT / "mpathd").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                assert node.args, f"{path.name}:{node.lineno}: a finding's code stands first"
                code = node.args[0]
                assert isinstance(code, ast.Constant), f"{path.name}:{node.lineno}: a finding's code is a plain text"
                out.add(str(code.value))
    return out


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_it_builds_without_a_warning(page: Path) -> None:
    settings = {"halt_level": 2, "report_level": 2, "warning_stream": None}

    made = publish_string(page.read_text(), str(page), writer=manpage.Writer(), settings_overrides=settings).decode()

    name, number = page.name.removesuffix(".rst").rsplit(".", 1)
    assert re.search(rf'^\.TH "?{re.escape(name)}"? "?{number}"? ', made, re.MULTILINE | re.IGNORECASE), (
        "name and section of the page"
    )


@pytest.mark.parametrize("page", [MPATHD, CONF], ids=["mpathd", "mpathd.conf"])
def test_its_sections_are_in_the_usual_order(page: Path) -> None:
    usual = ["SYNOPSIS", "DESCRIPTION", "OPTIONS", "SIGNALS", "FILES", "HOW IT DECIDES", "FINDINGS", "EXIT STATUS"]
    usual += ["ENVIRONMENT", "EXAMPLES", "SEE ALSO"]
    found = [title for title in re.findall(r"^([^\n]+)\n=+$", page.read_text(), re.MULTILINE) if title in usual]

    assert found == [title for title in usual if title in found]
    assert {"SYNOPSIS", "DESCRIPTION", "FILES", "EXAMPLES", "SEE ALSO"} <= set(found)


def test_every_option_is_explained_and_no_other() -> None:
    options = section(MPATHD, "OPTIONS")
    wanted = {option for action in parser()._actions for option in action.option_strings}

    assert (
        set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(re.findall(r"^-.*$", options, re.MULTILINE)))) == wanted
    )


def test_every_option_with_a_value_tells_its_default() -> None:
    options = section(MPATHD, "OPTIONS")
    for action in parser()._actions:
        if action.metavar:
            entry = re.search(
                rf"^{action.option_strings[0]} {action.metavar}\n(.*?)(?=^-|\Z)", options, re.MULTILINE | re.DOTALL
            )
            assert entry, action.option_strings
            assert "Default: " in entry[1], action.option_strings
            told = re.search(r"\(default ([^)]+)\)", action.help or "")
            assert told is None or told[1] in entry[1], "the page and --help name the same default"


def test_every_finding_is_explained_and_no_other() -> None:
    entries = re.findall(r"^([a-z-]+) \((?:high|medium|low)\)$", section(MPATHD, "FINDINGS"), re.MULTILINE)

    assert set(entries) == finding_codes()
    assert entries == sorted(entries)


def test_every_finding_has_a_cure() -> None:
    for entry in re.split(r"^(?=[a-z-]+ \()", section(MPATHD, "FINDINGS"), flags=re.MULTILINE)[1:]:
        assert "Cure: " in re.sub(r"\s+", " ", entry), entry


def test_every_key_stands_in_its_section_with_its_default() -> None:
    found: list[tuple[str, str]] = []
    text = []
    for name in dict.fromkeys(key.section for key in KEYS):
        lines = re.findall(r"^``(\w+ = .*)``$", section(CONF, f"[{name}]"), re.MULTILINE)
        found += [(name, line.split(" = ")[0]) for line in lines]
        text += [f"[{name}]", *lines]

    assert found == [(key.section, key.name) for key in KEYS]
    assert parse("\n".join(text), "mpathd.conf") == Config(path="mpathd.conf")


def test_its_examples_are_configurations() -> None:
    for block in re.findall(r"::\n\n((?:    .*\n|\n)+)", section(CONF, "EXAMPLES")):
        assert parse(re.sub("^    ", "", block, flags=re.MULTILINE), "example") != Config(path="example")


def test_every_source_is_explained() -> None:
    gateways = re.search(r"^Gateways\n-+\n(.*?)(?=^Tables\n)", MPATHD.read_text(), re.MULTILINE | re.DOTALL)

    assert gateways
    assert tuple(re.findall(r"^(\w+)\n    ", gateways[1], re.MULTILINE)) == SOURCES
