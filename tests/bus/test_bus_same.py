"""What has not changed is not made, read or told again: a pass costs the same whatever else is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bus.harness import CABLE, SECOND, TUNNEL, FakeAgent
from mpathd.bus.connman.face import ConnmanSurface
from mpathd.bus.native import MANAGER, ROOT, NativeSurface, service_path
from mpathd.bus.notices import Notices
from mpathd.bus.sessions import SESSION
from mpathd.bus.standard import ADDED
from mpathd.bus.table import Listener, Object, Property, Tree
from mpathd.model.session import Client, Origin, SessionSettings
from mpathd.model.view import Finding, Service, SessionView, View
from mpathd.model.words import Family, Severity

Surface = Callable[[FakeAgent], Any]
SURFACES = pytest.mark.parametrize(
    ("surface", "face", "folder"),
    [
        (NativeSurface, "net.mpathd", "/net/mpathd/session/"),
        (ConnmanSurface, "net.connman", "/sessions/"),
    ],
)


def session(name: str, service: Service, face: str = "net.mpathd") -> SessionView:
    settings = SessionSettings(name, Origin.DBUS, ":1.2", client=Client("guid", face, f"/{name}"))
    served = {Family.INET: service.id}
    return SessionView(name, 1, 1 << 16, "connected", "ethernet", "", service.id, (), "", True, settings, served)


def again(view: View) -> View:
    """The same picture, as a pass makes it that has worked everything out anew."""
    return View(tuple(replace(s) for s in view.services), tuple(replace(s) for s in view.sessions), view.findings)


@SURFACES
def test_an_equal_picture_is_the_same_tree(surface: Surface, face: str, folder: str) -> None:
    agent = FakeAgent()
    agent.view = View((CABLE, SECOND), (session("a", CABLE, face),))
    shown = surface(agent)
    tree = shown.tree()

    agent.view = replace(again(agent.view), findings=(Finding("new", Severity.LOW, "a finding"),))

    assert shown.tree() is tree
    assert folder + "a" in tree.objects


@SURFACES
def test_a_new_session_leaves_the_others_as_they_are(surface: Surface, face: str, folder: str) -> None:
    agent = FakeAgent()
    agent.view = View((CABLE, SECOND), (session("a", CABLE, face), session("b", SECOND, face)))
    shown = surface(agent)
    before = shown.tree().objects

    agent.view = replace(again(agent.view), sessions=(*again(agent.view).sessions, session("c", CABLE, face)))

    after = shown.tree().objects
    assert list(after) == [*before, folder + "c"]
    assert all(after[path] is thing for path, thing in before.items())


@SURFACES
def test_a_service_changes_for_those_who_go_by_it(surface: Surface, face: str, folder: str) -> None:
    agent = FakeAgent()
    agent.view = View((CABLE, SECOND), (session("a", CABLE, face), session("b", SECOND, face)))
    shown = surface(agent)
    before = shown.tree().objects

    agent.view = replace(agent.view, services=(CABLE, replace(SECOND, name="Other")))

    after = shown.tree().objects
    assert after[folder + "a"] is before[folder + "a"]
    assert after[folder + "b"] is not before[folder + "b"]
    assert after[folder + "b"].subject.best.name == "Other"


def test_defaults_change_the_manager_alone() -> None:
    agent = FakeAgent()
    shown = NativeSurface(agent)
    before = shown.tree().objects

    agent.defaults = replace(agent.defaults, autoconnect=not agent.defaults.autoconnect)

    after = shown.tree().objects
    assert [path for path in after if after[path] is not before[path]] == [ROOT]


def test_the_order_of_services_is_the_order_of_the_tree() -> None:
    agent = FakeAgent(CABLE, SECOND, TUNNEL)
    shown = NativeSurface(agent)
    shown.tree()

    agent.view = replace(agent.view, services=(TUNNEL, CABLE, SECOND))

    assert list(shown.tree().objects) == [ROOT, *(service_path(one.id) for one in (TUNNEL, CABLE, SECOND))]


def test_sessions_that_come_and_go_are_told_twice_over() -> None:
    agent = FakeAgent()
    agent.view = View((CABLE,), (session("a", CABLE),))
    shown = NativeSurface(agent)
    before = shown.tree()
    agent.view = View((CABLE, SECOND), (session("b", CABLE),))

    told = [(one.signal.name, one.interface, one.body) for one in shown.changes(before, shown.tree())]

    assert [name for name, _, _ in told] == [
        *("InterfacesRemoved", "InterfacesAdded", "InterfacesAdded"),
        *("SessionRemoved", "SessionAdded"),
    ]
    assert told[3][1:] == (MANAGER.name, ["/net/mpathd/session/a"])
    path, values = told[4][2]
    assert (path, values) == ("/net/mpathd/session/b", told[2][2][1][SESSION.name])
    assert told[2][0] == ADDED.name
    assert values.keys() == {row.name for row in SESSION.properties}


def test_listeners_cost_nothing_while_nothing_changes() -> None:
    read: list[str] = []

    def get(subject: str) -> str:
        read.append(subject)
        return subject

    def thing(name: str, subject: str) -> Object:
        return Object(f"/{name}", subject, (), Listener(":1.2", f"/{name}", "a.b", (Property("A", "s", get),)))

    notices = Notices()
    one, two = thing("one", "1"), thing("two", "2")
    first = list(notices.news(Tree({"/one": one, "/two": two})))
    assert [(notice.listener.path, notice.body[0]["A"].value) for notice in first] == [("/one", "1"), ("/two", "2")]
    read.clear()

    changed = thing("two", "other")
    (only,) = notices.news(Tree({"/one": one, "/two": changed}))

    assert (only.listener.path, read) == ("/two", ["other"])
    assert not list(notices.news(Tree({"/one": one, "/two": changed})))
    (gone,) = notices.news(Tree({"/two": changed}))
    assert (gone.listener.path, gone.row.name) == ("/one", "Release")
