"""Settings: checks, precedence, edits, and their form on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpathd.model.agent import Edit
from mpathd.model.errors import ConfigError, InvalidArguments, InvalidProperty, MpathError
from mpathd.model.policy import Policy, ServiceSettings, Stored
from mpathd.model.words import MptcpMode
from mpathd.plan.settings import check, defaults, edited, effective
from mpathd.plan.stored import dump, load
from mpathd.store import Store

VALUES = st.fixed_dictionaries(
    {},
    optional={
        "multipath_routing": st.booleans(),
        "autoconnect": st.booleans(),
        "mpath_tcp_link": st.sampled_from([m.value for m in MptcpMode]),
    },
)
NAMES = st.lists(st.text(max_size=8), max_size=4, unique=True).map(tuple)
STORED = st.builds(Stored, VALUES, st.dictionaries(st.text(max_size=8), VALUES, max_size=4), NAMES)


def test_a_service_s_own_value_wins_over_the_stored_default_and_that_over_the_file() -> None:
    policy = Policy(defaults=ServiceSettings(multipath_routing=True))
    assert defaults(policy).multipath_routing

    policy = replace(policy, stored=Stored({"multipath_routing": False}))
    assert not effective(policy.defaults, policy.stored, "a").multipath_routing

    policy = replace(policy, stored=Stored({"multipath_routing": False}, {"a": {"multipath_routing": True}}))
    assert effective(policy.defaults, policy.stored, "a").multipath_routing
    assert not effective(policy.defaults, policy.stored, "b").multipath_routing


def test_a_default_forgets_what_services_had_of_it_and_nothing_else() -> None:
    stored = Stored(
        {}, {"a": {"multipath_routing": False, "mpath_tcp_link": "backup"}, "b": {"multipath_routing": False}}, ("b",)
    )

    after = edited(stored, Edit({"multipath_routing": True}))

    assert after == Stored({"multipath_routing": True}, {"a": {"mpath_tcp_link": "backup"}}, ("b",))


def test_what_passes_wins_until_the_same_is_set_to_last() -> None:
    off = Edit({"autoconnect": False}, "a", lasting=False)
    stored = edited(edited(Stored({}, {"a": {"multipath_routing": True}}), off), replace(off, service="b"))

    assert [effective(ServiceSettings(), stored, name).autoconnect for name in "abc"] == [False, False, True]
    assert effective(ServiceSettings(), stored, "a").multipath_routing
    assert load(dump(stored)) == Stored({}, {"a": {"multipath_routing": True}}), "the next start knows nothing of it"
    assert edited(stored, replace(off, values={"autoconnect": True})).passing["a"] == {"autoconnect": True}

    lasting = edited(stored, Edit({"autoconnect": True}, "a"))
    assert [effective(ServiceSettings(), lasting, name).autoconnect for name in "ab"] == [True, False]
    assert lasting.passing == {"b": {"autoconnect": False}}
    assert edited(stored, Edit({"mpath_tcp_link": "off"}, "a")).passing == stored.passing
    assert edited(stored, Edit({"autoconnect": True})) == Stored(
        {"autoconnect": True}, {"a": {"multipath_routing": True}}
    )


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"multipath": True}, InvalidProperty, "no setting called 'multipath'"),
        ({"multipath_routing": "yes"}, InvalidArguments, "true or false"),
        ({"multipath_routing": 1}, InvalidArguments, "true or false"),
        ({"mpath_tcp_link": "maybe"}, InvalidArguments, "on, backup, off"),
        ({"mpath_tcp_link": True}, InvalidArguments, "on, backup, off"),
    ],
)
def test_bad_values(values: dict[str, object], kind: type[MpathError], words: str) -> None:
    with pytest.raises(kind, match=words):
        check(values)


@given(STORED)
def test_what_is_saved_is_loaded(stored: Stored) -> None:
    assert load(dump(stored)) == stored


def test_a_file_without_an_order_is_an_older_one() -> None:
    assert load('{"version": 1, "defaults": {}, "services": {}}') == Stored()


@pytest.mark.parametrize("order", ['"eth0"', "[1]", "{}", "null"])
def test_an_order_that_is_none_is_said(order: str) -> None:
    with pytest.raises(ConfigError, match="order is"):
        load(f'{{"version": 1, "defaults": {{}}, "services": {{}}, "order": {order}}}')


@given(st.text() | st.sampled_from(["{}", "[]", '{"version": 1}', '{"version": 2, "defaults": {}, "services": {}}']))
def test_anything_else_is_a_named_error(text: str) -> None:
    with pytest.raises(ConfigError):
        load(text)


def test_a_broken_file_is_put_aside_not_lost(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(Stored({"multipath_routing": True}))
    (tmp_path / "settings.json").write_text('{"version": 1, "defau')

    stored, trouble = store.load()

    assert stored == Stored()
    assert "settings.json.bad" in trouble
    assert (tmp_path / "settings.json.bad").read_text() == '{"version": 1, "defau'


def test_a_disk_that_refuses_is_said_and_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file")

    with pytest.raises(MpathError, match="cannot save settings"):
        store.save(Stored())
