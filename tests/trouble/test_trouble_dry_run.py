"""--dry-run prints the commands that make what mpathd makes: typed in a namespace that is alike, they do."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from kernel.conftest import fresh_name, settled
from labkit import Lab
from labkit.agent import Agent
from trouble.outside import Ear, objects

# Main tables of all kinds, on the post's lab: lines after `ip`; then what happens later.
PLAIN: tuple[str, ...] = ()
RICH = (
    "-4 route replace default via 10.0.2.1 dev vethc2 metric 200 mtu 1400 advmss 1360 initcwnd 20 hoplimit 33",
    "-6 route replace default via fd00:0:2::1 dev vethc2 metric 200 mtu 1400 hoplimit 33",
    "-4 route replace default via 10.0.1.1 dev vethc1 metric 100 src 10.0.1.2 quickack 1 rto_min 40ms",
    "-4 route add 198.51.100.0/24 via 10.0.3.77 dev vethc3 src 10.0.3.2 metric 7",
    "-4 route add 198.51.100.0/25 via 10.0.1.1 dev vethc1 tos 0x10",
    "-4 route add 10.0.3.128/25 via 10.0.1.1 dev vethc1",
    "-4 route add 10.0.3.99/32 via 10.0.2.1 dev vethc2",
    "-4 route add default via 10.77.0.1 dev vethc3 onlink metric 900",
    "-4 route add default via inet6 fe80::1 dev vethc3 metric 901",
    "-4 route add 203.0.113.0/24 dev vethc3 scope link",
    "-4 route add 203.0.113.128/25 via 10.0.1.1 dev vethc1 realm 5/7",
    "-6 route add 2001:db8:51::/64 via fe80::1 dev vethc3 metric 12 pref high",
    "-6 route add default via fe80::2 dev vethc3 metric 901 pref low",
    "-6 route add fd00:0:3:0:1::/80 via fd00:0:1::1 dev vethc1",
    "-4 route add unreachable 192.168.0.0/16",
    "-4 route add blackhole 10.0.2.64/26",
    "-6 route add prohibit fd00:0:2:0:5::/80",
    "addr add 10.0.1.9/24 dev vethc1",
    "addr add 10.99.0.1/32 dev vethc2",
    "addr add fd00:0:1::9/128 dev vethc1 nodad",
    "addr add 169.254.7.7/16 dev vethc3 scope link",
)
EQUAL = (
    *(f"-4 route del default dev vethc{n}" for n in (1, 2, 3)),
    *(f"-6 route del default dev vethc{n}" for n in (1, 2, 3)),
    "-4 route add default nexthop via 10.0.1.1 dev vethc1 weight 3 nexthop via 10.0.2.1 dev vethc2",
    "-6 route add default nexthop via fd00:0:1::1 dev vethc1 nexthop via fd00:0:2::1 dev vethc2",
    "-4 route add 198.51.100.0/24 nexthop via 10.0.3.1 dev vethc3 nexthop via 10.0.3.9 dev vethc3 weight 9",
    "-6 route add 2001:db8:51::/64 nexthop via fd00:0:3::1 dev vethc3 nexthop via fd00:0:3::9 dev vethc3",
)
OBJECTS = (
    "-4 route del default dev vethc1",
    "-6 route del default dev vethc2",
    "nexthop add id 7 via 10.0.1.1 dev vethc1",
    "-6 nexthop add id 8 via fd00:0:2::1 dev vethc2",
    "nexthop add id 9 via 10.0.3.1 dev vethc3",
    "nexthop add id 70 group 7/9",
    "-4 route add default nhid 7 metric 50",
    "-6 route add default nhid 8 metric 50",
    "-4 route add 198.51.100.0/24 nhid 70",
)
LATER = (
    "-4 route replace default via 10.0.3.9 dev vethc3 metric 5",
    "-4 route flush default metric 100",
    "addr add 10.0.2.44/24 dev vethc2",
    "addr del fd00:0:1::2/64 dev vethc1",
    "-6 route replace default via fd00:0:3::9 dev vethc3 metric 5",
    "link set vethc2 down",
)
MAINS = {"plain": PLAIN, "rich": RICH, "equal ways": EQUAL, "nexthop objects": OBJECTS}


@pytest.fixture
def labs(request: pytest.FixtureRequest) -> Iterator[tuple[Lab, Lab]]:
    """Two that are alike."""
    with ExitStack() as stack:
        name = getattr(request, "param", "three-uplinks")
        made = [stack.enter_context(Lab(name, fresh_name(), quiet=True)) for _ in range(2)]
        yield made[0], made[1]


def _typed(lab: Lab, agent: Agent) -> int:
    """Types what --dry-run prints, line by line; gives how many there were."""
    with Ear(lab, "client") as ear:
        done = agent.once("--dry-run")
        assert ear.ours() == []
    assert (done.returncode, done.stderr) == (0, "")
    commands = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    for line in commands:
        tool, *words = shlex.split(line)
        assert tool == "ip"
        lab.shell.run(["ip", "-n", lab.ns("client"), *words])
    return len(commands)


@pytest.mark.parametrize("which", MAINS)
def test_typed_it_makes_the_same(labs: tuple[Lab, Lab], which: str) -> None:
    served, typed = labs
    for lab in labs:
        for line in MAINS[which]:
            lab.ip("client", line)
    by_hand = Agent(typed, "client", ["--mpathrouting"])
    with Agent(served, "client", ["--mpathrouting"]) as agent:
        settled(served, "client", "vethc1")

        assert _typed(typed, by_hand) > 20

        assert objects(typed, "client") == objects(served, "client")
        assert _typed(typed, by_hand) == 0
        assert _typed(served, agent) == 0  # it may be asked beside a daemon that runs

        for line in LATER:
            for lab in labs:
                lab.ip("client", line, check=False)
            # Else it may see two things at once: vethc1 borrows an address of vethc2 for a while, whose rules go until
            # it does not, and a link that is set down keeps those that are there.
            settled(served, "client", "vethc1")
        _typed(typed, by_hand)
        assert objects(typed, "client") == objects(served, "client")
        assert _typed(typed, by_hand) == 0


@pytest.mark.parametrize("labs", ["point-to-point", "same-subnet", "dual-stack"], indirect=True)
def test_other_machines(labs: tuple[Lab, Lab]) -> None:
    served, typed = labs
    by_hand = Agent(typed, "client", ["--mpathrouting"])
    with Agent(served, "client", ["--mpathrouting"]):
        settled(served, "client", "up1")

        assert _typed(typed, by_hand) > 10

        assert objects(typed, "client") == objects(served, "client")
        assert _typed(typed, by_hand) == 0
