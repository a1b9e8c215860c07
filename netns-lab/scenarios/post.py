"""the 2016 post's first half: services, config, ip rule, ip route, with packets as proof"""

from __future__ import annotations

import socket

from pyroute2 import IPRoute, netns

from _story import Story, across, far_side, quietly, rule_lines, told
from labkit import Watch


def by_another_road(story: Story) -> dict[str, tuple[list[int], set[int]]]:
    """Ask the kernel through pyroute2: for each address, priorities of its rules and interfaces of its table.

    Args:
        story: the lab.
    """
    netns.pushns(story.lab.ns(story.host))
    try:
        out: dict[str, tuple[list[int], set[int]]] = {}
        with IPRoute() as ip:
            for family in (socket.AF_INET, socket.AF_INET6):
                for rule in ip.get_rules(family=family):
                    source, table = rule.get_attr("FRA_SRC"), rule.get_attr("FRA_TABLE")
                    if not source:
                        continue
                    priorities, devices = out.setdefault(source, ([], set()))
                    priorities.append(rule.get_attr("FRA_PRIORITY"))
                    if table and table != 254:
                        devices |= {route.get_attr("RTA_OIF") for route in ip.get_routes(family=family, table=table)}
        return out
    finally:
        netns.popns()


def run(args: list[str]) -> int:
    """Tell the story.

    Args:
        args: see --help.
    """
    with told("three-uplinks", "client", quiet=quietly("post", str(__doc__), args)) as story:
        first_half(story)
        return story.end()


def first_half(story: Story) -> None:
    """Replay the post's first half in a lab that is up.

    Args:
        story: the lab.
    """
    links = story.links()
    story.say("three uplinks, MultipathRouting off")
    before = story.show("mpathctl services")
    story.holds(before.count("\n") == len(links), f"one service for each of {', '.join(links)}")
    story.show("ip rule")
    story.say("turn MultipathRouting on")
    for service in story.services():
        story.show(f"mpathctl config {service['Id']} --mpath_routing yes")
    after = story.show("mpathctl services")
    story.holds(all(line.startswith("*AM") for line in after.splitlines()), "every service shows M")
    rules = story.show("ip rule") + story.show("ip -6 rule")
    for service in story.services():
        story.show(f"ip route show table {service['Table']}")
        story.show(f"ip -6 route show table {service['Table']}")
    story.say("the same, asked of the kernel in another way, and of packets")
    kernel = by_another_road(story)
    with Watch(story.lab, far_side(story.lab, story.host)) as watch:
        for dev, addresses in links.items():
            index = story.lab.index(story.host, dev)
            for family, address in addresses.items():
                priorities, devices = kernel.get(address, ([], set()))
                same = len(priorities) == len(rule_lines(rules, address)) and priorities == sorted(priorities)
                story.holds(same and len(priorities) == 4, f"{address} has its four rules, in order")
                story.holds(devices == {index}, f"the table of {address} leads out by {dev} alone")
                seen = story.way(watch, address, family, f"by {dev} {family}".encode())
                story.holds(seen == (across(story.lab, story.host, dev),), f"bound to {address}: seen at {seen}")
