"""All hands together: one look, one write."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from ..model.errors import Refusal
from ..model.marking import Marking
from ..model.packet import Connections, Load, Ruleset
from ..model.renew import renew
from ..model.routing import KernelState, Route, Rule, Step, Verb
from ..model.statistics import Count
from ..model.world import Link, Stranger, World
from . import device, sysctl
from .bpf import Sockets
from .mptcp import Backend, LinkFlags, PathManager
from .nftables import Nftables
from .rtnetlink import Hand, Watch

# Programs that are known to remove or rewrite rules and routes of others.
MEDDLERS = {"systemd-networkd", "NetworkManager", "connmand", "dhcpcd", "netifd", "keepalived", "firewalld",
             "mptcpd"}  # fmt: skip

ALL = ("net.ipv4.conf.all.rp_filter", "net.ipv4.conf.all.arp_ignore")
FORWARDING = ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding")

NOTHING = World({})


class Machine:
    """The kernel of this network namespace.

    Args:
        idle: nothing is going to be written.
    """

    def __init__(self, *, idle: bool = False) -> None:
        self._rtnetlink = Hand()
        self._nftables = Nftables()
        self._sockets = Sockets(idle=idle)
        self._sysctls = sysctl.Sysctls(*ALL, *FORWARDING)
        self._base = self._world = NOTHING  # what rtnetlink's hand saw at the last look, and all of it
        self._rest: tuple[object, ...] = ()
        self.watch = Watch(self._rtnetlink.port)
        self.nft_events = self._nftables.ear
        self.paths: PathManager | LinkFlags = PathManager(self._finished)
        if self.paths.support.backend is Backend.OUT_OF_TREE:
            self.paths.close()
            self.paths = LinkFlags(self.paths.support)
        # Called, in a thread, when writes are through that nobody waited for: look again then.
        self.finished: Callable[[], None] = lambda: None

    def close(self) -> None:
        """Give the sockets back."""
        self.paths.close()
        self.watch.close()
        self._nftables.close()
        self._sysctls.close()
        self._rtnetlink.close()

    def _finished(self) -> None:
        self.finished()

    def heard(self) -> set[str]:
        """Take what the ear has heard, and tell which kinds of objects others have moved."""
        kinds = self.watch.drain()
        self._rtnetlink.heard(kinds)
        return kinds

    def look(self, protocol: int, *, whole: bool = True) -> World:
        """Read everything that decisions need.

        Args:
            protocol: what marks routes and rules as ours.
            whole: also those links, routes and rules that nobody was heard to move since they were read.
        """
        base = self._rtnetlink.look(protocol, whole=whole or self.watch.waiting())
        packets, digest = self._nftables.look()
        sockets, homes = self._sockets.look()
        rest = (digest, sockets, homes, self._sysctls.numbers(), self._nftables.strangers)
        if base is not self._base or packets is not self._world.have.packets or rest != self._rest:
            self._world = self._joined(base, packets, *rest)
            self._base, self._rest = base, rest
        return self._world

    def _joined(
        self,
        base: World,
        packets: Ruleset | None,
        digest: str,
        sockets: frozenset[Marking],
        homes: frozenset[str],
        numbers: tuple[int, ...],
        strangers: tuple[Stranger, ...],
    ) -> World:
        """What has not changed stays the same object."""
        before, links, have = self._world, self._world.links, self._world.have
        if base.links is not self._base.links:
            links = {index: _with_devtype(link, before.links.get(index)) for index, link in base.links.items()}
        if base.have is not self._base.have or packets is not have.packets or sockets != have.sockets:
            have = KernelState(base.have.routes, base.have.rules, packets, sockets)
        rp_filter, arp_ignore, *forwarding = numbers
        return renew(
            base,
            links=links,
            have=have,
            homes=homes,
            no_sockets=self._sockets.missing,
            digest=digest,
            strangers=strangers,
            rp_filter_all=rp_filter,
            forwarding=any(forwarding),
            arp_ignore_all=arp_ignore,
        )

    def apply(self, steps: Sequence[Step]) -> tuple[tuple[Step, ...], tuple[tuple[Step, Refusal], ...]]:
        """Write steps: what was done, and what was refused and why.

        Args:
            steps: in their order.
        """
        done: tuple[Step, ...] = ()
        refused: tuple[tuple[Step, Refusal], ...] = ()
        for routing, group in groupby(steps, key=lambda step: isinstance(step.what, Route | Rule)):
            if not routing:
                for step in group:
                    error = self._sockets_of(step) if isinstance(step.what, Marking) else self._packets(step)
                    done += () if error else (step,)
                    refused += ((step, error),) if error else ()
            else:
                report = self._rtnetlink.apply(tuple(group))
                done, refused = done + report.done, refused + report.refused
        return done, refused

    def _sockets_of(self, step: Step) -> Refusal | None:
        assert isinstance(step.what, Marking)
        if step.verb is Verb.DELETE:
            self._sockets.detach(step.what)
            return None
        return self._sockets.attach(step.what)

    def _packets(self, step: Step) -> Refusal | None:
        if isinstance(step.what, Connections):
            number = self._nftables.forget(step.what)
            # ENOENT: there were none; EINVAL and the like: this kernel tracks no connections, so there are none either.
            return Refusal(str(step), number, os.strerror(number)) if number == errno.EPERM else None
        assert isinstance(step.what, Load)
        error = self._nftables.apply(step.what)
        return Refusal(str(step), errno.EINVAL, error) if error else None

    def make_home(self, group: str) -> None:
        """Make a session's control group.

        Args:
            group: its path.

        Raises:
            OSError: there is no cgroup v2, or we may not.
        """
        self._sockets.make(group)

    def enter(self, group: str, pid: int, user: int) -> str:
        """Move a process into a control group and give its path, as people know it.

        Args:
            group: of a session.
            pid: the process.
            user: whose it must be.

        Raises:
            OSError: it is not there, or another user's.
        """
        return self._sockets.enter(group, pid, user)

    def nft_moved(self) -> bool:
        """Take events of nftables, and tell whether somebody else than us made them."""
        return self._nftables.moved()

    @property
    def nft_unsealed(self) -> bool:
        """Whether what we wrote to nft last is to be sealed."""
        return self._nftables.unsealed

    def seal_nft(self) -> None:
        """Write down in our table what it looks like, by which the next mpathd knows it again."""
        self._nftables.seal()

    def adopt(self, packets: Ruleset) -> None:
        """Take it that our nft table holds what its digest says.

        Args:
            packets: the ruleset of that digest.
        """
        self._nftables.adopt(packets)

    def read(self, packets: Ruleset) -> Ruleset | None:
        """Give what our nft table holds as nft tells it, None if that is not understood.

        Args:
            packets: what it is to hold.
        """
        return self._nftables.read(packets)

    def recognise(self, want: Iterable[Marking]) -> frozenset[Marking]:
        """Give the control groups whose sockets are marked, those that another mpathd has had marked as is wanted too.

        Args:
            want: which groups, and how.
        """
        return self._sockets.recognise(want)

    def counters(self) -> Mapping[str, Count]:
        """Give what the counters in our nft table have counted, by name."""
        return self._nftables.counters()

    @staticmethod
    def suspects() -> tuple[str, ...]:
        """Name the running programs of this network namespace that are known to meddle."""
        mine = _namespace("self")
        found = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    name = Path((entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")).name
                except OSError:
                    continue
                # Without ptrace rights over it, a process's namespace is not told: then it may be ours.
                if name in MEDDLERS and _namespace(entry.name) in {mine, 0}:
                    found.add(name)
        return tuple(sorted(found))


def _namespace(process: str) -> int:
    try:
        return (Path("/proc") / process / "ns/net").stat().st_ino
    except OSError:
        return 0


@lru_cache(maxsize=1024)
def _devtype(index: int, name: str) -> str:  # noqa: ARG001 - the index tells a device from its successor
    return device.devtype(name)


def _with_devtype(link: Link, before: Link | None) -> Link:
    if link.kind or link.loopback:  # virtual devices say what they are over rtnetlink
        return link
    kind = _devtype(link.index, link.name)
    whole = replace(link, devtype=kind) if kind else link
    return before if before == whole else whole
