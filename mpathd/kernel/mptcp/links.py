"""Kernels of multipath-tcp.org: what MPTCP may do with a link are two flags of the interface.

Their `ip` knows `ip link set dev DEV multipath on|backup|off`; others send what it sends, RTM_SETLINK. A kernel that
does not know the flags takes the message and drops them without a word (seen on 6.18), so they are read back.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...model.errors import Refusal
from ...model.mptcp import Change, Endpoint, Kept, LinkUse, Mptcp
from ...model.words import MptcpMode
from .hand import Report, after
from .socket import Netlink
from .support import Support, probe

NETLINK_ROUTE = 0
NEWLINK, GETLINK, SETLINK = 16, 18, 19
IFINFOMSG = struct.Struct("=BxHiII")  # family, hardware, index, flags, which of them to change
NOMULTIPATH, BACKUP = 0x80000, 0x100000  # IFF_NOMULTIPATH and IFF_MPBACKUP of their include/uapi/linux/if.h
FLAGS = {MptcpMode.ON: 0, MptcpMode.BACKUP: BACKUP, MptcpMode.OFF: NOMULTIPATH}
DROPPED = "this kernel does not keep the flag"


def request(use: LinkUse) -> bytes:
    """Build the body of RTM_SETLINK.

    Args:
        use: as it shall be.
    """
    return IFINFOMSG.pack(0, 0, use.index, FLAGS[use.mode], NOMULTIPATH | BACKUP)


def use(body: bytes, names: Mapping[int, str]) -> LinkUse:
    """Read what a link is for from RTM_NEWLINK.

    Args:
        body: ifinfomsg and attributes.
        names: of interfaces by index.
    """
    _, _, index, flags, _ = IFINFOMSG.unpack_from(body)
    mode = MptcpMode.OFF if flags & NOMULTIPATH else MptcpMode.BACKUP if flags & BACKUP else MptcpMode.ON
    return LinkUse(index, mode, names.get(index, ""))


class LinkFlags:
    """The hand for such kernels; it belongs to the network namespace in which it was made.

    Args:
        support: what was found of MPTCP.
    """

    def __init__(self, support: Support) -> None:
        self.support = support
        self._netlink = Netlink(NETLINK_ROUTE)
        self._known = Mptcp(support.missing)

    def close(self) -> None:
        """Give the socket back."""
        self._netlink.close()

    @property
    def busy(self) -> bool:
        """Nothing here takes long."""
        return False

    @property
    def words(self) -> str:
        """Say by what links are given to MPTCP, and why not."""
        missing = probe().missing
        return f"{self.support.backend}{f': {missing}' if missing else ''}"

    def adopt(self, kept: Kept) -> None:
        """Take over which links were set before this process began.

        Args:
            kept: that.
        """
        self._known = replace(self._known, mine=self._known.mine | kept.mine)

    def look(self, names: Mapping[int, str] | None = None) -> Mptcp:
        """Read what links are for.

        Args:
            names: of interfaces by index, for printing.
        """
        bodies = self._netlink.dump(GETLINK, IFINFOMSG.pack(0, 0, 0, 0, 0))
        links = tuple(sorted((use(body, names or {}) for body in bodies), key=lambda one: one.index))
        mine = self._known.mine & {one.name for one in links}
        self._known = replace(self._known, missing=probe().missing, links=links, mine=mine)
        return self._known

    def apply(self, changes: Sequence[Change]) -> Report:
        """Write changes in their order; all are tried, and read back.

        Args:
            changes: what to write.
        """
        done: list[Change] = []
        refused: list[tuple[Change, Refusal]] = []
        for change in changes:
            number, text = self._write(change)
            if number:
                refused.append((change, Refusal(str(change), number, text)))
            else:
                done.append(change)
                self._known = after(self._known, change)
        return tuple(done), tuple(refused)

    def _write(self, change: Change) -> tuple[int, str]:
        if not isinstance(change.what, LinkUse):
            return errno.EOPNOTSUPP, "this kernel has flags of links"
        answer = self._netlink.write(SETLINK, request(change.what))
        if answer[0]:
            return answer
        body = self._netlink.ask(GETLINK, IFINFOMSG.pack(0, 0, change.what.index, 0, 0))
        return (0, "") if body is not None and use(body, {}) == change.what else (errno.EOPNOTSUPP, DROPPED)

    def renew(self, old: Endpoint, new: Endpoint, pause: Callable[[], float | None]) -> None:
        """These kernels try again by themselves."""

    def late(self) -> tuple[tuple[Change, Refusal], ...]:
        """Nothing is written without waiting."""
        return ()

    def settle(self) -> None:
        """Nothing is under way."""
