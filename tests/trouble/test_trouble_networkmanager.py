"""NetworkManager beside mpathd in one namespace: it configures the links and sets endpoints, and they do not fight."""

from __future__ import annotations

import json
import random
import select
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bench.peers.base import end
from bench.peers.networkmanager import NetworkManager
from kernel.conftest import fresh_name
from labkit import Lab
from labkit.agent import MEMORY, Agent, Bus, eventually

pytestmark = pytest.mark.kernel

EVENTS = 200
LOOKS = 1.0  # seconds that stay still, once both have written their last
ADDRESSES = {"10.64.1.2", "10.64.2.2", "fd00:64:1::2", "fd00:64:2::2"}
START, BACK = 20.0, 15.0  # seconds that NetworkManager may take for its links


def endpoints(lab: Lab) -> list[dict[str, Any]]:
    """The endpoints in the kernel."""
    found: list[dict[str, Any]] = json.loads(lab.ip("client", "-j mptcp endpoint show"))
    return found


def status(agent: Agent) -> dict[str, Any]:
    """What mpathd says of itself."""
    found: dict[str, Any] = json.loads(agent.ctl("status", "--json").stdout)
    return found


def whole(lab: Lab) -> bool:
    """Whether each address is there, with one endpoint and its rules."""
    found = [one["address"] for one in endpoints(lab)]
    rules = lab.ip("client", "-4 rule") + lab.ip("client", "-6 rule")
    return sorted(found) == sorted(ADDRESSES) and all(f"from {a} unreachable" in rules for a in ADDRESSES)


def test_networkmanager_beside_mpathd() -> None:
    dice = random.Random(3)
    peer = NetworkManager()
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(peer.topology(2), fresh_name(), quiet=True))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mpathd-", dir=MEMORY)))
        for name in ("nm", "mpathd"):
            (folder / name).mkdir(mode=0o755)
        folder.chmod(0o755)
        bus = stack.enter_context(Bus(folder / "mpathd"))
        agent = stack.enter_context(Agent(lab, "client", ["--mpathrouting"], bus=bus, folder=folder / "mpathd"))
        stack.callback(end, peer.start(lab, folder / "nm", stack))
        eventually(lambda: whole(lab), START, "each address has an endpoint, whoever set it")

        for _ in range(EVENTS):
            number = dice.choice((1, 2))
            match dice.randrange(4):
                case 0:
                    lab.ip("net", f"link set net{number} down")
                case 1:
                    lab.ip("net", f"link set net{number} up")
                case 2:
                    lab.exec("client", ["ip", "addr", "add", f"10.64.{number}.7/24", "dev", f"up{number}"], check=False)
                case _:
                    lab.exec("client", ["ip", "addr", "del", f"10.64.{number}.7/24", "dev", f"up{number}"], check=False)
        for number in (1, 2):
            lab.ip("net", f"link set net{number} up")
            lab.exec("client", ["ip", "addr", "del", f"10.64.{number}.7/24", "dev", f"up{number}"], check=False)
        eventually(lambda: whole(lab), BACK, "each address has one endpoint")

        eventually(lambda: status(agent)["Passes"] == status(agent)["Passes"] - 1, BACK, "mpathd is at rest")
        count, before = status(agent)["Passes"], endpoints(lab)
        select.select([], [], [], LOOKS)  # what is at rest stays as it is, and makes no passes
        assert endpoints(lab) == before
        assert status(agent)["Passes"] <= count + 2
        told = status(agent)
        codes = [finding["Code"] for finding in told["Findings"]]
        assert "contested" not in codes
        assert agent.stop() == 0
        # What is left is NetworkManager's own. Ids do not tell: the kernel gives it the next one, which may be of ours.
        left = endpoints(lab)
        assert all(one in before for one in left)
        assert ("endpoint-shared" in codes) == bool(left)
        ours = len(before) - len(left)
        assert told["Extra"]["MPTCP"].endswith(f", {ours} endpoint{'' if ours == 1 else 's'}") == bool(ours)
