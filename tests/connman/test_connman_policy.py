"""ConnMan's session policies in ConnMan's own folder are read where mpathd stands in for ConnMan, and nowhere else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from connman.programs import CONFIG
from kernel.helpers_sessions import fresh_name
from labkit import Lab
from labkit.agent import Agent, Bus, eventually

pytestmark = pytest.mark.kernel

PLACE = "/var/lib/connman/session_policy_local"
USER = 41005
POLICY = f"[policy_ethernet]\nuid = {USER}\nAllowedBearers = wifi ethernet\n"


@contextmanager
def serving(folder: Path, config: str) -> Iterator[Agent]:
    """Run mpathd where ConnMan's state folder is one of the test's, and nothing of this machine's is.

    Args:
        folder: becomes /var/lib/connman.
        config: of mpathd.
    """
    mounts = f"mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/connman && mount --bind {folder} /var/lib/connman"
    own = folder.parent / "mpathd"
    own.mkdir()
    policies = ["--policy-dir", str(folder.parent / "policy.d")]
    with Bus(own) as bus, Lab("three-uplinks", fresh_name(), quiet=True) as lab:
        with Agent(lab, "client", policies, bus=bus, config=config, folder=own, prelude=mounts) as agent:
            yield agent


def sessions(agent: Agent) -> list[Any]:
    """The sessions, as mpathctl tells."""
    done = agent.ctl("session", "list", "--json")
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


def marked(agent: Agent) -> bool:
    """Whether the kernel marks what the user sends."""
    return f"{USER} : goto" in agent.lab.exec("client", ["nft", "-nn", "list", "ruleset"]).stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder that becomes /var/lib/connman."""
    made = tmp_path / "connman"
    made.mkdir()
    return made


def test_its_policies_are_read_and_watched(folder: Path) -> None:
    with serving(folder, CONFIG) as agent:
        assert sessions(agent) == []
        inside = folder / "session_policy_local"
        inside.mkdir()  # ConnMan's plugin makes it at its first start
        (folder / "new").write_text(POLICY)
        (folder / "new").rename(inside / "ethernet.policy")

        eventually(lambda: marked(agent), what="the policy is in the kernel")
        (session,) = sessions(agent)
        assert (session["Session"], session["Users"]) == ("policy_ethernet", [str(USER)])
        assert (session["AllowedBearers"], session["State"]) == (["wifi", "ethernet"], "connected")
        assert session["Owner"] == f"{PLACE}/ethernet.policy"

        (inside / "ethernet.policy").unlink()
        eventually(lambda: not marked(agent), what="it has gone with its file")
        assert sessions(agent) == []


def test_a_file_of_ours_with_the_same_name_wins(folder: Path) -> None:
    inside, ours = folder / "session_policy_local", folder.parent / "policy.d"
    for place, bearers in ((inside, "ethernet"), (ours, "cellular")):
        place.mkdir()
        (place / "same.policy").write_text(f"[policy_x]\nuid = {USER}\nAllowedBearers = {bearers}\n")
    with serving(folder, CONFIG) as agent:
        (session,) = sessions(agent)
        assert (session["AllowedBearers"], session["Owner"]) == (["cellular"], f"{ours}/same.policy")


def test_without_the_key_they_are_left_alone(folder: Path) -> None:
    inside, ours = folder / "session_policy_local", folder.parent / "policy.d"
    for place, user in ((inside, USER), (ours, os.getuid())):
        place.mkdir()
        (place / f"u{user}.policy").write_text(f"[policy_u{user}]\nuid = {user}\n")
    with serving(folder, "") as agent:
        assert [session["Session"] for session in sessions(agent)] == [f"policy_u{os.getuid()}"]
        assert not marked(agent)
