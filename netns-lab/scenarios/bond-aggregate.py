"""one MPTCP connection over 1, 2, 3, 4 links that join while it runs: throughput adds up"""

from __future__ import annotations

from _bond import CLIENT, SETTLE, Wanted, bonded, subflows, uplinks, use, wanted
from _run import Run
from _story import Story

SHARE = 0.95  # of n times one link that n links have to bring
OVER_TCP = 1.85  # times plain TCP on one link that two links have to bring


def run(args: list[str]) -> int:
    """Tell the story.

    Args:
        args: see --help.
    """
    want = wanted("bond-aggregate", str(__doc__), args, links=4, least=2, seconds=3.0)
    with bonded(want, "off") as story:
        plain = _plain(story, want)
        _aggregate(story, want, plain)
        return story.end()


def _plain(story: Story, want: Wanted) -> float:
    story.say("plain TCP, for comparison: one link is all it can use")
    with Run(story, want, 1, mptcp=False) as alone:
        alone.go_on(want.seconds)
        rate = alone.got(SETTLE, alone.now)
    print(f"plain TCP: {rate:.1f} Mbit/s")
    return rate


def _aggregate(story: Story, want: Wanted, plain: float) -> None:
    story.say("one MPTCP connection; a link more every few seconds")
    links = uplinks(story)
    got: list[float] = []
    with Run(story, want, len(links)) as transfer:
        for number, dev in enumerate(links, 1):
            since = transfer.mark(f"{dev} joins" if number > 1 else f"{dev} alone")
            use(story, dev, "on")
            transfer.go_on(want.seconds)
            got.append(transfer.got(since + SETTLE, transfer.now))
            transfer.say(since, transfer.now, f"{got[-1]:.1f} Mbit/s")
        end = transfer.now
        flows = subflows(story)
        story.show("ip mptcp endpoint show")
        story.show("nstat -asz MPTcpExtMPCapableSYNTX MPTcpExtMPJoinSynTx MPTcpExtMPJoinSynAckRx")
    transfer.table(end)
    transfer.draw("bond-aggregate", "Links add up", end)

    story.say("what it should be")
    one = got[0]
    for number, rate in enumerate(got[1:], 2):
        text = f"{number} links: {rate:.1f} Mbit/s, {rate / (number * one):.1%} of {number} times one link ({one:.1f})"
        story.holds(rate >= SHARE * number * one, text)
    story.holds(got[1] >= OVER_TCP * plain, f"2 links: {got[1] / plain:.2f} times plain TCP ({plain:.1f} Mbit/s)")
    story.holds(flows == len(links), f"{flows} subflows in {CLIENT}, one for each link")
    transfer.proved()
