"""`mptcp exec` as a program: where it looks for the library, and what the command gets."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ctl.program import PATIENCE, Result, environment
from mpathd.ctl import mptcpexec

NOWHERE = "unix:path=/nonexistent"
# Our main, which looks into folders of the test's; nobody may put anything into /usr/lib for a test.
MAIN = """
import sys
from pathlib import Path
from mpathd.ctl import mptcpexec
from mpathd.ctl.main import main
mptcpexec.FOLDERS, mptcpexec.ENABLED = (sys.argv[1],), Path(sys.argv[2])
sys.exit(main(["mptcp", "exec", *sys.argv[3:]]))
"""


class Place:
    """Folders in which the library may lie, and the sysctl.

    Args:
        folder: of the test.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.enabled = folder / "enabled"
        self.enabled.write_text("1\n")

    def put(self, where: str, name: str = "libmptcpwrap.so.0.0.1") -> Path:
        """Put a library there, any that loads everywhere."""
        path = self.folder / where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(_some_library(), path)
        return path

    def run(self, *words: str, **more: str) -> Result:
        """Run it."""
        argv = [sys.executable, "-c", MAIN, str(self.folder), str(self.enabled), *words]
        done = subprocess.run(
            argv, env=environment(NOWHERE, **more), capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert "Traceback" not in done.stderr
        return Result(done.returncode, done.stdout, done.stderr)


def _some_library() -> Path:
    """One that this process has loaded."""
    name = ctypes.util.find_library("m") or ""
    ctypes.CDLL(name)
    maps = Path("/proc/self/maps").read_text().splitlines()
    return next(Path(line.split()[-1]) for line in maps if line.split()[-1].endswith(name))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Without a library."""
    return Place(tmp_path)


@pytest.mark.parametrize("where", ["", "mptcpize", f"{os.uname().machine}-linux-gnu/mptcpize"])
def test_the_command_has_the_library(place: Place, where: str) -> None:
    library = place.put(where)

    assert place.run("--", "sh", "-c", 'echo "$LD_PRELOAD"; exit 7') == Result(7, f"{library}\n", "")


def test_what_is_preloaded_already_stays_behind_it(place: Place) -> None:
    library, other = place.put("mptcpize"), place.put("", "other.so")

    assert place.run("--", "printenv", "LD_PRELOAD", LD_PRELOAD=str(other)).out == f"{library}:{other}\n"


def test_the_last_version_is_taken(place: Place) -> None:
    place.put("mptcpize", "libmptcpwrap.so.0.0.1")
    library = place.put("mptcpize", "libmptcpwrap.so.0.0.2")

    assert place.run("printenv", "LD_PRELOAD").out == f"{library}\n"


def test_without_the_library_the_command_is_not_run(place: Place) -> None:
    result = place.run("--", "echo", "run")

    assert (result.code, result.out) == (1, "")
    assert f"no libmptcpwrap.so in {place.folder} or below" in result.err
    assert "apt install mptcpize" in result.err


def test_without_mptcp_the_command_is_not_run(place: Place) -> None:
    place.put("")
    place.enabled.write_text("0\n")
    off = place.run("--", "echo", "run")
    place.enabled.unlink()
    none = place.run("--", "echo", "run")

    assert [(one.code, one.out) for one in (off, none)] == [(1, ""), (1, "")]
    assert "sysctl -w net.mptcp.enabled=1" in off.err
    assert "this kernel has no MPTCP" in none.err


def test_a_command_that_cannot_be_run(place: Place) -> None:
    place.put("")
    text = place.folder / "text"
    text.write_text("nothing")

    missing, closed = place.run("--", "mpathd-has-no-such-command"), place.run("--", str(text))
    assert (missing.code, closed.code) == (127, 126)
    assert missing.err == "mpathctl: cannot run 'mpathd-has-no-such-command': No such file or directory\n"
    assert "Permission denied" in closed.err


def test_the_usual_folders_are_looked_into() -> None:
    """Debian's place of today is among them."""
    places = {str(place) for place in mptcpexec._places()}

    assert {"/usr/lib/mptcpize", "/usr/lib64/mptcpize", "/usr/local/lib"} <= places
    assert any(place.endswith("-linux-gnu/mptcpize") for place in places) == bool(list(Path("/usr/lib").glob("*-gnu")))
