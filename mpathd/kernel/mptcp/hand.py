"""Look at endpoints and limits, and write changes.

The kernel tells nobody when an endpoint comes or goes: they are read in every pass. What it can hold is learned from
its refusals, since its numbers differ from version to version.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from ...model.errors import Refusal
from ...model.mptcp import CHANGEABLE, NOTHING, Act, Change, Endpoint, Flag, Kept, Limits, LinkUse, Manager, Mptcp
from ...model.renew import renew
from ...model.words import Address
from ..netlink import F_DUMP
from . import codec
from .later import Answer, Later
from .socket import Asked, GenericFamily, Interrupted, Netlink
from .support import REASONS, Backend, Sysctls, manager, probe, tried
from .wire import GET_ADDR, GET_LIMITS, PM_NAME

TRIES = 10  # of a dump that another writer interrupted
BY_ID = {Act.CHANGE, Act.DELETE}  # of these writes the kernel heeds the id alone
# Answers that mean "it is as you want": an id that is gone. The next look tells if not.
DONE = {Act.DELETE: {errno.EINVAL, errno.ENOENT}}
OLDEST = Flag.SIGNAL | Flag.SUBFLOW | Flag.BACKUP  # every kernel with endpoints keeps them
UNSEEN = "endpoints are shown to CAP_NET_ADMIN alone"
MAXIMUM = re.compile(r"maximum \((\d+)\)")

# Bodies about endpoints and limits, names of interfaces, what is missing, and who makes subflows.
_Seen = tuple[tuple[bytes, ...], tuple[bytes, ...], Mapping[int, str], str, Manager]
Name = tuple[int, Address]  # of an endpoint: its id and address
Report = tuple[tuple[Change, ...], tuple[tuple[Change, Refusal], ...]]


class PathManager:
    """The MPTCP hand; it belongs to the network namespace in which it was made.

    Args:
        finished: called, in a thread, when removals are through that `apply` did not wait for: look again then.
    """

    def __init__(self, finished: Callable[[], None] = lambda: None) -> None:
        self.support = probe()
        self._family = GenericFamily()
        self._netlink: Netlink | None = None
        self._slow: Netlink | None = None
        if self.support.backend is Backend.UPSTREAM:
            self._netlink, self._slow = Netlink(), Netlink()
            self._family = self._netlink.family(PM_NAME)
        self._endpoints = Asked(self._family.id, codec.question(GET_ADDR), F_DUMP)
        self._limits = Asked(self._family.id, codec.question(GET_LIMITS))
        self._sysctls = Sysctls()
        self._later = Later(self._write_slowly, finished)
        self._known = Mptcp(self.support.missing)
        # What the last look saw, and gave.
        self._seen: _Seen = ((), (), {}, "", Manager.KERNEL)
        self._found: tuple[Endpoint, ...] = ()
        self._result: Mptcp | None = None
        self._asked: dict[Name, Flag] = {}  # flags of endpoints that were added since the last look
        self._full: frozenset[Name] = frozenset()  # the endpoints that were known when there was no room for another

    def close(self) -> None:
        """Wait for what is under way, and give the sockets back."""
        self._later.join()
        self._sysctls.close()
        for netlink in (self._netlink, self._slow):
            if netlink is not None:
                netlink.close()

    def adopt(self, kept: Kept) -> None:
        """Take over what was known before this process began: which endpoints are ours, and what the kernel takes.

        Args:
            kept: that.
        """
        mine = self._known.mine | kept.mine
        self._known = replace(self._known, mine=mine, room=kept.room, ceiling=kept.ceiling)

    def settle(self) -> None:
        """Wait for what is under way: at the end, and in tests."""
        self._later.join()

    def look(self, names: Mapping[int, str] | None = None) -> Mptcp:
        """Read endpoints and limits; while a removal is under way, give what will be true after it.

        Args:
            names: of interfaces by index, for printing.
        """
        if self._netlink is None or self._later.busy:
            return self._known
        missing = self._missing()
        if not self._family.id:
            self._known = replace(self._known, missing=missing)
            return self._known
        try:
            bodies = self._bodies()
        except PermissionError:  # --dry-run needs no rights
            return replace(self._known, missing=UNSEEN)
        limits = self._netlink.again(self._limits)
        seen = (bodies, limits, names or {}, missing, manager(self._sysctls))
        if seen == self._seen and self._known is self._result and not self._full:
            return self._known
        if bodies is not self._seen[0] or seen[2] != self._seen[2]:
            decoded = (codec.endpoint(body, names or {}) for body in bodies)
            self._found = tuple(sorted((one for one in decoded if one is not None), key=lambda e: e.id))
        known, found = self._known, self._found
        self._known = self._result = renew(
            known,
            missing=missing,
            endpoints=found,
            limits=codec.limits(limits[0]) if limits else Limits(),
            manager=seen[4],
            mine=known.mine & {endpoint.name for endpoint in found},
            lacks=known.lacks | self._dropped(found),
            room=self._room(found),
        )
        self._seen = seen
        return self._known

    def apply(self, changes: Sequence[Change]) -> Report:
        """Write changes in their order; all are tried. Removals, and what comes behind them, are not waited for: the
        kernel takes 4 to 25 ms for each.

        Args:
            changes: what to write.
        """
        if self._netlink is None:
            return (), tuple((c, Refusal(str(c), errno.EOPNOTSUPP, self.support.missing)) for c in changes)
        first = next((n for n, c in enumerate(changes) if c.act is Act.DELETE), len(changes))
        now, later = (changes[:first], changes[first:]) if not self._later.busy else ((), changes)
        done: list[Change] = []
        refused: list[tuple[Change, Refusal]] = []
        for change in now:
            refusal = self._learn(change, self._write(self._netlink, change))
            if refusal is None:
                done.append(change)
            else:
                refused.append((change, refusal))
        for change in later:
            self._known = after(self._known, change)
            if change.act is Act.ADD and isinstance(change.what, Endpoint):
                self._asked[change.what.name] = change.what.flags
        for change in later:
            self._later.put((change,))
        return (*done, *later), tuple(refused)

    def late(self) -> tuple[tuple[Change, Refusal], ...]:
        """Take what was refused of the writes that `apply` did not wait for."""
        out = ((change, self._learn(change, answer, late=True)) for change, answer in self._later.answers())
        return tuple((change, refusal) for change, refusal in out if refusal is not None)

    @property
    def busy(self) -> bool:
        """Whether writes are under way that `apply` did not wait for."""
        return self._later.busy

    @property
    def words(self) -> str:
        """Say by what links are given to MPTCP, and why not."""
        missing = self._missing()
        return f"{self.support.backend}{f': {missing}' if missing else ''}"

    def renew(self, old: Endpoint, new: Endpoint, pause: Callable[[], float | None]) -> None:
        """Have an endpoint deleted and added again, so that the kernel tries it anew for live connections.

        Args:
            old: as it is.
            new: the same with another id.
            pause: asked, in a thread, when its turn has come: seconds in between, None to leave it.
        """
        known = self._known
        self._known = replace(known, mine=known.mine | {new.name}, spent=(*known.spent, old.id))
        self._later.put((Change(Act.DELETE, old), Change(Act.ADD, new)), pause)

    # Parts.

    def _write(self, netlink: Netlink, change: Change) -> Answer:
        if change.act in BY_ID and isinstance(change.what, Endpoint) and not self._there(netlink, change.what):
            return errno.ENOENT, f"{os.strerror(errno.ENOENT)} (another program has removed it)"
        return netlink.write(self._family.id, codec.request(change))

    def _there(self, netlink: Netlink, wanted: Endpoint) -> bool:
        """Whether this one still has its id: another program may have made one with it since the last look."""
        answer = netlink.ask(self._family.id, codec.question(GET_ADDR, wanted.id))
        found = codec.endpoint(answer, {}) if answer else None
        return found is not None and (found.key, found.index) == (wanted.key, wanted.index)

    def _write_slowly(self, change: Change) -> Answer:
        assert self._slow is not None, "there is something to write only where there is a kernel to write to"
        return self._write(self._slow, change)

    def _missing(self) -> str:
        """Why MPTCP cannot be used now; it can be switched on and off at any time."""
        if self._sysctls.read("enabled") == "0":
            return REASONS[errno.ENOPROTOOPT]
        if self.support.missing and not tried():
            self.support = replace(self.support, missing="" if self._family.id else self.support.missing)
        return self.support.missing

    def _bodies(self) -> tuple[bytes, ...]:
        assert self._netlink is not None
        for _ in range(TRIES):
            try:
                return self._netlink.again(self._endpoints)
            except Interrupted:
                continue
        return self._endpoints.bodies

    def _room(self, found: Sequence[Endpoint]) -> int:
        """How many the kernel takes. What was known at a refusal tells it only if it still is so: otherwise others have
        come and gone meanwhile, and too small a number would leave links out for good.
        """
        full, self._full = self._full, frozenset()
        if full and full == {endpoint.name for endpoint in found}:
            return len(found)
        return max(self._known.room, len(found)) if self._known.room else 0

    def _dropped(self, found: Iterable[Endpoint]) -> Flag:
        """Flags that were asked for and not kept: this kernel does not know them."""
        out = NOTHING
        for one in found:
            # Numbers, since ~ of a flag leaves out bits that have no name.
            out |= Flag(int(self._asked.pop(one.name, NOTHING)) & ~int(one.flags | OLDEST | CHANGEABLE))
        self._asked.clear()
        return out

    def _learn(self, change: Change, answer: Answer, *, late: bool = False) -> Refusal | None:
        number, text = answer
        if not number or number in DONE.get(change.act, ()):
            if not late:
                self._known = after(self._known, change)
                if change.act is Act.ADD and isinstance(change.what, Endpoint):
                    self._asked[change.what.name] = change.what.flags
            return None
        if late and change.act is Act.ADD and isinstance(change.what, Endpoint):
            self._known = replace(self._known, mine=self._known.mine - {change.what.name})
        if change.act is Act.ADD and number == errno.ERANGE:
            self._full = frozenset() if late else frozenset(e.name for e in self._known.endpoints)
        if change.act is Act.SET and (found := MAXIMUM.search(text)):
            self._known = replace(self._known, ceiling=int(found[1]))
        return Refusal(str(change), number, text)


def after(found: Mptcp, change: Change) -> Mptcp:
    """Give what is there once a change is done.

    Args:
        found: what is there.
        change: the change.
    """
    match change.what:
        case Limits():
            return replace(found, limits=change.what)
        case LinkUse(index=index):
            rest = tuple(use for use in found.links if use.index != index)
            return replace(found, links=(*rest, change.what), mine=found.mine | {change.what.name})
        case Endpoint(id=number):
            others, name = tuple(e for e in found.endpoints if e.id != number), change.what.name
            if change.act is Act.DELETE:
                spent = (*(n for n in found.spent if n != number), number)
                return replace(found, endpoints=others, mine=found.mine - {name}, spent=spent)
            mine = found.mine | {name} if change.act is Act.ADD else found.mine
            return replace(found, endpoints=tuple(sorted((*others, change.what), key=lambda e: e.id)), mine=mine)
