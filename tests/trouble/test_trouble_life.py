"""Start, stop, keep, release, reload, a second one: what is ours comes and goes as told, and nothing in between."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kernel.conftest import UNREACHABLE, Stream, fresh_name, settled, sink, strays
from labkit import Lab, Watch
from labkit.agent import Agent, Bus, eventually
from trouble.outside import Ear, objects

NOBODY = 65534
PRIMARY = {address: f"vethr{n}" for n in (1, 2, 3) for address in (f"10.0.{n}.2", f"fd00:0:{n}::2")}


@pytest.fixture
def lab() -> Iterator[Lab]:
    """The post's lab."""
    with Lab("three-uplinks", fresh_name(), quiet=True) as made:
        yield made


@pytest.fixture
def watch(lab: Lab) -> Iterator[Watch]:
    """The far sides of the three uplinks; no packet of another's address came by any of them."""
    with Watch(lab, [(f"r{n}", f"vethr{n}") for n in (1, 2, 3)]) as made:
        yield made
        assert strays(made, PRIMARY) == []


def _findings(agent: Agent) -> dict[str, str]:
    done = agent.ctl("status", "--json")
    return {found["Code"]: found["Text"] for found in json.loads(done.stdout)["Findings"]} if done.stdout else {}


@pytest.mark.parametrize("how", ["--keep", "keep = true", "kill -9"])
def test_a_restart_writes_nothing(lab: Lab, watch: Watch, how: str) -> None:
    args = ["--mpathrouting", *(["--keep"] if how == "--keep" else [])]
    config = "[stop]\nkeep = true\n" if how == "keep = true" else ""
    agent = Agent(lab, "client", args, config=config)
    with ExitStack() as stack:
        stack.enter_context(sink(lab, "server"))
        ear = stack.enter_context(Ear(lab, "client"))
        stack.enter_context(agent)
        stream = stack.enter_context(Stream(lab, "client", PRIMARY))
        settled(lab, "client", "vethc3")
        before = objects(lab, "client")
        ear.heard()

        if how == "kill -9":
            agent.kill()
        else:
            assert agent.stop() == 0
        between = objects(lab, "client")
        agent.start()

        assert ear.ours() == []
        assert before == between == objects(lab, "client")
        for address in PRIMARY:
            stream.goes_on(address)


def test_what_changed_while_it_was_away(lab: Lab, watch: Watch) -> None:
    # A link lost its gateway, another got an address: only that is written, and the law holds all the time.
    agent = Agent(lab, "client", ["--mpathrouting", "--keep"])
    with agent, sink(lab, "server"), Ear(lab, "client") as ear, Stream(lab, "client", PRIMARY) as stream:
        settled(lab, "client", "vethc3")
        before = objects(lab, "client")
        assert agent.stop() == 0
        lab.ip("client", "-4 route del default dev vethc2")
        lab.ip("client", "addr add 10.0.1.9/24 dev vethc1")
        ear.heard()

        agent.start()

        written = ear.ours()
        after = objects(lab, "client")
        assert len(after - before) == 4
        assert all(" from 10.0.1.9 " in line for line in after - before)
        assert [line for line in before - after if "default" in line] == list(before - after)
        assert len(written) == len(after ^ before)
        stream.unreachable("10.0.2.2")
        for address in PRIMARY:
            if address != "10.0.2.2":
                stream.goes_on(address)
        assert stream.error("10.0.2.2") in UNREACHABLE


def test_stop_takes_all_away(lab: Lab) -> None:
    def everything() -> str:
        return "".join(
            lab.ip("client", words)
            for words in ("-4 rule", "-6 rule", "-4 route show table all", "-6 route show table all")
        )

    before = everything()
    for number in (signal.SIGTERM, signal.SIGINT):
        with Agent(lab, "client", ["--mpathrouting"]) as agent:
            assert objects(lab, "client")
            agent.signal(number)
            eventually(lambda: not agent.running)
            assert agent.stop() == 0
        assert everything() == before


def test_release_after_a_kill(lab: Lab) -> None:
    with Agent(lab, "client", ["--mpathrouting"]) as agent:
        assert objects(lab, "client")
        refused = agent.once("--release")
        assert refused.returncode == 1
        assert str(agent.pid) in refused.stderr
        assert objects(lab, "client")

        agent.kill()
        before = len(objects(lab, "client"))
        done = agent.once("--release")

        assert (done.returncode, objects(lab, "client")) == (0, frozenset())
        said = done.stdout.splitlines()
        assert len([line for line in said if not line.startswith("[#] ip mptcp ")]) == before
        assert lab.ip("client", "mptcp endpoint show") == ""
        again = agent.once("--release")
        assert (again.returncode, again.stdout) == (0, "")


def test_a_second_one_is_refused(lab: Lab) -> None:
    with Agent(lab, "client", ["--mpathrouting"]) as first, Ear(lab, "client") as ear:
        second = Agent(lab, "client", ["--mpathrouting"])

        done = second.once()

        assert done.returncode == 1
        assert str(first.pid) in done.stderr
        assert ear.ours() == []
        with Agent(lab, "r1", ["--mpathrouting"]) as elsewhere:  # another namespace
            assert elsewhere.running
        assert first.running
        first.kill()
        second.start()  # the namespace is free at once
        assert second.stop() == 0


TAKER = r"""
import socket
place = socket.socket(socket.AF_UNIX)
place.bind("\0mpathd")
place.listen()
print(flush=True)
input()
"""


def test_whoever_takes_its_place_is_named(lab: Lab) -> None:
    """Everybody may take a name; a person must see that it is no mpathd."""
    words = ["setpriv", "--reuid", str(NOBODY), "--clear-groups", sys.executable, "-c", TAKER]
    argv = ["ip", "netns", "exec", lab.ns("client"), *words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as taker:
        assert taker.stdin is not None
        assert taker.stdout is not None
        assert taker.stdout.readline()

        done = Agent(lab, "client", ["--mpathrouting"]).once()

        taker.stdin.close()
    assert done.returncode == 1
    assert f"a process of user {NOBODY} (pid {taker.pid}) has taken mpathd's place" in done.stderr


ONE, OTHER = '[uplinks]\nexclude = ["vethc2"]\n', '[uplinks]\nexclude = ["vethc1"]\n'
BAD = {
    "no TOML": ("[uplinks\n", ":1"),
    "unknown key": ("\n[uplinks]\nexcluded = []\n", ":3"),
    "unknown section": ("\n\n[uplink]\n", ":3"),
    "wrong type": ('[uplinks]\n\nexclude = "vethc1"\n', ":3"),
    "wrong value": ("[numbers]\nprotocol = 1000\n", ":2"),
    "no text": ("\udcff", ""),
    "deep": ("x = " + "[" * 100_000, ""),
    "other numbers": ("[numbers]\nprotocol = 120\n", ""),
}


def test_reload(lab: Lab, tmp_path: Path) -> None:
    def ruled(number: int) -> bool:
        return f"from 10.0.{number}.2 " in lab.ip("client", "-4 rule")

    with Bus(tmp_path) as bus, Agent(lab, "client", ["--mpathrouting"], bus=bus, config=ONE) as agent:
        assert (ruled(1), ruled(2), ruled(3)) == (True, False, True)

        agent.config.write_text(OTHER)
        agent.signal(signal.SIGHUP)

        eventually(lambda: (ruled(1), ruled(2), ruled(3)) == (False, True, True))
        for what, (text, place) in BAD.items():
            before = objects(lab, "client")
            with Ear(lab, "client") as ear:
                agent.config.write_text(text, errors="surrogateescape")
                agent.signal(signal.SIGHUP)

                eventually(lambda: "config" in _findings(agent), what=what)

                found = _findings(agent)["config"]
                assert not place or f"{agent.config}{place}" in found, what
                assert ear.ours() == []
            assert objects(lab, "client") == before
            agent.config.write_text(OTHER)
            agent.signal(signal.SIGHUP)
            eventually(lambda: "config" not in _findings(agent), what=f"good again after {what}")
        agent.config.unlink()
        agent.signal(signal.SIGHUP)
        eventually(lambda: "config" in _findings(agent), what="the file that was named is gone")
        assert (ruled(1), ruled(2), ruled(3)) == (False, True, True)


def test_a_reload_of_the_same_writes_nothing(lab: Lab, tmp_path: Path) -> None:
    with Bus(tmp_path) as bus, Agent(lab, "client", ["--mpathrouting"], bus=bus, config=ONE) as agent:
        with Ear(lab, "client") as ear:
            for _ in range(5):
                passes = _passes(agent)
                agent.signal(signal.SIGHUP)
                eventually(lambda: _passes(agent) > passes + 1)  # noqa: B023  # asking is a pass too
            assert ear.ours() == []


def _passes(agent: Agent) -> int:
    return int(json.loads(agent.ctl("status", "--json").stdout)["Passes"])


def test_a_start_with_a_bad_configuration_changes_nothing(lab: Lab) -> None:
    agent = Agent(lab, "client", ["--mpathrouting", "--keep"])
    with agent:
        assert agent.stop() == 0
    with Agent(lab, "client", ["--mpathrouting"]) as agent:
        before = objects(lab, "client")
        agent.kill()
        for what, (text, place) in BAD.items():
            if what == "other numbers":  # good at a start
                continue
            agent.config.write_text(text, errors="surrogateescape")
            done = agent.once()
            assert done.returncode == 1, what
            assert f"{agent.config}{place}" in done.stderr, what
            assert "Traceback" not in done.stderr
        assert objects(lab, "client") == before
