"""The command line: what cannot be used is refused before anything is read or written."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpathd.options import options


@pytest.mark.parametrize("other", ["both", "both/", "both/../both", "link", "{}/both"])
def test_one_folder_for_state_and_runtime_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], other: str
) -> None:
    """Sessions of clients and stored ones would overwrite each other's file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("both")
    with pytest.raises(SystemExit, match="2"):
        options(["--state-dir", "both", "--runtime-dir", other.format(tmp_path)])
    assert "--state-dir DIR --runtime-dir DIR" in capsys.readouterr().err


def test_two_folders_are_taken() -> None:
    taken = options(["--state-dir", "a/state", "--runtime-dir", "a/run"])
    assert (taken.state, taken.runtime) == (Path("a/state"), Path("a/run"))


def test_release_is_not_shown_but_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        options(["--release", "--dry-run"])
    assert "--dry-run: not allowed with argument --release" in capsys.readouterr().err
