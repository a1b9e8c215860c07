"""The socket engine where the kernel has none of it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mpathd.kernel.bpf import Sockets, older, syscall
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
def test_a_dry_run_leaves_empty_folders_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, idle: bool) -> None:
    """One without programs may be one that an mpathd has just made."""
    monkeypatch.setattr(syscall, "tree", lambda: (tmp_path, "tree"))
    monkeypatch.setattr(syscall, "attached", lambda _folder, _hook: ())
    folder = tmp_path / home("a")[1:]
    folder.mkdir(parents=True)

    Sockets(idle=idle).look()

    assert folder.exists() is idle


def test_names_of_sessions_are_names_of_folders() -> None:
    assert home("call") == "/mpathd/call"
    assert home("_1_42/app/x") == "/mpathd/_1_42_2fapp_2fx"
    assert home("..") == "/mpathd/_2e."
    assert home(".x") == "/mpathd/_2ex"
