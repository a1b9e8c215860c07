"""Programs that other people wrote for ConnMan: Debian's connmanctl and ConnMan's own scripts, as they are.

They are fetched and unpacked, never installed, and know nothing of mpathd but a bus on which somebody is net.connman.
"""

from __future__ import annotations

import os
import platform
import re
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any, Self, TypeVar

from bench.peers.connman import PACKAGES
from bench.peers.fetch import environment, program, unpacked
from kernel.helpers_sessions import Case
from labkit.agent import Bus, eventually

T = TypeVar("T")

# The scripts are in no release before trixie; they are plain Python.
SCRIPTS, RELEASE = ("connman-tests",), "trixie"
# What the scripts import, for this machine's own Python.
BINDINGS = ("python3-dbus", "python3-gi", "gir1.2-glib-2.0")

CONFIG = "[dbus]\nconnman = true\n"
PATIENCE = 20.0


class Running:
    """A program while it runs; whatever it prints is kept.

    Args:
        argv: the program.
        env: its environment.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/"
        )
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self.text = ""
        self._seen = 0

    def end(self) -> None:
        """End it, if it has not ended yet."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def say(self, line: str) -> None:
        """Type a line.

        Args:
            line: what a person would type.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def wait(self, wanted: Callable[[str], T]) -> T:
        """Read until what was printed satisfies a condition; give its result.

        Args:
            wanted: looks at everything so far.
        """
        assert self.process.stdout is not None
        until = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not (result := wanted(self.text)):
                assert selector.select(max(until - time.monotonic(), 0)), f"waited in vain; so far:\n{self.text}"
                data = self.process.stdout.read()
                assert data, f"it ended; so far:\n{self.text}"
                self.text += data.decode()
        return result

    def wait_for(self, *parts: str) -> str:
        """Read until all of some texts were printed since the last time; give what was.

        Args:
            parts: the texts.
        """
        start = self._seen
        found = self.wait(lambda text: text[start:] if all(part in text[start:] for part in parts) else "")
        self._seen = start + len(found)
        return found

    def skip(self) -> None:
        """Let wait_for begin behind what was printed so far."""
        self._seen = len(self.text)

    def provoke(self, act: Callable[[], object], part: str) -> None:
        """Do something again and again until it is seen: programs that only watch do not say when they begin.

        Args:
            act: what is to be seen.
            part: what is printed when it is.
        """
        assert self.process.stdout is not None
        stdout = self.process.stdout

        def seen() -> bool:
            act()
            self.text += (stdout.read() or b"").decode()
            return part in self.text

        eventually(seen, PATIENCE, f"{part} is seen")


class World:
    """mpathd as ConnMan in the post's lab, and ConnMan's programs beside it.

    Args:
        more: of Case.

    Attributes:
        ids: the services' identifiers, by the order of their links.
    """

    def __init__(self, **more: Any) -> None:
        self.case = Case(config=CONFIG, **more)
        self._stack = ExitStack()
        self._running: list[Running] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._client = unpacked("connman", PACKAGES)
            self._scripts = unpacked("connman-tests", SCRIPTS, RELEASE) / "usr/share/connman/test"
            self._bindings = unpacked("connman-bindings", BINDINGS)
            self._connmanctl = str(program(self._client, "usr/bin/connmanctl"))
            stack.enter_context(self.case)
            found = self.case.services()
            self.ids = [found[link] for link in self.case.links]
            folder = self.case.folder / "session"
            folder.mkdir()
            self.session_bus = stack.enter_context(Bus(folder))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for program_ in self._running:
            program_.end()
        self._stack.close()

    # connmanctl.

    @property
    def _client_env(self) -> dict[str, str]:
        own = environment(self._client)
        return {"PATH": os.environ["PATH"], "DBUS_SYSTEM_BUS_ADDRESS": self.case.bus.address, **own}

    def ctl(self, *words: str) -> str:
        """Run connmanctl to its end and give what it prints; it must not complain. Its exit status says nothing.

        Args:
            words: the command.
        """
        out, err = self._ctl(*words)
        assert err == ""
        return out

    def refused(self, *words: str) -> str:
        """Run connmanctl to its end and give its complaint; it must print nothing else.

        Args:
            words: the command.
        """
        out, err = self._ctl(*words)
        assert out == ""
        return err

    def _ctl(self, *words: str) -> tuple[str, str]:
        argv = [self._connmanctl, *words]
        done = subprocess.run(
            argv, env=self._client_env, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd="/"
        )
        return done.stdout, done.stderr

    def ctl_running(self, *words: str) -> Running:
        """Start connmanctl; without a command it takes lines.

        Args:
            words: the command.
        """
        # Its output would wait in a buffer, since it is no terminal.
        return self._started(["stdbuf", "-oL", self._connmanctl, *words], self._client_env)

    def _started(self, argv: Sequence[str], env: Mapping[str, str]) -> Running:
        self._running.append(Running(argv, env))
        return self._running[-1]

    def end_programs(self) -> None:
        """End all that were started, and wait until mpathd has seen their sessions end."""
        while self._running:
            self._running.pop().end()
        eventually(lambda: self.sessions() == "", what="no session is left")

    # Scripts.

    @property
    def _script_env(self) -> dict[str, str]:
        libraries = f"{self._bindings}/usr/lib/{platform.machine()}-linux-gnu"
        return {
            **environment(self._bindings),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{self._bindings}/usr/lib/python3/dist-packages",
            "PYTHONUNBUFFERED": "1",
            "GI_TYPELIB_PATH": f"{libraries}/girepository-1.0",
            "DBUS_SYSTEM_BUS_ADDRESS": self.case.bus.address,
            "DBUS_SESSION_BUS_ADDRESS": self.session_bus.address,
        }

    def script(self, name: str, *words: str) -> str:
        """Run a script of ConnMan's to its end and give what it prints; it must not complain.

        Args:
            name: of the script.
            words: its arguments.
        """
        argv = [str(self._scripts / name), *words]
        done = subprocess.run(
            argv, env=self._script_env, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd="/"
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def script_running(self, name: str, *words: str) -> Running:
        """Start a script of ConnMan's.

        Args:
            name: of the script.
            words: its arguments.
        """
        return self._started([str(self._scripts / name), *words], self._script_env)

    # mpathd.

    def restore(self) -> None:
        """Put all services in use, and into their first order, if they are not."""
        listed = [(line.split()[-1], line[1]) for line in self.ctl("services").splitlines()]
        for name, letter in listed:
            if letter != "A":
                self.ctl("config", name, "--autoconnect", "yes")
        if [name for name, _ in listed] != self.ids:
            for before, name in pairwise(self.ids):
                self.ctl("move-after", name, before)

    def nudge(self) -> None:
        """Change something that everybody tells who watches, and undo it."""
        for word in ("no", "yes"):
            self.ctl("config", self.ids[-1], "--autoconnect", word)

    def sessions(self) -> str:
        """What mpathctl lists of sessions of clients."""
        lines = self.case.agent.ctl("session", "list").stdout.splitlines(keepends=True)
        return "".join(line for line in lines if line.endswith(" dbus\n"))


def updates(text: str, path: str) -> list[dict[str, str]]:
    """What test-session has printed of Updates: name to value, as text.

    Args:
        text: its output.
        path: of the client's object.
    """
    blocks = re.findall(rf"^Update called at {re.escape(path)}\n((?:    .*\n)*)", text, re.MULTILINE)
    return [dict(re.findall(r"^    (\w+) = (.*)$", block, re.MULTILINE)) for block in blocks]
