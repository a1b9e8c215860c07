"""The script `netns-lab/lab`: its verbs, exit status and errors, as root and as an ordinary user."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from labkit import netns

pytestmark = pytest.mark.kernel
LAB = Path(__file__).resolve().parents[2] / "netns-lab"
NOBODY = 65534
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
Run = Callable[..., subprocess.CompletedProcess[str]]
HELLO = '''"""Says hello.

And more."""
import os

from labkit import Lab


def run(args):
    with Lab("uplinks-1", f"hello{os.getpid()}", quiet=True) as lab:
        print(lab.exec("client", ["ip", "-br", "link", "show", "up1"]).stdout.split()[1], *args)
    return 4
'''


@pytest.fixture
def place() -> Iterator[Path]:
    """A copy of netns-lab that everybody may read, with a scenario, and a state folder beside it."""
    folder = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
    shutil.copytree(LAB, folder / "netns-lab", ignore=shutil.ignore_patterns("__pycache__", "scenarios"))
    scenarios = folder / "netns-lab" / "scenarios"
    scenarios.mkdir()
    (scenarios / "hello.py").write_text(HELLO)
    (folder / "state").mkdir()
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["root", "nobody"])
def lab(request: pytest.FixtureRequest, place: Path) -> Run:
    """Runs the script as root, or as an ordinary user."""
    prefix: tuple[str, ...] = () if request.param == "root" else AS_NOBODY
    if prefix:
        os.chown(place / "state", NOBODY, NOBODY)
    env = {"PATH": PATH, "XDG_RUNTIME_DIR": str(place / "state")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [*prefix, str(place / "netns-lab" / "lab"), *words]
        return subprocess.run(argv, env=env, text=True, capture_output=True, check=False, timeout=30, cwd=place)

    return run


def holders(place: Path) -> list[int]:
    """Pids of processes that hold user namespaces for labs of this state folder."""
    states = [json.loads(path.read_text()) for path in (place / "state").glob("*/*.json")]
    return [state["holder"]["pid"] for state in states if state["holder"]]


def keepers(name: str) -> int:
    """A handle of the lab's one background process; readable once it has ended."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().decode().split("\0")
            if "labkit.keeper" in words and f"{name}-r1" in words:
                found.append(int(folder.name))
    (pid,) = found
    return os.pidfd_open(pid)


def runs(pid: int) -> bool:
    """Whether the process is there and not just waiting to be buried."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_from_up_to_down(lab: Run, place: Path, name: str) -> None:
    as_user = (place / "state").stat().st_uid != 0
    up = lab("up", "dual-stack", "--name", name)
    assert up.returncode == 0, up.stderr
    try:
        assert f"[#] ip netns add {name}-client\n" in up.stderr
        assert "client" in up.stderr.rpartition("[#]")[2]  # the drawing
        assert bool(netns.named(f"{name}-")) != as_user  # an ordinary user's are not even visible outside
        again = lab("up", "dual-stack", "--name", name)
        assert (again.returncode, again.stderr) == (
            1,
            f"lab: lab {name} is up already; topology dual-stack; take it down first: lab down --name {name}\n",
        )
        done = lab("exec", "--name", name, "-q", "client", "--", "ping", "-c1", "-W2", "2001:db8:9::9")
        assert (done.returncode, done.stderr) == (0, "")
        assert lab("exec", "--name", name, "r1", "--", "sh", "-c", "exit 7").returncode == 7
        shown = lab("show", "--name", name)
        assert shown.returncode == 0, shown.stderr
        assert f"[#] ip -n {name}-r2 -6 route\n" in shown.stdout
        assert "default via 10.0.2.1 dev up2 metric 200" in shown.stdout
        assert f"up: {name} (dual-stack)" in lab("list").stdout
        unknown = lab("exec", "--name", name, "nobody", "--", "true")
        assert (unknown.returncode, unknown.stderr) == (
            2,
            "lab: topology dual-stack has no host 'nobody'; its hosts: client r1 r2 server\n",
        )
        pids = holders(place)
        keeper = keepers(name)
        assert [runs(pid) for pid in pids] == ([True] if as_user else [])
    finally:
        down = lab("down", "--name", name)
    assert down.returncode == 0, down.stderr
    assert not any(runs(pid) for pid in pids)
    assert select.select([keeper], [], [], 5.0)[0], "the keeper still runs"
    os.close(keeper)
    assert list((place / "state").iterdir()) == []
    gone = lab("show", "--name", name)
    assert gone.returncode == 1
    advice = f"raise one: lab up three-uplinks --name {name} (lab list shows all)"
    assert gone.stderr == f"lab: lab {name} is not up; {advice}\n"


def test_a_failed_up_leaves_nothing(lab: Run, place: Path, name: str) -> None:
    (place / "bad.toml").write_text('description = ""\ndrawing = ""\n[host.a]\nroutes = ["default via 10.0.0.1"]\n')
    failed = lab("up", "./bad.toml", "--name", name)
    assert failed.returncode == 1
    assert f"lab: cannot: ip -n {name}-a route add default via 10.0.0.1" in failed.stderr
    assert list((place / "state").iterdir()) == []


def test_a_lab_whose_holder_died_is_forgotten(place: Path, lab: Run, name: str) -> None:
    assert lab("up", "dual-stack", "--name", name).returncode == 0
    pids = holders(place)
    keeper = keepers(name)
    for pid in pids:
        os.kill(pid, 9)
        assert select.select([keeper], [], [], 5.0)[0], "the keeper outlives its owner"
    if pids:
        assert "has ended; lab down" in lab("exec", "--name", name, "client", "--", "true").stderr
        assert lab("list").stdout.endswith(f"gone: {name} (lab down --name {name} forgets it)\n")
    assert lab("down", "--name", name).returncode == 0
    assert select.select([keeper], [], [], 5.0)[0], "the keeper still runs"
    os.close(keeper)
    assert list((place / "state").iterdir()) == []


def test_run_gives_the_scenarios_status(lab: Run) -> None:
    done = lab("run", "hello", "--loud", "x")
    assert (done.returncode, done.stdout) == (4, "UP --loud x\n"), done.stderr


def test_a_scenario_that_lacks_a_package_says_so(lab: Run, place: Path) -> None:
    (place / "netns-lab" / "scenarios" / "poor.py").write_text('"""Poor."""\nimport no_such_package\n')
    done = lab("run", "poor")
    assert done.returncode == 1
    assert "lab: scenario poor needs the Python package no_such_package; this is " in done.stderr
    assert "; netns-lab/demo and tests/run make a .venv" in done.stderr


def test_that_package_is_found_in_the_clones_venv(lab: Run, place: Path) -> None:
    (place / "netns-lab" / "scenarios" / "rich.py").write_text(
        '"""Rich."""\nimport _shared\n\n\ndef run(args):\n    print(_shared.WORD, *args)\n    return 0\n'
    )
    subprocess.run(["python3", "-m", "venv", "--without-pip", place / ".venv"], env={"PATH": PATH}, check=True)
    (site,) = (place / ".venv").glob("lib/python*/site-packages")
    (site / "only_there.py").write_text("WORD = 'there'\n")
    (place / "netns-lab" / "scenarios" / "_shared.py").write_text("from only_there import WORD as WORD\n")
    subprocess.run(["chmod", "-R", "a+rX", place], check=True)
    done = lab("run", "rich", "indeed")
    assert (done.returncode, done.stdout) == (0, "there indeed\n"), done.stderr


def test_list_shows_topologies_and_scenarios(lab: Run) -> None:
    listed = lab("list").stdout
    assert "  three-uplinks       a client with three uplinks to one server, as in the 2016\n" in listed
    assert "  hello               Says hello.\n" in listed


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        ((), 2, "the following arguments are required: VERB"),
        (("sing",), 2, "invalid choice: 'sing'"),
        (("up", "nowhere"), 2, "lab: no such topology; nowhere; there are: dual-stack"),
        (("up", "three-uplinks", "--name", "a/b"), 2, "lab: a lab's name is made of letters, digits, _ . and -"),
        (("run", "nowhere"), 2, "lab: no such scenario; nowhere; there are: hello"),
        (("down",), 1, "lab: lab lab is not up"),
    ],
)
def test_wrong_words(place: Path, words: tuple[str, ...], status: int, text: str) -> None:
    env = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(place / "state")}
    done = subprocess.run(
        [str(place / "netns-lab" / "lab"), *words], env=env, text=True, capture_output=True, check=False
    )
    assert done.returncode == status
    assert text in done.stderr


def test_nobody_reads_any_more(place: Path) -> None:
    env = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(place / "state")}
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [place / "netns-lab" / "lab", "list"], env=env, text=True, stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_help(place: Path) -> None:
    done = subprocess.run([place / "netns-lab" / "lab", "--help"], text=True, capture_output=True, check=True)
    for verb in ("up", "shell", "exec", "show", "down", "list", "run"):
        assert f"\n    {verb} " in done.stdout


def test_point_to_point_as_an_ordinary_user(place: Path, name: str) -> None:
    """Wherever /dev/net/tun is everybody's, as Debian has it; here in a mount namespace of the test's own."""
    os.chown(place / "state", NOBODY, NOBODY)
    script = """
        set -e
        mknod "$1/tun" c 10 200; chmod 666 "$1/tun"; mount --bind "$1/tun" /dev/net/tun
        lab="setpriv --reuid=65534 --regid=65534 --clear-groups $1/netns-lab/lab"
        $lab up point-to-point -q --name "$2"
        $lab exec -q --name "$2" client -- ping -q -c1 -W2 -I tun0 2001:db8:9::9
        $lab down -q --name "$2"
    """
    env = {"PATH": PATH, "XDG_RUNTIME_DIR": str(place / "state")}
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(place), name]
    done = subprocess.run(argv, env=env, text=True, capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "1 received" in done.stdout


def test_options_stand_before_the_verb_or_behind_it(lab: Run, name: str) -> None:
    for words in (["-q", "--name", name, "up", "same-subnet"], ["--name", name, "down", "-q"]):
        done = lab(*words)
        assert (done.returncode, done.stderr) == (0, ""), words
    refused = lab("-q", "run", "hello")
    assert refused.returncode == 2
    assert "run takes no --name and no -q" in refused.stderr


def test_advice_is_for_the_lab_that_was_named(lab: Run) -> None:
    done = lab("show", "--name", "nothere")

    assert done.returncode == 1
    assert "raise one: lab up three-uplinks --name nothere " in done.stderr


def test_a_list_is_aligned_and_fits_a_terminal() -> None:
    done = subprocess.run([LAB / "lab", "list"], text=True, capture_output=True, check=True, timeout=30)
    lines = [line for line in done.stdout.splitlines() if line.startswith("  ")]

    assert max(map(len, lines)) < 80
    assert all(line[20:22] == "  " and line[22] != " " for line in lines)
    assert any(line.startswith("  bond-session-paths  two") for line in lines)
