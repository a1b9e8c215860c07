"""Router advertisements: addresses and default routes come, go, and come back when asked for."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from labkit import Advert, Lab, Topology

pytestmark = pytest.mark.kernel
Raise = Callable[[Topology | str], Lab]


def defaults(lab: Lab) -> set[str]:
    """Devices of the client's IPv6 default routes."""
    found = json.loads(lab.ip("client", "-6 -j route show default"))
    return {way["dev"] for route in found for way in [route, *route.get("nexthops", [])] if "dev" in way}


def addresses(lab: Lab, dev: str) -> set[str]:
    """Global IPv6 addresses of a device of the client."""
    found = json.loads(lab.ip("client", f"-6 -j addr show dev {dev} scope global"))
    return {entry["local"] for link in found for entry in link.get("addr_info", []) if "local" in entry}


def test_up_waits_for_what_the_routers_announce(raised: Raise) -> None:
    lab = raised("dual-stack")
    assert defaults(lab) == {"up1", "up2"}
    assert addresses(lab, "up1") == {"fd00:0:1:0:11:ff:fe00:1"}
    assert addresses(lab, "up2") == {"fd00:0:2:0:11:ff:fe00:2"}


def test_a_router_that_says_goodbye_is_no_default_router(raised: Raise) -> None:
    lab = raised("dual-stack")
    lab.advertise(Advert("r1", "lan", lifetime=0))
    lab.until("client", lambda: "" if defaults(lab) == {"up2"} else "r1 is still a router")
    lab.advertise(Advert("r1", "lan", "fd00:0:1::/64", preference="high"))
    lab.until("client", lambda: "" if defaults(lab) == {"up1", "up2"} else "r1 is no router")


def test_another_prefix_is_another_address(raised: Raise) -> None:
    lab = raised("dual-stack")
    lab.advertise(Advert("r2", "lan", "fd00:0:22::/64", valid=600, preferred=300))
    want = {"fd00:0:2:0:11:ff:fe00:2", "fd00:0:22:0:11:ff:fe00:2"}
    lab.until("client", lambda: "" if addresses(lab, "up2") == want else f"has {addresses(lab, 'up2')}")


def test_a_link_that_comes_back_is_answered(raised: Raise) -> None:
    lab = raised("dual-stack")
    lab.ip("client", "link set up1 down")
    assert defaults(lab) == {"up2"}
    lab.ip("client", "link set up1 up")
    lab.until("client", lambda: "" if defaults(lab) == {"up1", "up2"} else "nobody answered the solicitation")
    lab.wait()
    assert addresses(lab, "up1") == {"fd00:0:1:0:11:ff:fe00:1"}
