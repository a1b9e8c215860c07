"""The stories that the lab tells: all of them holds, and what they print is what the 2016 post shows."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from _story import Story
from labkit import Lab, netns
from labkit.agent import Agent

pytestmark = pytest.mark.kernel
LAB = Path(__file__).resolve().parents[2] / "netns-lab"

# The post's rules of a session, in its order, with the lab's tables; and its Updates and its list of selectors.
ALONE = """\
from all fwmark 0x10000 lookup 65536
from 10.0.1.2 lookup 279
from 10.0.2.2 lookup 281
from 10.0.3.2 lookup 283
from all lookup main
from all lookup default
"""
TOGETHER = (
    """\
from 10.0.2.2 fwmark 0x10000 lookup 281
from 10.0.3.2 fwmark 0x10000 lookup 283
"""
    + ALONE
)
UPDATE = """\
 AllowedBearers = [ ethernet ]
 Bearer = ethernet
 ConnectionType = any
 State = connected
 FlowSelectors = [ ]
 MultipathRoutedServices = [ ]
"""
SERVICES = " MultipathRoutedServices = [ ethernet_265676f2a6d2_cable ethernet_fe96f100e49b_cable ]\n"


def told(scenario: str) -> str:
    """What a scenario prints, all of which must hold; nothing of it may stay behind."""
    argv = [sys.executable, str(LAB / "lab"), "run", scenario]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("\nall of it held\n")
    assert "FAILED" not in done.stdout
    names = re.findall(r"^\[#\] ip netns add (\S+)-client$", done.stderr, re.MULTILINE)
    assert names
    assert [netns.named(f"{name}-") for name in names] == [()] * len(names)
    return done.stdout


def folded(rules: str) -> str:
    """Rules without what today's form adds: the mask, the protocol, rules for specific routes, and ends."""
    lines = []
    for line in rules.splitlines():
        words = re.sub(r"^\d+:\s+| proto 109|/0x7fff0000", "", line).strip()
        if "lookup local" not in words and "suppress_prefixlength" not in words and "unreachable" not in words:
            lines.append(words + "\n")
    return "".join(lines)


def outputs(told: str, command: str) -> list[str]:
    """What a command printed, each time that it was shown."""
    return re.findall(rf"^\$ {re.escape(command)}\n((?:(?!\$ |ok |\n).*\n)*)", told, re.MULTILINE)


def the_posts_second_half(out: str, rules: list[str]) -> None:
    assert [folded(text) for text in rules] == [ALONE, TOGETHER]
    assert out.index(UPDATE) < out.index(SERVICES) < out.index(" FlowSelectors = [ *-*-* *-*-udp-7777-8888 ]\n")
    assert outputs(out, "ip route show table 65536")[0].startswith("default via 10.0.1.1 dev vethc1 ")
    assert outputs(out, "ip route show table 65536")[1].startswith("default via 10.0.3.1 dev vethc3 ")
    assert "elements = { udp . 7777 . 8888 : goto s_1 }" in out
    assert "of the flow, bound to nothing: seen at vethr3 from 10.0.3.2\n" in out


def test_the_posts_second_half_is_told_and_proved() -> None:
    out = told("sessions")

    the_posts_second_half(out, outputs(out, "ip rule"))
    assert len(re.findall("^ok ", out, re.MULTILINE)) > 25


def test_the_demo_tells_both_halves_in_less_than_a_minute() -> None:
    began = time.monotonic()
    out = told("demo")

    assert time.monotonic() - began < 60
    first, *second = outputs(out, "ip rule")[1:4]
    assert folded(first) == ALONE.partition("\n")[2]
    the_posts_second_half(out, second)
    assert re.search(r"^ +-- up1 loses its carrier\n(?: +[\d. -]+\n)+ +-- up1 is back$", out, re.MULTILINE)
    assert re.search(r"^ok +when up1 failed: \d+ ms of silence, full rate after", out, re.MULTILINE)
    assert "picture" not in out


@pytest.mark.parametrize("name", ["post", "sessions", "demo"])
@pytest.mark.parametrize(
    ("word", "status", "text"),
    [("--help", 0, "-q, --quiet"), ("--quite", 2, "unrecognized arguments: --quite"), ("x", 2, "arguments: x")],
)
def test_words_of_a_story(name: str, word: str, status: int, text: str) -> None:
    argv = [sys.executable, str(LAB / "lab"), "run", name, word]
    done = subprocess.run(argv, text=True, capture_output=True, check=False, timeout=30)

    assert done.returncode == status
    assert f"lab run {name}" in (said := done.stdout + done.stderr)
    assert text in said


def test_a_story_that_does_not_hold_fails(capsys: pytest.CaptureFixture[str]) -> None:
    story = Story(cast("Lab", None), cast("Agent", SimpleNamespace(host="client")))
    story.holds(1, "this")
    assert story.end() == 0
    story.holds("", "that")
    assert story.end() == 1
    assert capsys.readouterr().out.endswith("FAILED that\n\nFAILED that\n1 did not hold\n")
