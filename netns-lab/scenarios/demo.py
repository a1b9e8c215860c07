"""the main job in a minute: the post's two halves, a cable is pulled and put back, MPTCP goes on by a backup link"""

from __future__ import annotations

import socket
from pathlib import Path

from _story import PORT, SERVER, Story, across, far_side, quietly, told
from labkit import Watch, send_udp
from labkit.agent import eventually
from labkit.ear import Ear
from labkit.scenario import load
from post import by_another_road, first_half
from sessions import second_half

OURS = 109  # protocol of mpathd's routes and rules, as shown above
MPTCP = Path("/proc/sys/net/mptcp")


def run(args: list[str]) -> int:
    """Tell the story.

    Args:
        args: see --help.
    """
    with told("three-uplinks", "client", quiet=quietly("demo", str(__doc__), args)) as story:
        first_half(story)
        second_half(story)
        _pull(story)
        story.say("and nothing stays behind when mpathd stops")
        story.agent.stop()
        left = story.lab.ip(story.host, "rule") + story.lab.ip(story.host, "-6 rule")
        print(left.rstrip())
        story.holds(not by_another_road(story), "no rule with a source is left, asked of the kernel in another way")
        failed = story.end()
    return _backup(args) or failed


def _backup(args: list[str]) -> int:
    print("\n# MPTCP, in a lab of its own: two links of a rate, the second one a backup", flush=True)
    if not MPTCP.exists():
        print("not shown: this kernel has no MPTCP", flush=True)
        return 0
    return load("bond-backup")(["--seconds", "2", "--no-svg", *args])


def _tell(ear: Ear) -> None:
    took, writes = ear.reaction(OURS)
    # A busy machine wakes the listener late, and then it hears everything at once.
    when = f"{took * 1000:.1f} ms" if took > 0.0001 else "too soon for this busy machine to tell"
    print(f"mpathd wrote {writes} changes, the last one {when} after the kernel's first event")


def _letters(story: Story, dev: str) -> str:
    return next(str(service["Letters"]) for service in story.services() if service["Interface"] == dev)


def _pull(story: Story) -> None:
    links = story.links()
    dev = next(iter(links))  # the one that main's best default leaves by: the hardest case
    others = links[list(links)[1]]
    far = across(story.lab, story.host, dev)

    story.say(f"pull the cable of {dev}, the link that unbound traffic takes")
    with Ear(story.lab, story.host) as ear, Watch(story.lab, far_side(story.lab, story.host)) as watch:
        story.unplug(dev)
        _tell(ear)
        eventually(lambda: not _letters(story, dev).endswith("R"), 5, "the service is idle")
        story.show("mpathctl services")
        story.show("ip rule")
        for family, address in links[dev].items():
            server = SERVER[socket.AddressFamily(family)]
            sent = send_udp(story.lab, story.host, server, PORT, source=address, payload=b"lost")
            story.holds(not sent.ok, f"bound to {address}: the socket hears at once that it cannot leave ({sent})")
        story.holds(not watch.packets(payload=b"lost"), "and not one packet of it left by another link")
        for family, address in others.items():
            story.holds(story.way(watch, address, family, b"others"), f"bound to {address}: goes on by its own link")

        story.say("put it back")
        ear.events.clear()
        story.plug(dev)
        _tell(ear)
        eventually(lambda: _letters(story, dev).endswith("R"), 5, "the service is ready")
        story.show("mpathctl services")
        story.show("mpathctl status")
        for family, address in links[dev].items():
            seen = story.way(watch, address, family, b"again")
            story.holds(seen == (far,), f"bound to {address}: seen at {seen}")
