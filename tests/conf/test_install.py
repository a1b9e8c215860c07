"""conf/install into a folder: what it puts there, that it works from there, and that nothing is left after --remove.

Two tests install with the real pip, which takes seconds; the others work on copies of what the first one made (the
manifest knows no staging folder), or with a Python that only pretends to make an environment.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALL = ROOT / "conf/install"
CONFIG = "etc/mpathd/mpathd.conf"
EXAMPLES = sorted((ROOT / "conf/policy.d").iterdir())


def install(*arguments: object, status: int = 0, cwd: Path = ROOT, python: object = sys.executable) -> str:
    """Run conf/install and give what it said."""
    env = {**os.environ, "PYTHON": str(python)}
    command = [str(INSTALL), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False, cwd=cwd)

    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr


def tree(folder: Path) -> set[str]:
    """Every file below a folder, except what is inside the virtual environment."""
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {path for path in files if not path.startswith("usr/local/lib/mpathd/")}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a real installation has made; to be looked at only."""
    folder = tmp_path_factory.mktemp("stage")
    install("--destdir", folder)
    return folder


@pytest.fixture
def copy(stage: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(stage, tmp_path / "copy", symlinks=True))


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """A Python that makes an empty environment at once, and leaves only docutils to the real one."""
    path = tmp_path / "quick"
    path.write_text(f"""#!/bin/sh
case $* in
"-m venv "*) mkdir -p "$3/bin" "$3/lib" && touch "$3/pyvenv.cfg" && cp "$0" "$3/bin/python" ;;
"-m docutils"*) exec {sys.executable} "$@" ;;
esac
""")
    path.chmod(0o755)
    return path


def test_everything_is_in_its_place(stage: Path) -> None:
    pages = {path.name.removesuffix(".rst") for path in (ROOT / "docs/man").glob("*.rst")}
    expected = {
        "etc/dbus-1/system.d/net.connman.conf",
        "etc/dbus-1/system.d/net.mpathd.conf",
        "etc/iproute2/rt_protos.d/mpathd.conf",
        CONFIG,
        "etc/systemd/networkd.conf.d/10-mpathd.conf",
        "etc/systemd/system/mpathd.service",
        "usr/local/bin/mpathctl",
        "usr/local/sbin/mpathd",
        "usr/local/share/mpathd/manifest",
        *(f"usr/local/share/doc/mpathd/policy.d/{path.name}" for path in EXAMPLES),
        *(f"usr/local/share/man/man{page[-1]}/{page}.gz" for page in pages),
    }
    completions = {path for path in tree(stage) if "completion" in path or "site-functions" in path}

    assert tree(stage) - completions == expected
    assert len(completions) == len(list((ROOT / "conf/completion").glob("*")))


def test_examples_are_no_policy_and_the_folder_for_policies_is_empty(stage: Path) -> None:
    assert list((stage / "etc/mpathd/policy.d").iterdir()) == []
    for path in EXAMPLES:
        assert (stage / "usr/local/share/doc/mpathd/policy.d" / path.name).read_text() == path.read_text()


def test_nothing_names_the_place_where_it_was_staged(stage: Path) -> None:
    named = [path for path in stage.rglob("*") if path.is_file() and str(stage).encode() in path.read_bytes()]

    assert named == []


def test_the_programs_are_those_of_the_project_file(stage: Path) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, place in scripts.items():
        program = stage / ("usr/local/sbin" if name == "mpathd" else "usr/local/bin") / name
        lines = program.read_text().splitlines()

        assert lines[0] == "#!/usr/local/lib/mpathd/bin/python -I"
        assert f"from {place.split(':')[0]} import {place.split(':')[1]}" in lines
        assert os.access(program, os.X_OK)


def test_the_environment_runs_from_where_it_lies(stage: Path) -> None:
    python = stage / "usr/local/lib/mpathd/bin/python"
    code = "import mpathd; print(mpathd.__file__)"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True, cwd="/")

    assert done.stdout.startswith(str(stage)), "its own copy, and not the clone"


def test_mpathd_runs_and_tells_its_version(stage: Path) -> None:
    python = stage / "usr/local/lib/mpathd/bin/python"
    program = stage / "usr/local/sbin/mpathd"
    done = subprocess.run([python, "-I", program, "--version"], capture_output=True, text=True, check=True, cwd="/")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert done.stdout == f"mpathd {version}\n"


def test_man_pages_are_built(stage: Path) -> None:
    page = gzip.decompress((stage / "usr/local/share/man/man8/mpathd.8.gz").read_bytes()).decode()

    assert '.TH "mpathd" "8"' in page


def test_the_unit_starts_the_installed_program(stage: Path) -> None:
    unit = (stage / "etc/systemd/system/mpathd.service").read_text()

    assert "ExecStart=/usr/local/sbin/mpathd --keep\n" in unit


def test_a_second_installation_keeps_a_changed_configuration_and_drops_what_is_obsolete(copy: Path) -> None:
    config, manifest = copy / CONFIG, copy / "usr/local/share/mpathd/manifest"
    config.write_text("# mine\n")
    obsolete = copy / "usr/local/share/man/man8/older.8.gz"
    obsolete.touch()
    manifest.write_text(manifest.read_text() + "file - /usr/local/share/man/man8/older.8.gz\n")

    said = install("--destdir", copy)

    assert f"/{CONFIG} was changed here and stays" in said
    assert config.read_text() == "# mine\n"
    assert (copy / f"{CONFIG}.new").read_text() == (ROOT / "conf/mpathd.conf").read_text()
    assert not obsolete.exists()
    assert not (copy / "usr/local/lib/mpathd.old").exists()
    assert "was changed here and stays" in install("--remove", "--destdir", copy)
    assert tree(copy) == {CONFIG}


def test_an_unchanged_configuration_is_replaced_by_a_newer_one(tmp_path: Path, quick: Path) -> None:
    stage = tmp_path / "stage"
    install("--destdir", stage, python=quick)
    older = "# an older version's\n"
    (stage / CONFIG).write_text(older)
    check = subprocess.run(["cksum"], input=older, capture_output=True, text=True, check=True).stdout.strip()
    manifest = stage / "usr/local/share/mpathd/manifest"
    lines = [line for line in manifest.read_text().splitlines() if not line.endswith(CONFIG)]
    manifest.write_text("\n".join([*lines, f"conf {check.replace(' ', ':')} /{CONFIG}", ""]))

    install("--destdir", stage, python=quick)

    assert (stage / CONFIG).read_text() == (ROOT / "conf/mpathd.conf").read_text()
    assert not (stage / f"{CONFIG}.new").exists()


def test_removal_leaves_nothing(copy: Path) -> None:
    said = install("--remove", "--destdir", copy)

    assert list(copy.iterdir()) == []
    assert f"[#] rm {copy}/usr/local/sbin/mpathd\n" in said


def test_packagers_get_the_places_of_the_distribution(tmp_path: Path, quick: Path) -> None:
    install("--destdir", "stage", "--prefix", "/usr", cwd=tmp_path, python=quick)
    stage = tmp_path / "stage"

    assert "ExecStart=/usr/sbin/mpathd " in (stage / "usr/lib/systemd/system/mpathd.service").read_text()
    assert (stage / "usr/sbin/mpathd").read_text().startswith("#!/usr/lib/mpathd-python/bin/python -I\n")
    assert (stage / "usr/share/dbus-1/system.d/net.mpathd.conf").exists()
    assert (stage / "usr/lib/systemd/networkd.conf.d/10-mpathd.conf").exists()
    theirs = stage / "usr/lib/mpathd/policy.d/other-package.toml"
    theirs.touch()
    install("--destdir", "stage", "--prefix", "/usr", cwd=tmp_path, python=quick)
    theirs.unlink()  # fails if an upgrade took it along
    install("--remove", "--destdir", stage, "--prefix=/usr")
    assert list(stage.iterdir()) == []


def test_removal_keeps_what_people_changed_and_says_so(copy: Path) -> None:
    (copy / CONFIG).write_text("# mine\n")
    foreign = copy / "etc/mpathd/policy.d/video.toml"
    foreign.touch()
    settings = copy / "var/lib/mpathd/settings.json"
    settings.parent.mkdir(parents=True)
    settings.touch()

    said = install("--remove", "--destdir", copy)

    assert tree(copy) == {CONFIG, "etc/mpathd/policy.d/video.toml", "var/lib/mpathd/settings.json"}
    assert f"/{CONFIG} was changed here and stays; to remove it: rm '{copy}/{CONFIG}'" in said
    assert (
        f"/var/lib/mpathd (settings of services, and sessions) stays; to remove it: rm -r '{copy}/var/lib/mpathd'"
        in said
    )


def test_purge_takes_these_too(copy: Path) -> None:
    (copy / CONFIG).write_text("# mine\n")
    settings = copy / "var/lib/mpathd/settings.json"
    settings.parent.mkdir(parents=True)
    settings.touch()

    install("--remove", "--purge", "--destdir", copy)

    assert sorted(str(path.relative_to(copy)) for path in copy.rglob("*")) == ["var", "var/lib"], "made by others"


def test_what_did_not_finish_can_be_removed(tmp_path: Path) -> None:
    """Pip finds nothing, since it may ask nobody."""
    deaf = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull, "PYTHON": sys.executable}
    command = [str(INSTALL), "--destdir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **deaf}, check=False)
    assert done.returncode == 1
    assert (
        f"it did not finish; run it again, or take away what is there: conf/install --remove --destdir '{tmp_path}'"
        in (done.stderr)
    )

    install("--remove", "--destdir", tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--prefix", "usr"), "--prefix 'usr' is not an absolute path"),
        (("--prefix",), "--prefix needs a folder"),
        (("--purge",), "--purge without --remove"),
        (("--frobnicate",), "no option '--frobnicate'"),
    ],
    ids=["relative", "nothing", "purge", "unknown"],
)
def test_wrong_options_are_refused(arguments: tuple[str, ...], said: str) -> None:
    assert said in install(*arguments, status=2)


def test_nothing_to_remove_is_an_error(tmp_path: Path) -> None:
    assert "nothing is installed" in install("--remove", "--destdir", tmp_path, status=1)


def test_without_root_it_says_what_to_do(tmp_path: Path) -> None:
    """`id` answers as for an ordinary user, so that this holds for root as well."""
    fake = tmp_path / "id"
    fake.write_text("#!/bin/sh\ncase $1 in -u) echo 1000 ;; -un) echo somebody ;; esac\n")
    fake.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([INSTALL], capture_output=True, text=True, env=env, check=False)

    assert done.returncode == 1
    assert done.stderr == (
        "install: only root can do this, and you are somebody\n  use: sudo conf/install, or --destdir DIR to stage it\n"
    )


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    said = install("--destdir", tmp_path, status=1, python="/bin/false")

    assert "'/bin/false' is no Python 3.11 or newer" in said
    assert list(tmp_path.iterdir()) == []
