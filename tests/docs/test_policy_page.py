"""mpathd-policy(5) and the examples against the code that reads policy files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mpathd.model.errors import InvalidArguments
from mpathd.model.session import BEARERS, Origin, SessionSettings
from mpathd.plan.packets import NEVER
from mpathd.plan.policyfile import CONNMAN_KEYS, CONNMAN_NOTHING, Names, keys, parse
from mpathd.plan.selectors import parse as selector
from mpathd.policies import FOLDERS

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/man/mpathd-policy.5.rst"
EXAMPLES = sorted((ROOT / "conf/policy.d").iterdir())
NAMES = Names({"backup": 34}.get, {"video": 44}.get)
CATCHING = {"flow_selectors", "users", "groups", "cgroup"}


def part(title: str, line: str) -> str:
    """The text below a heading, up to the next one of its kind or above it."""
    lines = {"=": "=", "-": "[=-]"}[line]
    pattern = rf"^{re.escape(title)}\n{line}+\n(.*?)(?=^[^\n]+\n{lines}{{4,}}\n|\Z)"
    found = re.search(pattern, PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def rows(after: str) -> list[tuple[str, str]]:
    """The first two columns of the block behind a sentence."""
    block = re.search(rf"{re.escape(after)}::\n\n((?:    .*\n)+)", PAGE.read_text())
    assert block, after
    return [(a, b) for a, b, *_ in (re.split(r"\s{2,}", line.strip()) for line in block[1].splitlines())]


def test_every_key_is_explained_with_its_default_and_no_other() -> None:
    shown = re.findall(r"^``(\w+) = (.*)``$", part("KEYS", "="), re.MULTILINE)

    assert [key for key, _ in shown] == list(keys(NAMES))
    for key, default in shown:
        if default in {'""', "[]"} and key in CATCHING:
            continue  # nothing: what a session need not give
        other = "" if key in CATCHING else "users = [1]\n"
        settings = parse(f"[session.x]\n{other}{key} = {default}\n", "x.toml", NAMES).sessions[0]
        assert settings == SessionSettings("x", Origin.POLICY, "x.toml", users=(1,)), key


def test_what_must_be_given_is_what_the_page_says() -> None:
    for key in keys(NAMES):
        value = {"flow_selectors": '["*"]', "cgroup": '"/a"'}.get(key, '["34"]')
        if key in CATCHING:
            assert parse(f"[session.x]\n{key} = {value}\n", "x.toml", NAMES).sessions
            assert f"*{key}*" in part("KEYS", "=").split("``", 1)[0]


def test_every_bearer_is_named() -> None:
    for bearer in BEARERS:
        assert f"*{bearer}*" in PAGE.read_text() or f'*"\\{bearer}"*' in PAGE.read_text(), bearer


def test_folders_are_those_that_are_read() -> None:
    named = re.findall(r"\*(/[^*]*policy\.d)\*", part("FILES", "="))

    assert named == [str(folder) for folder in FOLDERS]


def test_selectors_are_shown_in_their_canonical_form() -> None:
    shown = rows("As written, and in the canonical form")

    assert len(shown) > 5
    for written, canonical in shown:
        assert str(selector(written)) == canonical
        assert str(selector(canonical)) == canonical


def test_bad_selectors_hear_what_the_page_says() -> None:
    shown = rows("These are errors, and say so")

    assert len(shown) > 4
    for written, why in shown:
        with pytest.raises(InvalidArguments, match=re.escape(why)):
            selector(written)


def test_what_is_never_a_sessions_is_told_word_for_word() -> None:
    shown = re.findall(r"^``(.*)``$", part("What is never a session's", "-"), re.MULTILINE)

    assert tuple(shown) == NEVER


def test_connmans_keys_are_told_and_what_has_no_meaning() -> None:
    text = part("CONNMAN'S FILES", "=")
    heads = re.findall(r"^(``\w+``.*)\n    (.*)$", text, re.MULTILINE)

    assert [name for head, _ in heads for name in re.findall(r"``(\w+)``", head)] == [
        *(key for key in CONNMAN_KEYS if key not in CONNMAN_NOTHING),
        *CONNMAN_NOTHING,
    ]
    nothing = {re.findall(r"``(\w+)``", head)[0] for head, told in heads if told.startswith("Has no meaning here: ")}
    assert nothing == set(CONNMAN_NOTHING)


def test_its_examples_are_policy_files() -> None:
    blocks = re.findall(r"::\n\n((?:    .*\n|\n)+)", part("EXAMPLES", "="))

    assert blocks
    for block in blocks:
        assert parse(re.sub("^    ", "", block, flags=re.MULTILINE), "example.toml", NAMES).sessions


def test_there_are_three_examples_and_the_page_names_them() -> None:
    assert len(EXAMPLES) == 3
    for path in EXAMPLES:
        assert path.name.endswith(".toml.example")
        assert f"*{path.name.removesuffix('.toml.example')}*" in part("FILES", "=")


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.name for path in EXAMPLES])
def test_an_example_is_a_policy_file_with_its_reasons(path: Path) -> None:
    text = path.read_text()
    read = parse(text, path.name.removesuffix(".example"), NAMES)

    assert read.sessions
    assert all(session.description for session in read.sessions)
    assert text.startswith("# ")
    assert f"copy this file to /etc/mpathd/policy.d/{path.name.removesuffix('.example')}" in text
    assert "mpathd-policy(5)" in text


def test_examples_of_all_files_can_be_there_together() -> None:
    names = [session.name for path in EXAMPLES for session in parse(path.read_text(), path.name, NAMES).sessions]

    assert len(names) == len(set(names))
