"""The socket engine where the kernel has none of it."""

from __future__ import annotations

import errno

import pytest

from mpathd.kernel.bpf import Sockets, older
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


def test_names_of_sessions_are_names_of_folders() -> None:
    assert home("call") == "/mpathd/call"
    assert home("_1_42/app/x") == "/mpathd/_1_42_2fapp_2fx"
    assert home("..") == "/mpathd/_2e."
    assert home(".x") == "/mpathd/_2ex"
