"""`session exec` as a program, against mpathd's face: who enters what, and what becomes of the command."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bus.harness import Scene
from ctl.carried import Carried
from ctl.program import PATIENCE, PROGRAM, Running, environment, run
from mpathd.model.errors import NotSupported, PermissionDenied
from mpathd.model.session import Origin

OWN = ("--bearer", "ethernet")
REFUSALS = (
    NotSupported("session exec needs cgroup v2, which this machine has not", "mount it: mount -t cgroup2 ..."),
    PermissionDenied("session 'video' is not the caller's", "become root"),
)


def executed(scene: Scene, *words: str, **more: Any) -> Any:
    return run(scene.address, "session", "exec", *words, **more)


def running(scene: Scene, *words: str) -> Running:
    """A command that runs on; what it reads ends when it is waited for."""
    return Running(scene.address, "session", "exec", *words, stdin=subprocess.PIPE)


def eventually(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        os.sched_yield()


def state(pid: int) -> str:
    """The letter of a process's state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.fixture(params=["named", "own"])
def session(request: pytest.FixtureRequest, scene: Scene, carried: Carried) -> list[str]:
    """The words before --: a session that is there, or one of the command's own."""
    assert carried.entered == []
    if request.param == "own":
        return list(OWN)
    assert run(scene.address, "session", "create", "video").code == 0
    return ["video"]


def test_the_command_takes_mpathctls_place(scene: Scene, carried: Carried) -> None:
    assert run(scene.address, "session", "create", "video").code == 0
    with running(scene, "video", "sh", "-c", "echo $$; exit 7") as command:
        result = command.end()

    assert (result.code, result.err) == (7, "")
    assert result.out == f"{command.process.pid}\n"
    assert carried.entered == [("video", command.process.pid)]


def test_a_session_of_its_own_lives_as_long_as_the_command(scene: Scene, carried: Carried) -> None:
    words = (*OWN, "--flow", "*-*-udp-*-53", "--description", "names", "--", "sh", "-c", "echo $PPID; read x")
    with running(scene, *words) as command:
        (parent,) = command.wait(lambda lines: len(lines) == 1)
        ((name, item),) = scene.agent.wished.items()
        assert (item.settings.origin, item.settings.allowed_bearers) == (Origin.DBUS, ("ethernet",))
        assert [*map(str, item.settings.selectors)] == ["*-*-udp-*-53"]
        assert carried.entered == [(name, command.process.pid)] == [(name, int(parent))]
        command.process.send_signal(signal.SIGTERM)
        assert command.process.wait(PATIENCE) == 128 + signal.SIGTERM
    eventually(lambda: not scene.agent.wished)


def test_what_it_says_reads_and_returns_is_the_commands(scene: Scene, session: list[str]) -> None:
    for code in (0, 1, 3, 77, 255):
        result = executed(scene, *session, "--", "sh", "-c", f"cat; echo no >&2; exit {code}", input="in\n")
        assert (result.code, result.out, result.err) == (code, "in\n", "no\n")


def test_words_arrive_as_they_are(scene: Scene, session: list[str]) -> None:
    given = ("-x", "--json", "--help", "", "a b", "--", "*", "\udcff")
    show = "import os, sys; print([os.fsencode(word) for word in sys.argv[1:]])"
    result = executed(scene, *session, "--", sys.executable, "-c", show, *given)

    assert result.out == f"{[os.fsencode(word) for word in given]}\n"


def test_environment_and_signals_are_as_they_were(scene: Scene, session: list[str]) -> None:
    """Python ignores SIGPIPE, and writes into its environment what it thinks of the locale."""
    env = {**environment(scene.address), "MARK": "\udcfe"}
    env = {name: value for name, value in env.items() if not name.startswith("LC_") and name != "LANG"}
    shown = "tr '\\0' '\\n' < /proc/$$/environ | sort; exec grep -E '^Sig(Blk|Ign)' /proc/self/status"

    def plain() -> None:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    more: dict[str, Any] = {"env": env, "preexec_fn": plain, "encoding": "utf-8", "errors": "surrogateescape"}
    without = subprocess.run(["sh", "-c", shown], capture_output=True, check=True, **more).stdout
    result = executed(scene, *session, "--", "sh", "-c", shown, **more)

    *lines, blocked, ignored = result.out.splitlines()
    assert lines == sorted(f"{name}={value}" for name, value in env.items())
    assert [signals(blocked), signals(ignored)] == [signals(line) for line in without.splitlines()[-2:]]


def signals(line: str) -> int:
    """A set of signals in /proc; without the C library's own, 32 and 33, which its posix_spawn leaves ignored."""
    return int(line.split()[1], 16) & ~(3 << 31)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGPIPE, signal.SIGSEGV], ids=str)
def test_a_command_that_dies_of_a_signal(scene: Scene, carried: Carried, number: int) -> None:
    result = executed(scene, *OWN, "--", "sh", "-c", f"ulimit -c 0; kill -{int(number)} $$")

    assert (result.code, result.err) == (128 + number, "")
    assert len(carried.entered) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGINT])
def test_signals_are_passed_on(scene: Scene, session: list[str], number: int) -> None:
    show = (
        "import signal, sys\n"
        f"signal.pthread_sigmask(signal.SIG_BLOCK, [{int(number)}]); print('ready', flush=True)\n"
        f"sys.exit(signal.sigwait([{int(number)}]))\n"
    )
    with running(scene, *session, "--", sys.executable, "-c", show) as command:
        command.wait(lambda lines: lines == ["ready"])
        command.process.send_signal(number)
        result = command.end()

    assert (result.code, result.err) == (int(number), "")


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("no-such-command-anywhere", 127, "No such file or directory"),
        ("/nonexistent/x", 127, "No such file or directory"),
        ("/etc/passwd/x", 127, "Not a directory"),
        ("/etc/passwd", 126, "Permission denied"),
        ("/", 126, "Permission denied"),
        ("x" * 300, 126, "File name too long"),
    ],
)
def test_a_command_that_cannot_be_run(scene: Scene, session: list[str], name: str, code: int, said: str) -> None:
    result = executed(scene, *session, "--", name)

    assert (result.code, result.out, result.err) == (code, "", f"mpathctl: cannot run '{name}': {said}\n")


def test_a_text_without_an_interpreters_name_is_the_shells(scene: Scene, session: list[str], tmp_path: Path) -> None:
    """As shells have it, and although another program of that name comes later in the path."""
    script = tmp_path / "cat"
    script.write_text('echo "$0 $1"; exit 9\n')
    script.chmod(0o755)

    assert executed(scene, *session, "--", str(script), "a b").out == f"{script} a b\n"
    path = {**environment(scene.address), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert executed(scene, *session, "--", "cat", env=path).code == 9


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_what_mpathd_refuses_is_told_and_nothing_runs(
    scene: Scene, carried: Carried, session: list[str], tmp_path: Path, refusal: Any
) -> None:
    carried.refusals["Enter"] = refusal
    result = executed(scene, *session, "--", "touch", str(tmp_path / "ran"))

    assert (result.code, result.out, result.err) == (1, "", f"mpathctl: {refusal}\n")
    assert not (tmp_path / "ran").exists()
    eventually(lambda: [*scene.agent.wished] in ([], ["video"]))


def test_a_session_that_cannot_be_made_or_found(scene: Scene, carried: Carried, tmp_path: Path) -> None:
    for words in (("nobody",), ("--interface", "of-sixteen-bytes"), ("--user", "nobody-of-this-name")):
        result = executed(scene, *words, "--", "touch", str(tmp_path / "ran"))
        assert (result.code, result.out) == (1, "")
        assert len(result.err.splitlines()) >= 2
    assert not (tmp_path / "ran").exists()
    assert carried.entered == []


def test_mpathd_that_is_not_there(scene: Scene, session: list[str], tmp_path: Path) -> None:
    scene.do(scene.face.stop())
    result = executed(scene, *session, "--", "touch", str(tmp_path / "ran"))

    assert (result.code, result.err) == (3, "mpathctl: mpathd is not running (systemctl start mpathd)\n")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "COMMAND is missing"),
        (("video",), "COMMAND is missing"),
        (("video", "--"), "COMMAND is missing"),
        (("video", "--", ""), "COMMAND is empty"),
        (("--", "ls"), "give NAME, or options of a new session"),
        (("video", *OWN, "--", "ls"), "give NAME or options of a new session, not both"),
        ((*OWN, "video", "ls"), "give NAME or options of a new session, not both"),
        (("--bearer", "ether", "--", "ls"), "cannot be 'ether'"),
        (("--watch", "--", "ls"), "no option '--watch'"),
        (("\udcff", "ls"), "expected text in UTF-8"),
    ],
)
def test_a_line_without_sense_is_found_before_anybody_is_asked(words: tuple[str, ...], said: str) -> None:
    result = run("unix:path=/nonexistent", "session", "exec", *words)

    assert (result.code, result.out) == (2, "")
    assert said in result.err


def test_it_is_told_when_the_session_ends_before_the_command(scene: Scene, carried: Carried) -> None:
    with running(scene, *OWN, "--", "sh", "-c", "echo ready; read x") as command:
        command.wait(lambda lines: lines == ["ready"])
        ((name, _),) = scene.agent.wished.items()
        path = f"/net/mpathd/session/{name}"
        assert run(scene.address, "session", "destroy", path).code == 0
        assert command.process.stderr is not None
        assert command.process.stderr.readline() == b"mpathctl: the session has ended; the command goes on\n"
        scene.do(scene.face.stop())
        assert command.process.stderr.readline() == b"mpathctl: mpathd has gone; the command goes on\n"
        scene.bus.kill()
        assert b"the bus cannot be reached" in command.process.stderr.readline()
        command.process.send_signal(signal.SIGTERM)
        assert command.process.wait(PATIENCE) == 128 + signal.SIGTERM
    assert len(carried.entered) == 1


class Terminal:
    """Mpathctl with a terminal of its own, as its session's leader.

    Args:
        scene: where mpathd is.
        words: the command line.
    """

    def __init__(self, scene: Scene, *words: str) -> None:
        self.said = b""
        self.pid, self.file = pty.fork()
        if not self.pid:
            os.execve(PROGRAM[0], [*PROGRAM, *words], environment(scene.address))  # noqa: S606

    def wait(self, text: bytes) -> None:
        """Read until something was said.

        Args:
            text: what.
        """
        until = time.monotonic() + PATIENCE
        while text not in self.said:
            assert time.monotonic() < until, self.said
            self.said += os.read(self.file, 4096)

    def type(self, text: bytes) -> None:
        """Press keys.

        Args:
            text: which.
        """
        os.write(self.file, text)

    def end(self) -> int:
        """Wait for its end and give the exit status."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.file)
        return os.waitstatus_to_exitcode(status)


COUNTS = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGUSR1])
print('rea' 'dy', flush=True)
signal.sigwait([signal.SIGINT]); print('on' 'ce', flush=True)
print('then', signal.sigwait([signal.SIGINT, signal.SIGUSR1]).name, flush=True)
"""


def test_ctrl_c_reaches_the_command_once(scene: Scene, carried: Carried) -> None:
    """The terminal tells it to all that run in it: passed on, it would come twice."""
    terminal = Terminal(scene, "session", "exec", *OWN, "--", sys.executable, "-c", COUNTS)
    terminal.wait(b"ready")
    terminal.type(b"\x03")
    terminal.wait(b"once")
    os.kill(terminal.pid, signal.SIGUSR1)
    terminal.wait(b"then SIGUSR1\r\n")

    assert terminal.end() == 0
    assert carried.entered[0][1] == terminal.pid


def test_a_command_that_stops_stops_mpathctl_too_and_goes_on_with_it(scene: Scene, carried: Carried) -> None:
    """So that a shell sees that its job has stopped."""
    terminal = Terminal(scene, "session", "exec", *OWN, "--", "sh", "-c", "echo $$; kill -STOP $$; echo on; exit 6")
    _, status = os.waitpid(terminal.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.kill(terminal.pid, signal.SIGCONT)
    terminal.wait(b"on\r\n")

    assert terminal.end() == 6
    assert len(carried.entered) == 1


def test_without_a_terminal_mpathctl_waits_while_the_command_is_stopped(scene: Scene, carried: Carried) -> None:
    """Nobody would tell it to go on."""
    words = [*PROGRAM, "session", "exec", *OWN, "--", "sh", "-c", "echo $$; kill -STOP $$; exit 6"]
    env = environment(scene.address)
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True) as command:
        assert command.stdout is not None
        pid = int(command.stdout.readline())
        eventually(lambda: state(pid) == "T")
        eventually(lambda: state(command.pid) == "S")
        os.kill(pid, signal.SIGCONT)
        assert command.wait(PATIENCE) == 6
    assert len(carried.entered) == 1


def test_whoever_started_mpathctl_may_ignore_that_children_end(scene: Scene, session: list[str]) -> None:
    """That is inherited, and then nobody could ask how a child has ended."""

    def deaf() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    assert executed(scene, *session, "--", "sh", "-c", "exit 4", preexec_fn=deaf).code == 4
