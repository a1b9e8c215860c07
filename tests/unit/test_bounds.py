"""Policy entries as bounds: what is left of a wish, whom an entry names, and that nothing is lost of the wish."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpathd.book import Book
from mpathd.model.agent import SessionWish
from mpathd.model.errors import MpathError
from mpathd.model.session import ANY_BEARER, BEARERS, ConnectionType, Nat, Origin, SessionSettings, Without
from mpathd.plan.bounds import Bounds, bounded
from mpathd.policies import Policies
from mpathd.runtime import lasting

ASKED = SessionSettings("_1_7/app", Origin.DBUS, ":1.7", only_user=1000)
ENTRY = SessionSettings("p", Origin.POLICY, "p.toml", users=(1000,))
GROUPS = {1000: 50}


def cut(asked: SessionSettings, *entries: SessionSettings) -> SessionSettings:
    """What is left, without the names of who left it."""
    return replace(bounded(asked, entries), bounds=())


def led(bearers: Iterable[str]) -> list[str]:
    """The bearers that a list allows, in its order; those that "*" stands for in theirs."""
    named = list(bearers)
    rest = [bearer for bearer in BEARERS if bearer not in named and bearer != "vpn"]
    return [bearer for item in named for bearer in (rest if item == ANY_BEARER else [item])]


def ordered(wanted: Iterable[str], found: Iterable[str]) -> list[str]:
    """Those of `wanted` that are in `found`, in the order of `found`."""
    return [bearer for bearer in found if bearer in set(wanted)]


BEARER_LISTS = st.lists(st.sampled_from(BEARERS), unique=True, max_size=len(BEARERS)).map(tuple)


@given(BEARER_LISTS, BEARER_LISTS)
def test_bearers_are_those_that_both_allow(asked: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    got = cut(replace(ASKED, allowed_bearers=asked), replace(ENTRY, allowed_bearers=allowed)).allowed_bearers

    assert len(set(got)) == len(got)
    assert set(led(got)) == set(led(asked)) & set(led(allowed))


@given(BEARER_LISTS, BEARER_LISTS)
def test_their_order_is_the_entrys_and_the_sessions_where_the_entry_has_none(
    asked: tuple[str, ...], allowed: tuple[str, ...]
) -> None:
    got = led(cut(replace(ASKED, allowed_bearers=asked), replace(ENTRY, allowed_bearers=allowed)).allowed_bearers)
    named = [bearer for bearer in allowed if bearer != ANY_BEARER]
    others = [bearer for bearer in got if bearer not in named]

    assert ordered(named, got) == [bearer for bearer in named if bearer in got]
    assert ordered(asked, others) == [bearer for bearer in asked if bearer in others]
    if ANY_BEARER in allowed:
        first = [bearer for bearer in allowed[: allowed.index(ANY_BEARER)] if bearer in got]
        assert got == [*first, *others, *(bearer for bearer in got if bearer in named and bearer not in first)]


def test_the_order_within_a_star() -> None:
    allowed = replace(ENTRY, allowed_bearers=("ethernet", "*", "wifi"))
    asked = replace(ASKED, allowed_bearers=("wifi", "gadget", "vpn", "*", "cellular"))

    assert cut(asked, allowed).allowed_bearers == ("ethernet", "gadget", "*", "cellular", "wifi")


@pytest.mark.parametrize(
    ("asked", "allowed", "got"),
    [
        ("any", "any", "any"),
        ("any", "local", "local"),
        ("internet", "local", "internet"),
        ("any", "internet", "internet"),
    ],
)
def test_the_stricter_type(asked: str, allowed: str, got: str) -> None:
    left = cut(
        replace(ASKED, connection_type=ConnectionType(asked)), replace(ENTRY, connection_type=ConnectionType(allowed))
    )
    assert left.connection_type == got


@pytest.mark.parametrize(("asked", "allowed"), [("", "a"), ("*", "a"), ("a", "a"), ("a", ""), ("a", "*")])
def test_the_interface_that_one_of_them_names(asked: str, allowed: str) -> None:
    left = cut(replace(ASKED, allowed_interface=asked), replace(ENTRY, allowed_interface=allowed))
    assert (left.allowed_interface, left.allowed_bearers) == ("a", ("*",))


def test_no_bearer_where_they_name_two() -> None:
    left = cut(replace(ASKED, allowed_interface="a"), replace(ENTRY, allowed_interface="b"))
    assert (left.allowed_interface, left.allowed_bearers) == ("a", ())


@pytest.mark.parametrize(
    ("asked", "allowed", "got"),
    [
        (None, None, None),
        (None, ("a", "b"), ("a", "b")),
        (("*",), ("a",), ("a",)),
        (("a", "b"), None, ("a", "b")),
        (("a", "b"), ("*",), ("a", "b")),
        (("a", "b"), ("b", "c"), ("b",)),
        (("a",), (), ()),
        ((), None, ()),
    ],
)
def test_services(asked: tuple[str, ...] | None, allowed: tuple[str, ...] | None, got: tuple[str, ...] | None) -> None:
    assert cut(replace(ASKED, services=asked), replace(ENTRY, services=allowed)).services == got


@pytest.mark.parametrize("asked", Without)
@pytest.mark.parametrize("allowed", Without)
def test_blocked_if_one_of_them_says_so(asked: Without, allowed: Without) -> None:
    left = cut(replace(ASKED, without_service=asked), replace(ENTRY, without_service=allowed)).without_service
    assert (left is Without.BLOCK) == (Without.BLOCK in {asked, allowed})


def test_nothing_else_of_a_wish_is_touched() -> None:
    asked = replace(ASKED, priority=7, nat=Nat.NEVER, description="x", users=(3,), context_identifier="c")
    assert cut(asked, replace(ENTRY, priority=900, groups=(9,), cgroup="a", description="y")) == asked


def test_all_entries_bound_and_the_highest_priority_has_the_order_of_bearers() -> None:
    low = replace(
        ENTRY, name="low", allowed_bearers=("wifi", "ethernet", "cellular"), connection_type=ConnectionType.LOCAL
    )
    high = replace(ENTRY, name="high", allowed_bearers=("cellular", "ethernet"), priority=500, allowed_interface="a")
    late = replace(ENTRY, name="late", allowed_bearers=("ethernet", "cellular"))

    left = bounded(ASKED, (low, high, late))

    assert left.bounds == ("high", "low", "late")
    assert left.allowed_bearers == ("cellular", "ethernet")
    assert (left.allowed_interface, left.connection_type) == ("a", ConnectionType.LOCAL)
    assert bounded(ASKED, (late, low)).allowed_bearers == ("ethernet", "cellular")


def names(asked: SessionSettings, *entries: SessionSettings) -> tuple[str, ...]:
    """The entries that bound a session."""
    (got,) = Bounds(GROUPS.get).bind((asked,), entries)
    return got.bounds


ROOTS = SessionSettings("x", Origin.NAMED, "root")


@pytest.mark.parametrize(
    ("asked", "bound"),
    [
        (ASKED, ("user", "group")),
        (replace(ASKED, only_user=1), ()),
        (replace(ASKED, only_user=1, users=(1000,)), ()),  # only his own sockets are caught
        (replace(ASKED, only_user=1, groups=(50,)), ("group",)),
        (ROOTS, ()),
        (replace(ROOTS, users=(5, 1000)), ("user",)),  # in which group, nobody says
        (replace(ROOTS, groups=(50,)), ("group",)),
        (replace(ROOTS, cgroup="a/b"), ("cgroup",)),
        (replace(ROOTS, cgroup="a/b/c"), ("cgroup",)),
        (replace(ROOTS, cgroup="a"), ()),
        (replace(ROOTS, cgroup="a/bc"), ()),
        (replace(ROOTS, users=(1000,), groups=(50,), cgroup="a//b"), ("user", "group", "cgroup")),
    ],
)
def test_whose_traffic_it_is(asked: SessionSettings, bound: tuple[str, ...]) -> None:
    entries = (
        replace(ENTRY, name="user"),
        replace(ENTRY, name="group", users=(), groups=(50, 51)),
        replace(ENTRY, name="cgroup", users=(), cgroup="a/b"),
        replace(ENTRY, name="flows", users=()),
    )
    assert names(asked, *entries) == bound


def test_what_does_not_change_is_the_same_object() -> None:
    bounds, other = Bounds(GROUPS.get), replace(ASKED, name="other", only_user=1)
    entries = (replace(ENTRY, allowed_bearers=("ethernet",)),)
    first = bounds.bind((ASKED, other), entries)

    assert first[1] is other
    assert bounds.bind((ASKED, other), entries)[0] is first[0]
    read_again = tuple(replace(entry) for entry in entries)
    assert bounds.bind((other, ASKED), read_again) == (first[1], first[0])
    more = (*read_again, replace(ENTRY, name="q", users=(2,)))
    assert bounds.bind((ASKED,), more)[0] is first[0]
    assert bounds.bind((ASKED,), (replace(entries[0], allowed_bearers=("wifi",)),))[0].allowed_bearers == ("wifi",)
    assert bounds.bind((replace(ASKED, allowed_bearers=("wifi",)),), entries)[0].allowed_bearers == ()
    assert bounds.bind((ASKED,), ())[0] is ASKED
    assert bounds.bind((ASKED,), entries)[0] == first[0]


def test_the_book_keeps_the_wish_and_gives_what_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "policy.d"
    folder.mkdir()
    file = folder / "p.toml"
    text = '[session.p]\nusers = [4711]\nallowed_bearers = ["ethernet"]\n'
    file.write_text(text)
    wish = SessionWish("x", Origin.NAMED, "root", 0, True, {"users": ["4711"], "allowed_bearers": ["wifi", "ethernet"]})

    def given(book: Book) -> tuple[str, ...]:
        return next(settings.allowed_bearers for settings in book.load()[0] if settings.name == "x")

    book = Book(Policies([folder]), tmp_path, lasting(tmp_path / "run"))
    book.create(wish)
    assert given(book) == ("ethernet",)
    book.change("x", {"priority": 5})
    assert given(Book(Policies([folder]), tmp_path, lasting(tmp_path / "run"))) == ("ethernet",)

    file.write_text(text.replace("4711", "4712"))
    assert given(book) == ("wifi", "ethernet")
    file.write_text(text)
    assert given(book) == ("ethernet",)
    book.change("x", {"users": ["4713"]})
    assert given(book) == ("wifi", "ethernet")


def test_an_entry_that_waits_bounds_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('[session.x]\nusers = [4711]\nallowed_bearers = ["ethernet"]\n')
    book = Book(Policies([tmp_path]), tmp_path, lasting(tmp_path / "run"))
    book.create(SessionWish("x", Origin.NAMED, "root", 0, True, {"users": ["4711"]}))

    (settings,), (finding,) = book.load()

    assert (settings.origin, settings.bounds, finding.code) == (Origin.NAMED, (), "policy-name")


@pytest.mark.parametrize("origin", [Origin.NAMED, Origin.DBUS])
def test_a_disk_that_refuses_is_named_with_what_to_do(tmp_path: Path, origin: Origin) -> None:
    (tmp_path / "file").touch()
    book = Book(Policies([]), tmp_path / "file", lasting(tmp_path / "file"))

    with pytest.raises(MpathError) as refused:
        book.create(SessionWish("x", origin, "root", 0, True, {"users": ["4711"]}))

    assert refused.value.text == f"cannot save sessions in {tmp_path}/file/sessions.json: Not a directory"
    assert refused.value.hint == "nothing was changed; free or mend the disk"
    there, findings = book.load()
    assert there == ()
    text = f"{tmp_path}/file/sessions.json cannot be used: Not a directory; its sessions are gone"
    assert {finding.text for finding in findings} == {text}


def test_a_stored_session_that_cannot_be_used_is_named_and_the_others_stay(tmp_path: Path) -> None:
    book = Book(Policies([]), tmp_path, lasting(tmp_path / "run"))
    for name in ("one", "two", "three"):
        book.create(SessionWish(name, Origin.NAMED, "root", 0, True, {"allowed_interface": f"eth-{name}"}))
    file = tmp_path / "sessions.json"
    file.write_text(file.read_text().replace("eth-two", "of-sixteen-bytes"))

    there, (finding,) = Book(Policies([]), tmp_path, lasting(tmp_path / "run")).load()

    assert [settings.name for settings in there] == ["one", "three"]
    assert (finding.code, "\n" in finding.text) == ("sessions", False)
    assert finding.text.startswith(
        f"{file}: session 'two' cannot be used: AllowedInterface = 'of-sixteen-bytes' does not"
    )
    assert finding.text.endswith("; it is gone, others go on")


def test_that_finding_goes_when_the_session_is_made_again(tmp_path: Path) -> None:
    wish = SessionWish("one", Origin.NAMED, "root", 0, True, {"allowed_interface": "eth-one"})
    Book(Policies([]), tmp_path, lasting(tmp_path / "run")).create(wish)
    file = tmp_path / "sessions.json"
    file.write_text(file.read_text().replace("eth-one", "of-sixteen-bytes"))
    book = Book(Policies([]), tmp_path, lasting(tmp_path / "run"))
    assert [finding.code for finding in book.load()[1]] == ["sessions"]

    book.create(wish)
    assert book.load()[1] == ()
    book.destroy("one")
    assert book.load()[1] == ()
