"""Works inside a named network namespace from this very process: a helper thread steps in, does it, and ends."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .errors import LabError

T = TypeVar("T")
FOLDER = Path("/run/netns")
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def path(name: str) -> Path:
    """Where `ip netns` keeps the namespace."""
    return FOLDER / name


def exists(name: str) -> bool:
    """Whether there is a namespace of that name."""
    return path(name).exists()


def named(start: str) -> tuple[str, ...]:
    """The namespaces whose names start so, sorted."""
    return tuple(sorted(place.name for place in FOLDER.glob("*") if place.name.startswith(start)))


def step_in(name: str) -> None:
    """Moves the calling thread into the namespace, for good.

    Raises:
        LabError: there is none, or it may not be entered.
    """
    try:
        file = os.open(path(name), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LabError(f"no network namespace {name}", error.strerror or "", "raise the lab first") from error
    try:
        if _libc.setns(file, CLONE_NEWNET):
            raise LabError(f"cannot enter network namespace {name}", os.strerror(ctypes.get_errno()), "be root")
    finally:
        os.close(file)


def step_out() -> None:
    """Moves the calling thread into a new network namespace of its own."""
    if _libc.unshare(CLONE_NEWNET):
        raise LabError("cannot make a network namespace", os.strerror(ctypes.get_errno()), "be root")


def in_ns(name: str, work: Callable[[], T]) -> T:
    """Does the work inside the namespace and gives its result; its exceptions are raised here.

    Sockets opened by the work stay in the namespace. /proc/net is the whole process's: read /proc/thread-self/net.

    Args:
        name: name of the namespace, as `ip netns` shows it.
        work: what to do.
    """
    results: list[T] = []
    troubles: list[BaseException] = []

    def go() -> None:
        try:
            step_in(name)
            results.append(work())
        except BaseException as error:
            troubles.append(error)

    thread = threading.Thread(target=go, name=f"in {name}")
    thread.start()
    thread.join()
    if troubles:
        raise troubles[0]
    return results[0]
