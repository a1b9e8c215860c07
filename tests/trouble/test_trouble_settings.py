"""Settings on disk: old or new whenever it is killed, never neither; what cannot be read is put aside and told."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from subprocess import DEVNULL

import pytest

from kernel.conftest import fresh_name
from labkit import Lab
from labkit.agent import Agent, Bus, eventually
from mpathd.model.policy import Stored
from mpathd.store import Store

KILLS, MIDDLE = 150, 50
ROUNDS = 8  # with the whole daemon


def _stored(number: int) -> Stored:
    """A large one, so that writing takes its time; each is told from the others."""
    services = {f"ethernet_{n:012x}_cable": {"multipath_routing": bool(number % 2)} for n in range(400)}
    return Stored({"multipath_routing": bool(number % 2)}, {**services, f"number_{number}": {"autoconnect": True}})


def _saves_until_killed(folder: Path, told: int) -> None:
    store, number = Store(folder), 0
    while True:
        store.save(_stored(number))
        os.pwrite(told, f"{number:8}".encode(), 0)  # this one was saved, whatever comes
        number += 1


def test_killed_while_saving(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = random.randrange(1 << 32)
    choice, middle = random.Random(seed), 0
    for kill in range(KILLS):
        folder = tmp_path / str(kill)
        told = os.open(tmp_path / "told", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        child = os.fork()
        if not child:
            try:
                _saves_until_killed(folder, told)
            finally:
                os._exit(1)
        eventually(lambda: os.fstat(told).st_size == 8)  # noqa: B023  # the first is saved
        until = time.monotonic() + choice.random() * 0.005
        while time.monotonic() < until:
            pass
        os.kill(child, signal.SIGKILL)
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        last = int(os.pread(told, 8, 0))
        os.close(told)
        middle += (folder / "settings.json.new").exists()

        found, trouble = Store(folder).load()

        assert trouble == "", f"kill {kill} of seed {seed}"
        assert found in (_stored(last), _stored(last + 1)), f"kill {kill} of seed {seed}"
        Store(folder).save(_stored(7))  # what was left half done is in nobody's way
        assert Store(folder).load() == (_stored(7), "")
        assert [path.name for path in folder.iterdir()] == ["settings.json"]
    with capsys.disabled():
        print(f"\nkills while saving: {KILLS}, with a half-written file left: {middle}")
    assert middle >= MIDDLE


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The post's lab, for all: each daemon takes away what it made."""
    with Lab("three-uplinks", fresh_name(), quiet=True) as made:
        yield made


def _settings(agent: Agent) -> dict[str, bool]:
    shown = json.loads(agent.ctl("services", "--json").stdout)
    return {service["Interface"]: service["MultipathRouting"] for service in shown}


def test_killed_while_somebody_sets(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    folder.mkdir()
    with ExitStack() as stack:
        bus = stack.enter_context(Bus(tmp_path))
        agent = stack.enter_context(Agent(lab, "client", bus=bus, folder=folder))
        assert agent.ctl("config", "vethc1", "--mpath_routing", "yes").returncode == 0
        now = {"vethc1": True, "vethc2": False, "vethc3": False}
        assert _settings(agent) == now
        saved = folder / "state" / "settings.json"
        for turn in range(ROUNDS):
            wished = {**now, "vethc2": not now["vethc2"]}
            word = "yes" if wished["vethc2"] else "no"
            before = saved.stat().st_ino
            argv = [sys.executable, "-m", "mpathd.ctl", "config", "vethc2", "--mpath_routing", word]
            asking = lab.popen("client", argv, env=agent.env, stdout=DEVNULL, stderr=DEVNULL)
            try:
                # At once when the new file appears beside the old one, or has taken its place.
                fresh = saved.with_suffix(".json.new")
                eventually(lambda: fresh.exists() or saved.stat().st_ino != before)  # noqa: B023
                agent.kill()
            finally:
                asking.wait(10)

            agent.start()

            found = _settings(agent)
            assert found in (now, wished), f"turn {turn}"
            assert ("from 10.0.2.2 " in lab.ip("client", "-4 rule")) == found["vethc2"]
            now = found


UNREADABLE = {
    "empty": b"",
    "cut off": b'{"version": 1, "defaults": {}, "services": {"ethernet_36e0bd',
    "no JSON": b"multipath_routing = yes\n",
    "no text": bytes(range(128, 256)),
    "another version": b'{"version": 99, "defaults": {}, "services": {}}',
    "another form": b'{"version": 1, "defaults": [], "services": 7}',
    "a list": b"[1, 2, 3]",
    "an unknown value": b'{"version": 1, "defaults": {"multipath_routing": "perhaps"}, "services": {}}',
    "an unknown key": b'{"version": 1, "defaults": {}, "services": {"ethernet_1_cable": {"colour": "red"}}}',
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("which", UNREADABLE)
def test_what_cannot_be_read_is_put_aside(lab: Lab, which: str, tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    (folder / "state").mkdir(parents=True)
    saved = folder / "state" / "settings.json"
    saved.write_bytes(UNREADABLE[which])
    with ExitStack() as stack:
        bus = stack.enter_context(Bus(tmp_path))
        agent = stack.enter_context(Agent(lab, "client", ["--mpathrouting"], bus=bus, folder=folder))

        found = _findings(agent)["settings"]

        assert str(saved) in found
        aside = [path for path in saved.parent.iterdir() if path != saved]
        assert [path.read_bytes() for path in aside] == [UNREADABLE[which]]
        assert aside[0].name in found
        assert _settings(agent) == {"vethc1": True, "vethc2": True, "vethc3": True}  # the defaults are in force
        assert agent.ctl("config", "vethc1", "--mpath_routing", "no").returncode == 0
        assert agent.stop() == 0
        agent.start()
        assert "settings" not in _findings(agent)
        assert _settings(agent) == {"vethc1": False, "vethc2": True, "vethc3": True}


def test_a_disk_that_refuses(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    folder.mkdir()
    (folder / "state").write_text("a file where the folder should be")
    with Bus(tmp_path) as bus, Agent(lab, "client", bus=bus, folder=folder) as agent:
        before = _settings(agent)

        done = agent.ctl("config", "vethc1", "--mpath_routing", "yes")

        assert done.returncode == 1
        assert str(folder / "state") in done.stderr
        assert _settings(agent) == before
        assert "from 10.0.1.2 " not in lab.ip("client", "-4 rule")


def _findings(agent: Agent) -> dict[str, str]:
    done = agent.ctl("status", "--json")
    return {found["Code"]: found["Text"] for found in json.loads(done.stdout)["Findings"]}
