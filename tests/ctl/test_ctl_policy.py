"""mpathctl policy check as a program, without a daemon, and word by word what the daemon says of the same file."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from ctl.program import Result, run
from mpathd import policies
from mpathd.ctl import policy
from mpathd.plan.policyfile import ENDINGS, LONGEST
from mpathd.policies import Policies

NOWHERE = "unix:path=/nonexistent"
GOOD = '[session.backup]\nusers = ["root"]\nallowed_bearers = ["ethernet"]\n'
BAD = {
    "no-toml": "[session.a\n",
    "section": "[sesion.a]\nusers = [1]\n",
    "nothing": "",
    "name": '[session."a b"]\nusers = [1]\n',
    "key": '[session.a]\nuser = "root"\n',
    "bearer": '[session.a]\nusers = [1]\nallowed_bearers = ["ether"]\n',
    "selector": '[session.a]\nflow_selectors = ["*-*-*-*-443"]\n',
    "user": '[session.a]\nusers = ["nobody-of-this-name"]\n',
    "type": '[session.a]\nusers = [1]\nconnection_type = "best"\n',
    "cgroup": '[session.a]\ncgroup = "/a/../b"\n',
    "priority": "[session.a]\nusers = [1]\n\npriority = 1001\n",
    "catches-nothing": '[session.a]\ndescription = "x"\n',
    "not-text": "[session.a]\nusers = [1] # \udcff\n",
}


def check(*words: str | Path) -> Result:
    return run(NOWHERE, "policy", "check", *map(str, words))


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_it_says_what_the_daemon_says(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text, errors="surrogateescape")
    _, (finding,) = Policies([tmp_path]).load()

    result = check(path)

    assert (result.code, result.out) == (1, "")
    said, _, expected = result.err.rstrip("\n").partition("\n  ")
    assert finding.text == f"{said}; nothing of it is in force"
    expected = expected.replace("\n  ", "; ")
    assert finding.cure == f"{expected}; then: mpathctl policy check {path}"


STRANGE: dict[str, Callable[[Path], object]] = {
    "fifo": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "loop": lambda path: path.symlink_to(path),
    "huge": lambda path: path.write_bytes(b"#" * (LONGEST + 1)),
}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_what_is_no_file_is_not_waited_for(make: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    make(path)
    _, (finding,) = Policies([tmp_path]).load()

    result = check(path)

    assert (result.code, result.out) == (1, "")
    assert finding.text == f"{result.err.partition(chr(10))[0]}; nothing of it is in force"


def test_place_given_and_expected(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(BAD["bearer"])

    assert check(path).err == (
        f"{path}:3:1: allowed_bearers = ['ether'] does not fit\n"
        "  'ether' is no bearer, expected some of: ethernet, wifi, cellular, bluetooth, gadget, vpn, *\n"
    )


def test_a_good_file_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(GOOD)

    result = check(path)

    assert (result.code, result.err) == (0, "")
    assert result.out == (
        f"{path}: good, 1 session\nsession: backup\n  allowed_bearers = [ ethernet ]\n  connection_type = any\n"
        f"  users = [ {pwd.getpwuid(0).pw_name}(0) ]\n  multipath_routed_services = auto\n"
        "  without_service = block\n  priority = 100\n  nat = auto\n"
    )


def test_what_has_no_meaning_in_connmans_files_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "x.policy"
    path.write_text("[policy_a]\nuid = root\nselinux = a:b:c\nEmergencyCall = true\n")
    _, findings = Policies([tmp_path]).load()

    result = check(path)

    assert result.code == 0
    notes = [line.removeprefix("  note: ") for line in result.out.splitlines() if line.startswith("  note: ")]
    assert notes == [finding.text for finding in findings]
    assert notes[0].startswith(f"{path}:3:1: selinux has no meaning here: ")


def test_a_file_that_mpathd_would_not_look_at_is_noted(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_text(GOOD)

    assert f"  note: {path}: mpathd reads only files that end in .toml or .policy\n" in check(path).out
    for module in (policy, policies):
        assert (vars(module)["ENDINGS"], vars(module)["LONGEST"]) == (ENDINGS, LONGEST)


def test_all_files_are_checked_and_one_bad_one_is_enough(tmp_path: Path) -> None:
    for name, text in (("a.toml", GOOD), ("b.toml", BAD["key"]), ("c.toml", "[session.c]\nusers = [1]\n")):
        (tmp_path / name).write_text(text)

    result = check(*(tmp_path / name for name in ("a.toml", "b.toml", "none.toml", "c.toml")))

    assert result.code == 1
    assert [line for line in result.out.splitlines() if "good" in line] == [
        f"{tmp_path}/a.toml: good, 1 session",
        f"{tmp_path}/c.toml: good, 1 session",
    ]
    assert result.err.splitlines()[::2] == [
        f"{tmp_path}/b.toml:2:1: no key 'user' in [session.a]",
        f"{tmp_path}/none.toml: No such file or directory",
    ]


def test_two_files_with_one_name_clash_as_in_the_daemon_unless_one_overrides_the_other(tmp_path: Path) -> None:
    for name in ("a.toml", "b.toml", "over/a.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(GOOD)
    _, (finding,) = Policies([tmp_path]).load()

    result = check(tmp_path / "a.toml", tmp_path / "b.toml")

    assert (result.code, result.err) == (1, f"{finding.text}\n  {finding.cure}\n")
    assert check(tmp_path / "a.toml", tmp_path / "over/a.toml").code == 0


@pytest.mark.parametrize("files", [("a.toml", "a.toml"), ("a.toml", "b.toml")], ids=["one file", "two files"])
def test_two_names_with_one_path_clash_as_in_the_daemon(files: tuple[str, str], tmp_path: Path) -> None:
    for file, name in zip(files, ("a.b", "a_2eb"), strict=True):
        with (tmp_path / file).open("a") as stream:
            stream.write(f'[session."{name}"]\nusers = [1]\n')
    sessions, (finding,) = Policies([tmp_path]).load()

    result = check(*(tmp_path / file for file in sorted(set(files))))

    assert [settings.name for settings in sessions] == ["a.b"]
    assert finding.code == "policy-name"
    assert "'a_2eb'" in finding.text
    assert "'a.b'" in finding.text
    assert (result.code, result.err) == (1, f"{finding.text}\n  {finding.cure}\n")


def test_json(tmp_path: Path) -> None:
    for name, text in (("a.toml", GOOD), ("b.toml", BAD["bearer"])):
        (tmp_path / name).write_text(text)

    result = check(tmp_path / "a.toml", "--json", tmp_path / "b.toml")

    good, bad = json.loads(result.out)
    assert (result.code, result.err) == (1, "")
    assert (good["File"], good["Good"], good["Notes"]) == (f"{tmp_path}/a.toml", True, [])
    assert [(row["Session"], row["Users"]) for row in good["Sessions"]] == [("backup", [0])]
    assert (bad["Good"], bad["Sessions"]) == (False, [])
    assert (bad["Problem"]["Line"], bad["Problem"]["Column"]) == (3, 1)
    assert bad["Problem"]["Expected"].startswith("'ether' is no bearer, expected some of: ethernet, ")


def test_a_name_that_is_no_text_is_no_trouble(tmp_path: Path) -> None:
    path = os.fsdecode(bytes(tmp_path) + b"/\xff\x1b.toml")
    Path(path).write_text(GOOD)

    result = check(path)

    assert result.code == 0
    assert result.out.startswith(f"{tmp_path}/\\udcff\\x1b.toml: good")
    assert "\\x1b" in check(path + "x").err
