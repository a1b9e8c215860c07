"""What lasts over a restart: a file that is anything else counts as none, and stops nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpathd.runtime import Bonds, Runtime

STRANGE = {
    "deep": "[" * 100_000,
    "infinite": '{"numbers": {"a": [Infinity, 1]}, "mine": [[Infinity, "10.0.0.1"]]}',
    "long": '{"numbers": {"a": [' + "9" * 5000 + ', 1]}, "mine": []}',
    "no text": "\udcff",
    "a list": "[]",
}


@pytest.mark.parametrize("strange", STRANGE)
def test_strange_files(tmp_path: Path, strange: str) -> None:
    for name in ("sessions.json", "mptcp.json"):
        (tmp_path / name).write_bytes(STRANGE[strange].encode(errors="surrogateescape"))

    assert Runtime(tmp_path).numbers() == {}
    assert Bonds(tmp_path).load() is None
