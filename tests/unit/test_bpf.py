"""The socket engine where the kernel has none of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mpathd.kernel.bpf import Sockets, older, syscall
from mpathd.kernel.bpf.hand import OWNER
from mpathd.model.marking import Marking, home

WANT = Marking("/nosuch.slice", 0x10000, 0x7FFF0000)


def _old() -> int:
    raise OSError(errno.ENOPROTOOPT, "Protocol not available")


def test_a_kernel_whose_sockets_do_not_tell_their_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux before 5.14: everything else works, and who asks for it hears why not."""
    monkeypatch.setattr(older, "cookie", _old)
    sockets = Sockets()

    assert sockets.look() == (frozenset(), frozenset())
    refusal = sockets.attach(WANT)
    assert refusal is not None
    assert (refusal.errno, "Protocol not available" in refusal.text) == (errno.ENOSYS, True)
    with pytest.raises(OSError, match="Protocol not available"):
        sockets.make(home("a"))
    sockets.detach(WANT)
    assert sockets.look() == (frozenset(), frozenset())


@pytest.mark.parametrize("idle", [True, False])
def test_empty_folders_of_our_own_go_but_not_in_a_dry_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, idle: bool
) -> None:
    """One without programs may be one that its mpathd has just made, and goes on with."""
    monkeypatch.setattr(syscall, "tree", lambda: (tmp_path, "tree"))
    monkeypatch.setattr(syscall, "attached", lambda _folder, _hook: ())
    Sockets().make(home("a"))
    other = tmp_path / home("b")[1:]
    other.mkdir()  # by an mpathd of another network namespace
    os.setxattr(other, OWNER, b"1")

    Sockets(idle=idle).look()

    assert (tmp_path / home("a")[1:]).exists() is idle
    assert other.exists()


def test_names_of_sessions_are_names_of_folders() -> None:
    assert home("call") == "/mpathd/call"
    assert home("_1_42/app/x") == "/mpathd/_1_42_2fapp_2fx"
    assert home("..") == "/mpathd/_2e."
    assert home(".x") == "/mpathd/_2ex"
