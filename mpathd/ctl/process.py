"""Commands that mpathctl runs for somebody: in its own place, or below it with signals passed on."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from .errors import NotExecutable, NotFound

# What Python ignores at its start; a command is to have it as everybody has it.
PYTHONS = (signal.SIGPIPE, signal.SIGXFSZ)

# Meant for the command. SIGCONT wakes us all the same, and SIGTSTP is not to stop us before the command has stopped.
PASSED = {
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGCONT,
    signal.SIGUSR1,
    signal.SIGUSR2,
}
WAITED = {*PASSED, signal.SIGCHLD, signal.SIGIO}

SI_KERNEL = 0x80  # a signal's origin: the terminal, which has told the whole process group
SHELL = "/bin/sh"


def replace(command: Sequence[str], more: Mapping[str, str] | None = None) -> NoReturn:
    """Become a command: process id, files and folder stay.

    Args:
        command: its name and arguments.
        more: variables that its environment has besides.

    Raises:
        NotFound, NotExecutable: it cannot be run.
    """
    for number in PYTHONS:
        signal.signal(number, signal.SIG_DFL)
    sys.stdout.flush()
    variables = {**environment(), **(more or {})}
    try:
        try:
            os.execvpe(_place(command), list(command), variables)  # noqa: S606  what was asked for
        except OSError as error:
            os.execve(SHELL, _script(command, error), variables)  # noqa: S606  as every shell does
    except OSError as error:
        raise _refusal(command[0], error) from None


def environment() -> Mapping[str, str]:
    """Give the environment that we were started with: in the C locale Python writes LC_CTYPE into its own."""
    try:
        given = b"\0" + Path("/proc/self/environ").read_bytes()
    except OSError:
        return os.environ
    if "LC_CTYPE" in os.environ and b"\0LC_CTYPE=" not in given:
        return {name: value for name, value in os.environ.items() if name != "LC_CTYPE"}
    return os.environ


class Child:
    """A command below us, in our process group and so with our terminal; signals that we get are for it.

    Args:
        command: its name and arguments.

    Raises:
        NotFound, NotExecutable: it cannot be run.
    """

    def __init__(self, command: Sequence[str]) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever started us may ignore it: then nobody could wait
        # Blocked, so that sigwaitinfo hears them one by one, with their origin; not by the command, which gets our
        # own mask of before.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, WAITED)
        sys.stdout.flush()
        try:
            self.pid = self._spawn(command, before)
        except BaseException:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            raise

    @staticmethod
    def _spawn(command: Sequence[str], mask: set[int | signal.Signals]) -> int:
        try:
            try:
                return os.posix_spawnp(
                    _place(command), list(command), environment(), setsigmask=mask, setsigdef=PYTHONS
                )
            except OSError as error:
                script = _script(command, error)
                return os.posix_spawn(SHELL, script, environment(), setsigmask=mask, setsigdef=PYTHONS)
        except OSError as error:
            raise _refusal(command[0], error) from None

    def wait(self, file: int, news: Callable[[], object]) -> int:
        """Wait until the command has ended and give its exit status, as shells do: 128 and more after a signal.

        Args:
            file: a socket.
            news: is called when there is something to read from it, or it was closed.
        """
        # The kernel tells of the socket by SIGIO, so that one call waits for everything.
        fcntl.fcntl(file, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_ASYNC)
        news()  # what came before that
        while True:
            heard = signal.sigwaitinfo(WAITED)
            match heard.si_signo:
                case signal.SIGCHLD:
                    status = self._status()
                    if status is not None:
                        return status
                case signal.SIGIO:
                    news()
                case _:
                    self._pass(heard)

    def _pass(self, heard: signal.struct_siginfo) -> None:
        if heard.si_code == SI_KERNEL and os.getpgid(self.pid) == os.getpgrp():
            return  # the command has it from the terminal already
        os.kill(self.pid, heard.si_signo)  # it is ours and not waited for: its number cannot be another's

    def _status(self) -> int | None:
        """How the command has ended; None while it lives."""
        while True:
            pid, state = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if not pid:
                return None
            if not os.WIFSTOPPED(state):
                code = os.waitstatus_to_exitcode(state)
                return code if code >= 0 else 128 - code
            if _has_terminal():  # a shell is to see that its job has stopped; its SIGCONT is passed on
                os.kill(os.getpid(), signal.SIGSTOP)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _place(command: Sequence[str]) -> str:
    """Where the command is: the first in the path, though it may be a text, for which execvp would go on looking."""
    return shutil.which(command[0]) or command[0]


def _script(command: Sequence[str], error: OSError) -> list[str]:
    """The command line of a text without #!, which is a script of the shell's; any other error goes on."""
    if error.errno != errno.ENOEXEC:
        raise error
    return [SHELL, _place(command), *command[1:]]


def _refusal(name: str, error: OSError) -> NotFound | NotExecutable:
    kind = NotFound if error.errno in {errno.ENOENT, errno.ENOTDIR} else NotExecutable
    return kind(f"cannot run '{name}': {error.strerror or error}")
