"""Control groups whose sockets are marked: what is attached, and its changes.

Programs outlive us, so what hangs where is asked of the kernel at the first look, and remembered from then on; a group
that has gone, or has come again, is told by its inode. A program of ours has our network namespace in its name, since
control groups are the machine's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ...model.errors import Refusal
from ...model.marking import HOME, USERS, Marking
from . import older, syscall
from .programs import program
from .syscall import Attached, Hook

MARKS = (Hook.SOCK_CREATE, Hook.CONNECT4, Hook.CONNECT6, Hook.SENDMSG4, Hook.SENDMSG6)
OWNER = "trusted.mpathd"  # of a session's folder: the cookie of the network namespace
UNKNOWN = 0  # the mark of what another mpathd has attached: it is replaced, or taken away


class Sockets:
    """The hand of the socket engine. Nothing is opened while no session wants it.

    Args:
        idle: it only looks, and leaves empty folders of sessions that have ended where they are.
    """

    def __init__(self, *, idle: bool = False) -> None:
        self.missing = ""
        self._idle = idle
        self._cookie = 0
        try:
            self._cookie = older.cookie()
        except OSError as error:  # Linux before 5.14
            self.missing = f"sockets do not tell their network namespace: {error.strerror}"
        self._name = f"mpathd_{self._cookie & 0xFFFFFFFF:08x}"
        self._there: dict[str, tuple[Marking, int]] | None = None
        self._seen: tuple[frozenset[Marking], frozenset[str]] = frozenset(), frozenset()
        self._stale: set[str] = set()  # groups of sessions that have ended, and somebody is still in them

    def look(self) -> tuple[frozenset[Marking], frozenset[str]]:
        """Give what is attached, and the groups of sessions that can be entered, and of users."""
        if self._there is None:
            self._there = {} if self.missing else dict(self._leftovers())
        for group, (_, inode) in tuple(self._there.items()):
            if self._inode(group) != inode:
                del self._there[group]
        for group in () if self._idle else tuple(self._stale):
            self._tidy(group)
        marked, homes = frozenset(marking for marking, _ in self._there.values()), frozenset(self._homes())
        if marked != self._seen[0] or homes != self._seen[1]:
            self._seen = marked, homes
        return self._seen

    def recognise(self, want: Iterable[Marking]) -> frozenset[Marking]:
        """Give what is attached; a predecessor's programs are known again by the digest of their instructions. Sockets
        that are older than those may lack their mark, so whoever serves has all attached anew.

        Args:
            want: which groups, and how.
        """
        assert self._there is not None, "look comes first"
        for marking in want:
            was, inode = self._there.get(marking.group, (marking, 0))
            if was.mark == UNKNOWN and self._alike(marking):
                self._there[marking.group] = marking, inode
        return frozenset(marking for marking, _ in self._there.values())

    def attach(self, want: Marking) -> Refusal | None:
        """Have a group's sockets marked; what another mpathd has attached is replaced without a gap.

        Args:
            want: which group, and how.
        """
        assert self._there is not None, "look comes first"
        if self.missing:
            return Refusal(str(want), errno.ENOSYS, self.missing)
        trouble: OSError | None = None
        try:
            with self._opened(want.group) as folder:
                inode, level = os.fstat(folder).st_ino, _level(want.group)
                was, _ = self._there.get(want.group, (Marking(want.group, UNKNOWN, 0), 0))
                self._there[want.group] = replace(was, mask=0), inode  # some of it, until all is done
                for hook in (*MARKS, Hook.EGRESS):
                    if hook is Hook.EGRESS and not want.guard:
                        self._detach(folder, hook)
                        continue
                    try:
                        self._put(folder, hook, program(hook, want, self._cookie, inode, level))
                    except OSError as error:
                        trouble = trouble or error
            older.mark(self._path(want.group), want, self._cookie, was.mark)
        except OSError as error:
            trouble = error
        if trouble is not None:
            number = trouble.errno or errno.EINVAL
            return Refusal(str(want), number, _words(number, trouble))
        self._there[want.group] = want, inode
        self._stale.discard(want.group)
        return None

    def detach(self, gone: Marking) -> None:
        """Leave a group's sockets alone; its folder goes too if it is a session's, and empty.

        Args:
            gone: what is attached.
        """
        with suppress(OSError), self._opened(gone.group) as folder:
            for hook in Hook:
                self._detach(folder, hook)
            if gone.mark:  # it is given to another session next
                older.mark(self._path(gone.group), replace(gone, mark=0), self._cookie, gone.mark)
        if self._there is not None:
            self._there.pop(gone.group, None)
        self._tidy(gone.group)

    def enter(self, group: str, pid: int, user: int) -> str:
        """Move a process into a group and give the group's path, as people know it.

        Args:
            group: of a session.
            pid: the process.
            user: whose it must be.

        Raises:
            OSError: there is no such process, or it is another user's by now, or there is no cgroup v2.
        """
        root, name = syscall.tree()
        handle = os.pidfd_open(pid)
        try:
            if Path(f"/proc/{pid}").stat().st_uid != user:
                raise OSError(errno.ESRCH, f"process {pid} is not user {user}'s")
            (root / group[1:] / "cgroup.procs").write_text(str(pid))
        finally:
            os.close(handle)
        return f"{name}{group}"

    def make(self, group: str) -> None:
        """Make a session's group.

        Args:
            group: its path.

        Raises:
            OSError: this machine has no cgroup v2, or we may not.
        """
        if self.missing:
            raise OSError(errno.ENOSYS, self.missing)
        path = self._path(group)
        path.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # Linux before 5.7
            os.setxattr(path, OWNER, str(self._cookie).encode())

    # Parts.

    def _path(self, group: str) -> Path:
        return syscall.tree()[0] / group.strip("/")

    @contextmanager
    def _opened(self, group: str) -> Iterator[int]:
        folder = os.open(self._path(group), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield folder
        finally:
            os.close(folder)

    def _inode(self, group: str) -> int:
        try:
            return os.stat(f"{syscall.tree()[0]}{group}").st_ino  # noqa: PTH116  see _homes
        except OSError:
            return 0

    def _ours(self, folder: int, hook: Hook) -> tuple[Attached, ...]:
        return tuple(found for found in syscall.attached(folder, hook) if found.name == self._name)

    @staticmethod
    def _anybody(folder: int) -> bool:
        """Whether any mpathd, of whatever namespace, has attached something."""
        return any(found.name.startswith("mpathd_") for found in syscall.attached(folder, Hook.SOCK_CREATE))

    def _alike(self, want: Marking) -> bool:
        """Whether the programs of a group are those that are wanted."""
        try:
            with self._opened(want.group) as folder:
                inode, level = os.fstat(folder).st_ino, _level(want.group)
                return all(
                    self._has(folder, hook, program(hook, want, self._cookie, inode, level))
                    if want.guard or hook is not Hook.EGRESS
                    else not self._ours(folder, hook)
                    for hook in Hook
                )
        except OSError:  # it goes while we look
            return False

    def _has(self, folder: int, hook: Hook, code: bytes) -> bool:
        there = {found.tag for found in self._ours(folder, hook)}
        fresh = syscall.load(hook, code, self._name)  # its digest is the kernel's own, so the kernel is asked
        try:
            return there == {syscall.info(fresh).tag}
        finally:
            os.close(fresh)

    def _put(self, folder: int, hook: Hook, code: bytes) -> None:
        fresh = syscall.load(hook, code, self._name)
        try:
            there = self._ours(folder, hook)
            if any(found.tag == syscall.info(fresh).tag for found in there):
                return
            if not there:
                syscall.attach(folder, hook, fresh)
                return
            old = syscall.opened(there[0].number)
            try:
                syscall.attach(folder, hook, fresh, old)
            finally:
                os.close(old)
        finally:
            os.close(fresh)

    def _detach(self, folder: int, hook: Hook) -> None:
        for found in self._ours(folder, hook):
            program = syscall.opened(found.number)
            try:
                syscall.detach(folder, hook, program)
            finally:
                os.close(program)

    def _leftovers(self) -> Iterator[tuple[str, tuple[Marking, int]]]:
        """What a predecessor in this network namespace has attached."""
        try:
            root, _ = syscall.tree()
        except OSError as error:
            self.missing = f"cgroup v2 cannot be reached: {error.strerror}"
            return
        for place, _, _ in os.walk(root):
            group = f"/{Path(place).relative_to(root)}"
            try:
                with self._opened(group) as folder:
                    found = [hook for hook in Hook if self._ours(folder, hook)]
                    if not found and group.startswith(f"{HOME}/") and self._made(folder) and not self._anybody(folder):
                        self._stale.add(group)  # our predecessor ended its session
                    if found:
                        yield group, (Marking(group, UNKNOWN, 0), os.fstat(folder).st_ino)
            except OSError as error:
                if error.errno in {errno.EPERM, errno.ENOSYS, errno.EINVAL}:
                    self.missing = f"bpf(2) is refused: {error.strerror}"
                    return

    def _made(self, folder: int) -> bool:
        """Whether an mpathd of this namespace has made a folder: another may be about to attach programs to its own."""
        try:
            return os.getxattr(folder, OWNER) == str(self._cookie).encode()
        except OSError as error:
            return error.errno == errno.EOPNOTSUPP

    def _homes(self) -> Iterator[str]:
        """The groups of sessions, and of users."""
        if self.missing:
            return
        root = syscall.tree()[0]
        for above in (HOME, USERS):  # in every pass: a Path of each costs more than the call
            with suppress(FileNotFoundError), os.scandir(f"{root}{above}") as entries:
                yield from [f"{above}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False)]

    def _tidy(self, group: str) -> None:
        if not group.startswith(f"{HOME}/"):
            return
        self._stale.add(group)
        try:
            self._path(group).rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return  # EBUSY: somebody is still in it
        self._stale.discard(group)
        with suppress(OSError):  # other sessions have theirs in it
            self._path(HOME).rmdir()


def _level(group: str) -> int:
    """How deep a group is below the root."""
    return len(Path(group).parts) - 1


def _words(number: int, error: OSError) -> str:
    match number:
        case errno.ENOENT:
            return "there is no such control group"
        case errno.EPERM:
            return "not permitted: a program of others wants to be alone there, or mpathd may not use bpf(2)"
        case _:
            return error.strerror or str(error)
