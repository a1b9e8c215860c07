"""The commands about sessions against a real mpathd in a lab: what they say is what the kernel has."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from labkit import Lab, load
from labkit.agent import Agent, Bus, eventually

pytestmark = pytest.mark.kernel

_numbers = count(1)
POLICY = '[session.policed]\nflow_selectors = ["*-*-udp-*-9"]\nallowed_bearers = ["wifi"]\n'


@pytest.fixture(scope="module")
def agent() -> Iterator[Agent]:
    """Mpathd in the post's lab, with every service multipath-routed, and a folder of policy files."""
    with tempfile.TemporaryDirectory(prefix="ctl-") as name, Bus(Path(name)) as bus:
        policies = Path(name) / "policy.d"
        policies.mkdir()
        (policies / "policed.toml").write_text(POLICY)
        with (
            Lab(load("three-uplinks"), f"ctl{os.getpid()}x{next(_numbers)}", quiet=True) as lab,
            Agent(lab, "client", ["--mpathrouting", "--policy-dir", str(policies)], bus=bus) as running,
        ):
            yield running


def done(agent: Agent, *words: str) -> str:
    """What a command prints that must do its work."""
    result = agent.ctl(*words)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def record(agent: Agent, name: str) -> Any:
    return json.loads(done(agent, "session", "show", name, "--json"))


def rules(agent: Agent, mark: int) -> list[str]:
    """The rules of a session, as `ip` tells."""
    return [line for line in agent.lab.ip("client", "-4 rule").splitlines() if f"fwmark {mark:#x}" in line]


def test_a_session_from_birth_to_end(agent: Agent) -> None:
    done(agent, "session", "create", "video", "--bearer", "ethernet", "--flow", "*-*-udp-7777-8888")
    made = record(agent, "video")

    assert (made["State"], made["Bearer"], made["Origin"]) == ("connected", "ethernet", "named")
    assert made["Interface"] in {"vethc1", "vethc2", "vethc3"}
    assert len(made["MultipathRoutedServices"]) == 2
    assert made["IPv4"]["Address"] in agent.lab.ip("client", f"-4 addr show dev {made['Interface']}")
    assert rules(agent, made["Mark"])
    assert f"dev {made['Interface']}" in agent.lab.ip("client", f"-4 route show default table {made['Mark']}")
    assert f"\n MultipathRoutedServices = [ {' '.join(made['MultipathRoutedServices'])} ]\n" in done(
        agent, "session", "show", "video"
    )

    other = next(name for name in ("vethc1", "vethc2", "vethc3") if name != made["Interface"])
    done(agent, "session", "change", "video", "--interface", other)
    assert record(agent, "video")["Interface"] == other
    assert f"dev {other}" in agent.lab.ip("client", f"-4 route show default table {made['Mark']}")

    done(agent, "session", "destroy", "video")
    assert not rules(agent, made["Mark"])
    assert agent.ctl("session", "show", "video").returncode == 1


def test_disconnect_shows(agent: Agent) -> None:
    done(agent, "session", "create", "calls", "--flow", "*-*-tcp-*-5060")
    done(agent, "session", "disconnect", "calls")
    assert record(agent, "calls")["State"] == "disconnected"
    done(agent, "session", "connect", "calls")
    assert record(agent, "calls")["State"] == "connected"
    done(agent, "session", "destroy", "calls")


def test_a_session_of_a_policy_file_is_shown_and_kept(agent: Agent) -> None:
    assert record(agent, "policed")["Origin"] == "policy"
    assert "session: policed\n  link: disconnected\n" in done(agent, "status")
    for words in (("destroy", "policed"), ("change", "policed", "--flow="), ("create", "policed")):
        result = agent.ctl("session", *words)
        assert (result.returncode, result.stdout) == (1, "")
        assert "policed.toml" in result.stderr


def test_a_session_stays_over_a_restart(agent: Agent) -> None:
    done(agent, "session", "create", "kept", "--flow", "*-*-tcp-*-1", "--description", "kept")
    agent.stop()
    assert agent.ctl("session", "list").returncode == 3
    agent.start()

    eventually(lambda: agent.ctl("session", "list").returncode == 0)
    assert record(agent, "kept")["FlowSelectors"] == ["*-*-tcp-*-1"]
    done(agent, "session", "destroy", "kept")
