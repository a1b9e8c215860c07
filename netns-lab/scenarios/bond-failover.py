"""one MPTCP connection while a link goes down, comes back, and another one goes silent without losing its carrier"""

from __future__ import annotations

from _bond import ROUTER, SETTLE, Wanted, bonded, elsewhere, subflows, uplinks, wanted
from _run import Run
from _story import Story

GAP_LOST = 400.0  # milliseconds of silence after a link has gone, which mpathd sees
GAP_SILENT = 1500.0  # after one has become silent, which only the kernel can notice, by what is not acknowledged
SHARE = 0.85  # of the remaining links' rate that they have to carry
DATA = 0.6  # of it that the program has to get: what waits for a piece that is sent again reaches it later
DROP = (
    "'add table ip fault; add chain ip fault way {{ type filter hook forward priority 0; }}; "
    "add rule ip fault way iifname {0} drop; add rule ip fault way oifname {0} drop'"
)


def run(args: list[str]) -> int:
    """Tell the story.

    Args:
        args: see --help.
    """
    want = wanted("bond-failover", str(__doc__), args, links=3, least=2, seconds=4.0)
    with bonded(want) as story:
        _failover(story, want)
        return story.end()


def _failover(story: Story, want: Wanted) -> None:
    links = uplinks(story)
    first, second = links[:2]
    story.say(f"{len(links)} links carry one connection")
    with Run(story, want, 4) as transfer:
        transfer.go_on(want.seconds)
        flows = subflows(story)
        lost = transfer.mark(f"{first} goes down")
        routes = _down(story, first)
        over = [transfer.settled(len(links) - 1)]
        transfer.go_on(want.seconds)
        story.show("mpathctl services")
        back = transfer.mark(f"{first} is back")
        _up(story, first, routes)
        took = transfer.used(first)
        transfer.go_on(want.seconds)
        silent = transfer.mark(f"{second} goes silent, with carrier")
        elsewhere(story, ROUTER, "nft " + DROP.format("isp" + second.removeprefix("up")))
        over.append(transfer.settled(len(links) - 1))
        transfer.go_on(want.seconds)
        end = transfer.now
        subflows(story)
        story.show("nstat -asz TcpRetransSegs MPTcpExtMPJoinSynAckRx MPTcpExtSubflowStale MPTcpExtSubflowRecover")
    rest = (len(links) - 1) * want.megabits
    gaps = [transfer.gap(since, until, rest) for since, until in ((lost, back), (silent, end))]
    transfer.say(lost, back, f"{gaps[0][0]:.0f} ms of silence")
    transfer.say(silent, end, f"{gaps[1][0]:.0f} ms of silence")
    transfer.table(end)
    transfer.draw("bond-failover", "A link fails, the connection stays", end)

    story.say("what it should be")
    story.holds(flows == len(links), f"{flows} subflows before anything failed")
    for text, since, until, alive in (
        ("all links", SETTLE, lost, links),
        (f"{first} down", over[0], back, [dev for dev in links if dev != first]),
        (f"{second} silent", over[1], end, [dev for dev in links if dev != second]),
    ):
        full = len(alive) * want.megabits
        rate, wire = transfer.got(since, until), sum(transfer.carried(dev, since, until) for dev in alive)
        told = f"{text}: {wire:.1f} Mbit/s on {' '.join(alive)} once settled, {rate:.1f} Mbit/s at the program"
        story.holds(wire >= SHARE * full and rate >= DATA * full, told)
    print(f"{first} carried data again {took:.1f} s after it was back")
    texts = ((f"{first} went down", GAP_LOST), (f"{second} went silent", GAP_SILENT))
    for (text, most), (gap, told) in zip(texts, gaps, strict=True):
        story.holds(gap <= most, f"when {text}: {told}")
    transfer.proved()


def _down(story: Story, dev: str) -> list[str]:
    """Set a link down, and give main's routes by it, which the kernel forgets then."""
    routes = story.lab.ip(story.host, f"route show dev {dev} proto boot").splitlines()
    story.show(f"ip link set {dev} down")
    return [f"{route} dev {dev}" for route in routes]


def _up(story: Story, dev: str, routes: list[str]) -> None:
    """Set it up again, and do what a DHCP client does then."""
    story.show(f"ip link set {dev} up")
    for route in routes:
        story.show(f"ip route add {route}")
