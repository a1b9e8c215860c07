"""The tutorial's lab, typed into a shell of the lab: what it prints is what the tutorial shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import Lab
from labkit.agent import eventually

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs/tutorial.md"
END = "--end-of-output--"


def steps() -> list[tuple[str, list[str]]]:
    """Each command of the lab's blocks, with the lines that it prints."""
    out: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```lab\n(.*?)^```$", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                out.append((line[2:], []))
            else:
                out[-1][1].append(line)
    return out


class Shell:
    """A bash in a host of a lab, which is told line after line."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        for name, module in (("mpathd", "mpathd"), ("mpathctl", "mpathd.ctl")):
            path = folder / name
            path.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
            path.chmod(0o755)
        env = {"PATH": f"{folder}:{os.environ['PATH']}:/usr/sbin:/sbin", "PYTHONPATH": str(ROOT)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self._bash = lab.popen("client", ["bash", "--norc"], env=env, bufsize=1, **pipes)
        self._folder = folder

    def run(self, command: str) -> list[str]:
        """Type a command and give what it printed; the tutorial's files lie in the test's folder."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        if command.endswith("&"):  # its errors may come at any time, and are not part of the tutorial
            command = f"{command[:-1].strip()} {'' if '2>' in command else '2>/dev/null '}&"
        self._bash.stdin.write(command.replace("/tmp/tutorial-", f"{self._folder}/") + f"\necho {END}\n")
        out: list[str] = []
        for line in self._bash.stdout:
            if line.rstrip() == END:
                return out
            out.append(line.rstrip().replace(" proto mpathd", " proto 109"))  # if mpathd is installed here
        raise AssertionError(f"the shell has ended: {out}")

    def until(self, command: str, expected: list[str], seen: list[str]) -> None:
        """Type a command again and again until it prints what is expected."""
        if seen != expected:
            eventually(lambda: self.run(command) == expected, what=f"$ {command}: {expected}; at first: {seen}")

    def end(self) -> None:
        """Stop what was started, and the shell."""
        self.run("kill $(jobs -p) 2>/dev/null; wait")
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        self._bash.wait(10)


def test_it_prints_what_the_tutorial_shows(tmp_path: Path) -> None:
    told = steps()
    assert len(told) > 20, "the blocks are found"
    with Lab("three-uplinks", name=f"tut{os.getpid()}", quiet=True) as lab:
        shell = Shell(lab, tmp_path)
        try:
            for command, expected in told:
                seen = shell.run(command)
                if expected:  # mpathd may need a moment; what only shows something may be typed again
                    shell.until(command, expected, seen)
                else:
                    assert seen == [], command
        finally:
            shell.end()


@pytest.mark.parametrize("name", ["netns-lab/demo", "netns-lab/lab", "conf/install"])
def test_programs_that_it_names_are_there(name: str) -> None:
    assert name in TUTORIAL.read_text()
    assert os.access(ROOT / name, os.X_OK)
