"""mptcpd beside mpathd in one namespace: both set endpoints for the same addresses, and do not fight."""

from __future__ import annotations

import json
import random
import select
from contextlib import ExitStack

import pytest

from bench.peers.base import end
from bench.peers.mptcpd import Mptcpd
from kernel.helpers_bonded import Bonded
from kernel.helpers_mptcp import wait

pytestmark = pytest.mark.kernel

EVENTS = 200
LOOKS = 1.0  # seconds that stay still, once both have written their last, which they have within 5
A1, A2, B1, B2 = "10.81.1.2", "10.81.2.2", "fd00:81:1::2", "fd00:81:2::2"


def shown(bond: Bonded) -> list[dict[str, object]]:
    """The endpoints in the kernel."""
    found: list[dict[str, object]] = json.loads(bond.lab.ip("client", "-j mptcp endpoint show"))
    return found


def homes(bond: Bonded) -> list[str]:
    """Their addresses."""
    return sorted(str(one["address"]) for one in shown(bond))


def passes(bond: Bonded) -> int:
    """How many passes there were."""
    return int(bond.status()["Passes"])


def test_mptcpd_beside_mpathd() -> None:
    dice = random.Random(7)
    with Bonded() as bond, ExitStack() as stack:
        place = bond.agent.folder / "mptcpd"
        place.mkdir(mode=0o755)
        stack.callback(end, Mptcpd().start(bond.lab, place, stack))
        wait(lambda: homes(bond) == sorted((A1, A2, B1, B2)), "each address has one endpoint, whoever set it")
        acts = (
            lambda n: bond.lab.exec("client", ["ip", "addr", "add", f"10.81.{n}.7/24", "dev", f"up{n}"], check=False),
            lambda n: bond.lab.exec("client", ["ip", "addr", "del", f"10.81.{n}.7/24", "dev", f"up{n}"], check=False),
            lambda n: bond.lab.ip("router", f"link set isp{n} down"),
            lambda n: bond.lab.ip("router", f"link set isp{n} up"),
            lambda n: bond.lab.ip("client", f"route replace 198.51.100.{n}/32 via 10.81.{n}.1"),
        )
        for _ in range(EVENTS):
            dice.choice(acts)(dice.choice((1, 2)))
        for n in (1, 2):
            bond.lab.ip("router", f"link set isp{n} up")
            bond.lab.exec("client", ["ip", "addr", "del", f"10.81.{n}.7/24", "dev", f"up{n}"], check=False)
        # It leaves an endpoint behind now and then, at an address that is gone: that is its own.
        wait(lambda: {A1, A2, B1, B2} <= set(homes(bond)), "each address has an endpoint")
        # Ours are taken away in a thread, some milliseconds later.
        wait(
            lambda: not [o for o in shown(bond) if o["address"] not in {A1, A2, B1, B2} and int(str(o["id"])) >= 200],
            "no endpoint of ours at an address that is gone",
        )

        wait(
            lambda: passes(bond) == passes(bond) - 1, "mpathd is at rest: each asking is a pass, and there is no other"
        )
        count = passes(bond)
        before = shown(bond)
        select.select([], [], [], LOOKS)  # what is at rest stays as it is, and makes no passes
        assert shown(bond) == before
        assert passes(bond) <= count + 2
        assert "contested" not in bond.codes()
        theirs = [one for one in shown(bond) if int(str(one["id"])) < 200 and one["address"] in {A1, A2, B1, B2}]
        assert ("endpoint-shared" in bond.codes()) == bool(theirs)

        # What mpathd has set it changes, what mptcpd has set it leaves alone, and says so.
        for link in (1, 2):
            bond.config(link, "off")

        def told_of_all() -> bool:
            left = sorted({A1, A2, B1, B2} & set(homes(bond)))  # ours are taken away some milliseconds later
            told = [f["Text"] for f in bond.status()["Findings"] if f["Code"] == "endpoint-foreign"]
            return len(told) == len(left) and all(any(address in text for text in told) for address in left)

        wait(told_of_all, "each endpoint that is left is told of")
