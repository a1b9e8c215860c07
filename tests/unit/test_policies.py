"""Policy files that are no files, or hold what no system call takes: each is reported, and delays or stops nobody."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mpathd.model.session import SessionSettings
from mpathd.model.view import Finding
from mpathd.plan.policyfile import LONGEST
from mpathd.policies import Policies

GOOD = "[session.a]\nusers = [1]\n"


def _sparse(path: Path) -> None:
    with path.open("w") as file:
        file.truncate(LONGEST + 1)


STRANGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "fifo": ("x.toml", os.mkfifo),
    "device": ("x.toml", lambda path: path.symlink_to("/dev/zero")),
    "folder": ("x.toml", Path.mkdir),
    "loop": ("x.toml", lambda path: path.symlink_to(path)),
    "huge": ("x.toml", _sparse),
    "no text": ("x.toml", lambda path: path.write_bytes(b"# \xff")),
    "a selector": ("x.toml", lambda path: path.write_text("[session.x]\nflow_selectors = ['*-*-*-7']\n")),
    "user with NUL": ("x.toml", lambda path: path.write_text('[session.x]\nusers = ["a\\u0000b"]\n')),
    "group with NUL": ("x.toml", lambda path: path.write_text('[session.x]\ngroups = ["a\\u0000b"]\n')),
    "group's name with NUL": ("x.toml", lambda path: path.write_text('[session.x]\ncgroup = "/a\\u0000b"\n')),
    "ConnMan's with NUL": ("x.policy", lambda path: path.write_text("[policy_x]\nuid = a\0b\n")),
}


def _loaded(folder: Path) -> tuple[tuple[SessionSettings, ...], tuple[Finding, ...]]:
    """Load the folder in a thread, since some files keep whoever opens or reads them."""
    found: list[tuple[tuple[SessionSettings, ...], tuple[Finding, ...]]] = []
    thread = threading.Thread(target=lambda: found.append(Policies([folder]).load()), daemon=True)
    thread.start()
    thread.join(5)
    assert found, "it does not come back, or has failed"
    return found[0]


@pytest.mark.parametrize("strange", STRANGE)
def test_a_strange_file_is_reported_and_the_others_are_in_force(tmp_path: Path, strange: str) -> None:
    name, make = STRANGE[strange]
    (tmp_path / "good.toml").write_text(GOOD)
    make(tmp_path / name)

    sessions, (finding,) = _loaded(tmp_path)

    assert [session.name for session in sessions] == ["a"]
    assert name in finding.text
    assert "Errno" not in finding.text
    assert "\n" not in finding.cure
    assert finding.text.count(str(tmp_path)) == 1


def test_a_name_that_is_no_text_is_told_as_text(tmp_path: Path) -> None:
    """D-Bus and terminals take no other."""
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.toml")).write_text(GOOD)
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xfe.toml")).write_text("bad")

    (session,), (finding,) = _loaded(tmp_path)

    assert "\\xff.toml" in session.owner.encode().decode()
    assert "\\xfe.toml" in f"{finding.text}{finding.cure}".encode().decode()


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    """One that is not there may come; a file in its place, or a folder that nobody may read, is a mistake."""
    file = tmp_path / "file"
    file.write_text(GOOD)
    good = tmp_path / "good"
    good.mkdir()
    (good / "a.toml").write_text(GOOD)

    sessions, (finding,) = Policies([tmp_path / "later", file, good]).load()

    assert [session.name for session in sessions] == ["a"]
    assert (finding.code, finding.text) == ("policy", f"{file}: Not a directory; no policy file of it is in force")
    assert "--policy-dir" in finding.cure


def test_a_link_to_the_null_device_masks_a_file(tmp_path: Path) -> None:
    """As with units of systemd: what a package ships is not in force, and nothing is wrong."""
    shipped, own = tmp_path / "usr", tmp_path / "etc"
    for folder in (shipped, own):
        folder.mkdir()
    (shipped / "a.toml").write_text(GOOD)
    (own / "a.toml").symlink_to("/dev/null")

    assert Policies([shipped, own]).load() == ((), ())
