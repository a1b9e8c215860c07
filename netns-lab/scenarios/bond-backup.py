"""a backup link carries nothing until the primary link fails, and nothing again once it is back"""

from __future__ import annotations

from _bond import ROUTER, SETTLE, Wanted, bonded, elsewhere, subflows, uplinks, use, wanted
from _run import Run
from _story import Story

# Mbit/s that a backup may carry while it waits: its handshake, acknowledgements of data, and on a busy machine now and
# then a piece that the kernel sends once more there.
IDLE = 0.5
# Milliseconds of silence, up and down: about 20 and 70 on a quiet machine; the kernel alone needs 85 to 856, and 240.
GAP_UP, GAP_DOWN = 150.0, 200.0


def run(args: list[str]) -> int:
    """Tell the story.

    Args:
        args: see --help.
    """
    want = wanted("bond-backup", str(__doc__), args, links=2, least=2, seconds=4.0)
    with bonded(want) as story:
        _backup(story, want)
        return story.end()


def _backup(story: Story, want: Wanted) -> None:
    primary, *backups = uplinks(story)
    story.say(f"{primary} is the primary link, {' '.join(backups)} wait as backup")
    for dev in backups:
        use(story, dev, "backup")
    story.show("ip mptcp endpoint show")
    with Run(story, want, 3) as transfer:
        transfer.go_on(want.seconds)
        flows = subflows(story)
        pulled = transfer.mark(f"{primary} loses its carrier")
        elsewhere(story, ROUTER, "ip link set isp1 down")
        over = transfer.settled(1)
        transfer.go_on(want.seconds)
        story.show("mpathctl services")
        back = transfer.mark(f"{primary} is back")
        elsewhere(story, ROUTER, "ip link set isp1 up")
        took = transfer.used(primary)
        again = transfer.now
        transfer.go_on(want.seconds)
        end = transfer.now
        story.show("nstat -asz MPTcpExtMPPrioTx MPTcpExtMPJoinSynTx MPTcpExtMPJoinSynAckRx")
    gap, told = transfer.gap(pulled, back, want.megabits)
    transfer.say(0.0, pulled, "primary")
    transfer.say(pulled, back, f"backup, after {gap:.0f} ms")
    transfer.say(again, end, "primary")
    transfer.table(end)
    transfer.draw("bond-backup", "A backup link waits for its hour", end)

    story.say("what it should be")
    story.holds(flows == 1 + len(backups), f"{flows} subflows were ready all the time")
    for dev in backups:
        waits = transfer.carried(dev, SETTLE, pulled)
        story.holds(waits <= IDLE, f"{dev} carried {waits:.2f} Mbit/s while {primary} was there")
        waits = transfer.carried(dev, min(again + SETTLE, end - 0.5), end)
        story.holds(
            waits <= IDLE, f"{dev} carried {waits:.2f} Mbit/s after {primary} had come back, {took:.1f} s later"
        )
    full = transfer.got(SETTLE, pulled)
    rate = transfer.got(over, back)
    story.holds(full >= 0.85 * want.megabits, f"{full:.1f} Mbit/s by {primary}")
    story.holds(rate >= 0.85 * want.megabits, f"{rate:.1f} Mbit/s by the backup once it had taken over")
    story.holds(gap <= (GAP_DOWN if want.download else GAP_UP), f"when {primary} failed: {told}")
    transfer.proved()
