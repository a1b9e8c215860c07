"""What lasts over a restart: one file of three users; one that is anything else counts as none, and stops nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpathd.book import Book
from mpathd.model.agent import SessionWish
from mpathd.model.mptcp import Kept, Limits
from mpathd.model.session import Client, Origin
from mpathd.model.statistics import Counted
from mpathd.model.words import Address
from mpathd.policies import Policies
from mpathd.runtime import Bonds, Runtime, lasting

STRANGE = {
    "deep": "[" * 100_000,
    "infinite": '{"numbers": {"a": [Infinity, 1]}, "mptcp": {"mine": [[Infinity, "10.0.0.1"]]}}',
    "long": '{"numbers": {"a": [' + "9" * 5000 + ', 1]}, "mine": []}',
    "no text": "\udcff",
    "a list": "[]",
}
CALL = SessionWish("call", Origin.DBUS, ":1.7", 0, True, {"users": ["4711"]}, Client("guid", "native", "/call"))
KEPT = Kept(frozenset({(250, Address("10.0.0.1"))}), Limits(2, 1), Limits(8, 8), 8, 8)


def _book(folder: Path) -> Book:
    return Book(Policies([]), folder / "state", lasting(folder))


def _names(book: Book) -> list[str]:
    return [settings.name for settings in book.load()[0]]


@pytest.mark.parametrize("strange", STRANGE)
def test_strange_files(tmp_path: Path, strange: str) -> None:
    for name in ("sessions.json", "clients.json", "mptcp.json"):
        (tmp_path / name).write_bytes(STRANGE[strange].encode(errors="surrogateescape"))

    assert Runtime(lasting(tmp_path)).numbers() == {}
    assert Bonds(lasting(tmp_path)).load() is None
    assert [finding.code for finding in _book(tmp_path).load()[1]] == ["sessions"]


def test_all_that_lasts_is_in_one_file(tmp_path: Path) -> None:
    file = lasting(tmp_path)
    runtime, bonds, book = Runtime(file), Bonds(file), Book(Policies([]), tmp_path / "state", file)
    assert (runtime.numbers(), bonds.load(), _names(book)) == ({}, None, [])

    book.create(CALL)
    runtime.keep({"call": (1, 3)})
    bonds.save(KEPT)
    runtime.count(Counted({"x": (5, 6)}))

    assert [path.name for path in tmp_path.iterdir()] == ["sessions.json"]
    json.loads((tmp_path / "sessions.json").read_text())
    later = Runtime(lasting(tmp_path))
    assert (later.numbers(), later.counted().before) == ({"call": (1, 3)}, {"x": (5, 6)})
    assert Bonds(lasting(tmp_path)).load() == KEPT
    assert _names(_book(tmp_path)) == ["call"]


def test_files_of_an_earlier_version_are_taken_over(tmp_path: Path) -> None:
    """Each is read until what it says is in the new one, and goes then."""
    _book(tmp_path).create(CALL)
    Bonds(lasting(tmp_path)).save(KEPT)
    data = json.loads((tmp_path / "sessions.json").read_text())
    (tmp_path / "clients.json").write_text(json.dumps(data["clients"]))
    (tmp_path / "mptcp.json").write_text(json.dumps(data["mptcp"]))
    (tmp_path / "sessions.json").write_text('{"numbers": {"call": [1, 3]}, "counted": {}}')

    assert _names(_book(tmp_path)) == ["call"]
    assert Bonds(lasting(tmp_path)).load() == KEPT
    file = lasting(tmp_path)
    Runtime(file).keep({"call": (2, 3)})
    assert _names(_book(tmp_path)) == ["call"]
    Book(Policies([]), tmp_path / "state", file).destroy("call")
    assert (tmp_path / "mptcp.json").exists()
    Bonds(file).save(Kept())

    assert [path.name for path in tmp_path.iterdir()] == ["sessions.json"]
    assert _names(_book(tmp_path)) == []
    assert Bonds(lasting(tmp_path)).load() == Kept()
    assert Runtime(lasting(tmp_path)).numbers() == {"call": (2, 3)}
