"""The daemon starts, makes the post's rules, and leaves nothing when told to stop."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labkit import Lab, load
from labkit.agent import Agent, eventually


@pytest.fixture
def lab() -> Iterator[Lab]:
    """The post's lab."""
    with Lab(load("three-uplinks"), "kstart", quiet=True) as made:
        yield made


def _ours(lab: Lab) -> list[str]:
    both = lab.ip("client", "-4 rule") + lab.ip("client", "-6 rule")
    routes = lab.ip("client", "-4 route show table all proto 109") + lab.ip(
        "client", "-6 route show table all proto 109"
    )
    return [line for line in both.splitlines() if "proto 109" in line] + routes.splitlines()


def test_start_and_stop(lab: Lab) -> None:
    with Agent(lab, "client", ["--mpathrouting"]) as agent:
        assert len(_ours(lab)) == 3 * (4 + 4) + 3 * (2 + 2)

        assert agent.stop() == 0

        assert _ours(lab) == []


def test_a_new_link_is_served_without_being_told(lab: Lab) -> None:
    with Agent(lab, "client", ["--mpathrouting"]):
        lab.ip("client", "addr add 10.0.1.7/24 dev vethc1")

        eventually(lambda: "10.0.1.7" in lab.ip("client", "-4 rule"))
