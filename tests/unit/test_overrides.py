"""Files of one name in several folders: which of them is in force."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pytest

from mpathd.policies import GRACE, Policies


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


@pytest.mark.parametrize("back", [True, False])
def test_a_file_on_its_way_keeps_its_place(tmp_path: Path, *, back: bool) -> None:
    """An editor takes the old one away before the new one is there, perhaps between our steps."""
    _written(tmp_path / "usr" / "a.toml", _session("lower"))
    upper = _written(tmp_path / "etc" / "a.toml", _session("upper"))
    moved = tmp_path / "moved"

    def listed() -> frozenset[Path]:
        if back and moved.exists():
            moved.rename(upper)
        return frozenset()

    policies = Policies([tmp_path / "usr", tmp_path / "etc"], listed)
    policies.load()
    upper.rename(moved)

    sessions, findings = policies.load()

    assert upper.exists() == back
    assert [settings.name for settings in sessions] == ["upper"]
    assert findings == ()


def test_a_file_that_is_gone_for_good_gives_way_to_the_one_below(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _written(tmp_path / "usr" / "a.toml", _session("lower"))
    upper = _written(tmp_path / "etc" / "a.toml", _session("upper"))
    policies = Policies([tmp_path / "usr", tmp_path / "etc"])
    policies.load()
    upper.unlink()
    policies.load()

    monkeypatch.setattr("mpathd.policies.monotonic", lambda: monotonic() + GRACE)

    assert [settings.name for settings in policies.load()[0]] == ["lower"]


def test_a_file_that_is_opened_while_it_is_read_keeps_its_last_good_version(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.toml", _session("whole"))
    answers = iter([frozenset[Path]()] * 2 + [frozenset({path})])  # when it was listed, and when it has been read
    policies = Policies([tmp_path], lambda: next(answers))
    policies.load()
    _written(path, _session("half"))

    assert [settings.name for settings in policies.load()[0]] == ["whole"]


def test_a_link_that_leads_nowhere_any_more_is_a_file_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = _written(tmp_path / "target", _session("a"))
    (tmp_path / "a.toml").symlink_to(target)
    policies = Policies([tmp_path])
    policies.load()
    target.unlink()
    policies.load()

    monkeypatch.setattr("mpathd.policies.monotonic", lambda: monotonic() + GRACE)

    assert policies.load() == ((), ())
