"""Sessions of a scenario that have links of their own, and the router's count of their packets on each link."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from _bond import ROUTER, elsewhere, uplinks
from _story import Story, across


@dataclass(frozen=True, slots=True)
class Side:
    """A session of this story.

    Args:
        name: its name.
        bearer: what its links are made of.
        port: of its server.
        links: that it may use.
    """

    name: str
    bearer: str
    port: int
    links: tuple[str, ...]


def count(story: Story, sides: Sequence[Side]) -> None:
    """Let the router count the TCP packets of each session on each link.

    Args:
        story: the lab.
        sides: the sessions.
    """
    lines = []
    for dev in uplinks(story):
        for side in sides:
            far, note = across(story.lab, story.host, dev), f'counter comment "{side.name} {dev}"'
            lines += [
                f"add rule inet seen in iifname {far} tcp dport {side.port} {note}",
                f"add rule inet seen out oifname {far} tcp sport {side.port} {note}",
            ]
    chains = "".join(
        f"add chain inet seen {way} {{ type filter hook {hook} priority 0; }}\n"
        for way, hook in (("in", "prerouting"), ("out", "postrouting"))
    )
    story.lab.exec(ROUTER, ["nft", "-f", "-"], input=f"add table inet seen\n{chains}" + "\n".join(lines) + "\n")


def counted(story: Story, sides: Sequence[Side]) -> None:
    """Hold the links of each session against what the router has counted, both ways.

    Args:
        story: the lab.
        sides: the sessions.
    """
    story.say("every TCP packet of each session, as the router's nft has counted them at the far end of each link")
    elsewhere(story, ROUTER, "nft list table inet seen")
    found = json.loads(story.lab.exec(ROUTER, ["nft", "-j", "list", "table", "inet", "seen"]).stdout)["nftables"]
    packets: dict[str, int] = {}
    for rule in (item["rule"] for item in found if "rule" in item):
        number = next(part["counter"]["packets"] for part in rule["expr"] if "counter" in part)
        packets[rule["comment"]] = packets.get(rule["comment"], 0) + number
    for side in sides:
        own = {dev: packets[f"{side.name} {dev}"] for dev in side.links}
        wrong = {dev: packets[f"{side.name} {dev}"] for dev in uplinks(story) if dev not in side.links}
        story.holds(min(own.values()) > 100, f"{side.name}: {_listed(own)}")
        story.holds(not any(wrong.values()), f"{side.name} on the other's links: {_listed(wrong)}")


def _listed(packets: Mapping[str, int]) -> str:
    return ", ".join(f"{number} packets on {dev}" for dev, number in packets.items())
