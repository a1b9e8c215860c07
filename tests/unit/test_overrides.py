"""Files of one name in several folders: which of them is in force."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpathd.policies import Policies


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def _session(name: str) -> str:
    return f"[session.{name}]\nusers = [0]\n"


@pytest.mark.parametrize("text", ["", "[session.upper", "[session.upper]\n"])
@pytest.mark.parametrize("writing", [True, False])
def test_a_bad_file_leaves_the_one_below_in_force(tmp_path: Path, text: str, *, writing: bool) -> None:
    """Also while it is being written: between its first byte and its last nothing of the session may leak."""
    _written(tmp_path / "usr" / "a.toml", _session("lower"))
    upper = tmp_path / "etc" / "a.toml"
    policies = Policies([tmp_path / "usr", tmp_path / "etc"], lambda: frozenset({upper} if writing else ()))
    assert [settings.name for settings in policies.load()[0]] == ["lower"]

    _written(upper, text)
    sessions, findings = policies.load()

    assert [settings.name for settings in sessions] == ["lower"]
    assert [finding.code for finding in findings] == ["policy"]
    assert str(upper) in findings[0].text

    _written(upper, _session("upper"))
    writing = False
    assert [settings.name for settings in policies.load()[0]] == ["upper"]
    _written(upper, text)
    assert [settings.name for settings in policies.load()[0]] == ["upper"]
