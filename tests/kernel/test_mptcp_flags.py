"""The hand for kernels of multipath-tcp.org, of which none runs here: its messages by their bytes, and a kernel that
takes them and drops the flags, as every other one does.
"""

from __future__ import annotations

import errno
import struct
import subprocess
from collections.abc import Iterator

import pytest

from kernel.conftest import fresh_name
from labkit.netns import in_ns
from mpathd.kernel.mptcp import Backend, LinkFlags, Support
from mpathd.kernel.mptcp.links import request, use
from mpathd.model.mptcp import Act, Change, Endpoint, Limits, LinkUse
from mpathd.model.words import Address, MptcpMode

pytestmark = pytest.mark.kernel

# struct ifinfomsg of include/uapi/linux/rtnetlink.h with the flags of include/uapi/linux/if.h in mptcp_v0.96 of
# multipath-tcp.org (IFF_NOMULTIPATH 1<<19, IFF_MPBACKUP 1<<20), as their iproute2 sends it for `ip link set dev X
# multipath MODE`: family, hardware, index 7, flags, which flags change. Numbers are little-endian here.
SENT = {
    MptcpMode.ON: "0000 0000 07000000 00000000 00001800",
    MptcpMode.BACKUP: "0000 0000 07000000 00001000 00001800",
    MptcpMode.OFF: "0000 0000 07000000 00000800 00001800",
}
# RTM_NEWLINK's head for an Ethernet link that is up and running (0x11043), with the flags.
READ = {
    MptcpMode.ON: "0000 0100 07000000 43100100 00000000",
    MptcpMode.BACKUP: "0000 0100 07000000 43101100 00000000",
    MptcpMode.OFF: "0000 0100 07000000 43100900 00000000",
}


@pytest.fixture
def hand() -> Iterator[LinkFlags]:
    """The hand in a namespace of the test's own, which has a link."""
    name = fresh_name()
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=10)
    link = ["ip", "-n", name, "link", "add", "up1", "index", "7", "type", "veth", "peer", "name", "far", "index", "8"]
    subprocess.run(link, check=True, timeout=10)
    made: LinkFlags = in_ns(name, lambda: LinkFlags(Support(Backend.OUT_OF_TREE)))
    yield made
    made.close()
    subprocess.run(["ip", "netns", "del", name], check=True, timeout=10)


@pytest.mark.parametrize("mode", MptcpMode)
def test_what_is_sent(mode: MptcpMode) -> None:
    assert struct.pack("=I", 1) == bytes((1, 0, 0, 0))
    assert request(LinkUse(7, mode)) == bytes.fromhex(SENT[mode])


@pytest.mark.parametrize("mode", MptcpMode)
def test_what_is_read(mode: MptcpMode) -> None:
    found = use(bytes.fromhex(READ[mode]), {7: "up1"})

    assert found == LinkUse(7, mode)
    assert str(found) == f"ip link set dev up1 multipath {mode}"


def test_links_are_read(hand: LinkFlags) -> None:
    assert {one.index: one.mode for one in hand.look({7: "up1"}).links} == dict.fromkeys((1, 7, 8), MptcpMode.ON)


def test_a_flag_that_the_kernel_drops_is_a_refusal(hand: LinkFlags) -> None:
    """RTM_SETLINK is answered with 0 here."""
    backup, on = (Change(Act.SET, LinkUse(7, mode, "up1")) for mode in (MptcpMode.BACKUP, MptcpMode.ON))
    done, refused = hand.apply([backup, on])

    assert done == (on,)
    assert [str(refusal) for _, refusal in refused] == [
        "ip link set dev up1 multipath backup: this kernel does not keep the flag"
    ]
    assert hand.look().mine == {LinkUse(7).name}


def test_what_it_cannot_write_is_a_refusal(hand: LinkFlags) -> None:
    gone = Change(Act.SET, LinkUse(99, MptcpMode.OFF))
    others = [Change(Act.SET, Limits(2, 0)), Change(Act.ADD, Endpoint(200, Address("10.0.0.1")))]
    done, refused = hand.apply([gone, *others])

    assert done == ()
    assert [refusal.errno for _, refusal in refused] == [errno.ENODEV, errno.EOPNOTSUPP, errno.EOPNOTSUPP]
