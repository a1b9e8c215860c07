"""docs/api says what the table says, and the table what docs/api says."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from dbus_next import Message, Variant
from docutils.core import publish_doctree

from bus.client import MANAGER, SERVICES, Client
from bus.harness import CABLE, FINDING, SECOND, Scene
from bus.seen import FAR, NEAR
from mpathd.bus import mptcp, native
from mpathd.bus.sessions import NOTIFICATION, SESSION, TOLD
from mpathd.bus.table import Arg, Interface
from mpathd.model import errors
from mpathd.model.mptcp import Event, Kind
from mpathd.model.sight import EventSeen
from mpathd.model.statistics import ServiceCount, Statistics

DOCS = Path(__file__).parents[2] / "docs" / "api"
FACES = {
    "manager.rst": native.MANAGER,
    "mptcp.rst": mptcp.MPTCP,
    "service.rst": native.SERVICE,
    "session.rst": SESSION,
    "notification.rst": NOTIFICATION,
}
THEIRS = ("notification.rst",)  # offered by clients

ROW = re.compile(r"^``([^`]+)``(?: \[(\w+)\])?$", re.MULTILINE)
KEY = re.compile(r"^ +- ``(\w+)`` \(([^)]+)\):", re.MULTILINE)


def written(interface: Interface) -> set[tuple[str, str]]:
    """The rows of an interface as the documents write them.

    Args:
        interface: the interface.
    """

    def words(args: tuple[Arg, ...]) -> str:
        return ", ".join(f"{arg.signature} {arg.name}" for arg in args)

    rows = set()
    for method in interface.methods:
        gives = f" -> {words(method.gives)}" if method.gives else ""
        rows.add((f"{method.name}({words(method.takes)}){gives}", ""))
    for signal in interface.signals:
        rows.add((f"{signal.name}({words(signal.args)})", ""))
    for row in interface.properties:
        rows.add((f"{row.signature} {row.name}", "readwrite" if row.set else "readonly"))
    return rows


@pytest.mark.parametrize("name", FACES)
def test_every_row_and_nothing_else(name: str) -> None:
    text = (DOCS / name).read_text()

    assert Counter(ROW.findall(text)) == Counter(written(FACES[name]))
    assert f":Interface: {FACES[name].name}\n" in text
    assert (f":Service: {native.NAME}\n" in text) == (name not in THEIRS)


@pytest.mark.parametrize("name", sorted(path.name for path in DOCS.glob("*.rst")))
def test_it_is_clean_rst(name: str) -> None:
    settings = {"halt_level": 2, "report_level": 5}

    assert publish_doctree((DOCS / name).read_text(), settings_overrides=settings).children


@pytest.mark.parametrize("name", FACES)
def test_possible_errors_exist(name: str) -> None:
    kinds = {kind.name for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "name")}
    overview = set(re.findall(r"``net\.mpathd\.Error\.(\w+)``", (DOCS / "overview.rst").read_text()))
    named = re.findall(r"Possible errors: ([\w, ]+)", (DOCS / name).read_text())

    assert {error for line in named for error in line.split(", ")} - {"none"} <= overview
    assert overview == kinds


def test_every_key_of_every_dictionary(scene: Scene) -> None:
    async def play() -> tuple[Any, list[Message], Any]:
        async with Client(scene.address) as client:
            work = scene.agent.show(CABLE, findings=(FINDING,))
            await asyncio.to_thread(scene.do, work)
            await client.heard(lambda signals: [one for one in signals if one.member == "Pass"])
            status = await client.call(MANAGER, "net.mpathd.Manager", "GetStatus")
            properties = "org.freedesktop.DBus.Properties"
            service = await client.call(SERVICES + CABLE.id, properties, "GetAll", "s", "net.mpathd.Service")
            return status, client.signals, service

    status, signals, service = asyncio.run(play())
    manager_keys = keys(status) + keys(status["Findings"].value[0])
    manager_keys += keys(next(one for one in signals if one.member == "Pass").body[0])
    service_keys = keys(service["Ethernet"].value)
    for name in ("IPv4", "IPv6", "Gateways"):
        service_keys += keys(service[name].value[0])
    assert Counter(KEY.findall((DOCS / "manager.rst").read_text())) == Counter(manager_keys)
    assert Counter(KEY.findall((DOCS / "service.rst").read_text())) == Counter(service_keys)


def test_every_key_of_a_session(scene: Scene) -> None:
    async def play() -> Any:
        async with Client(scene.address) as client:
            path = await client.call(MANAGER, "net.mpathd.Manager", "CreateSession", "a{sv}o", {}, "/a")
            properties = "org.freedesktop.DBus.Properties"
            scene.agent.counts = dict.fromkeys(scene.agent.wished, carried)
            return await client.call(path, properties, "GetAll", "s", SESSION.name)

    carried = Statistics((ServiceCount(CABLE.id, CABLE.interface, (1, 60), (2, 120)),))
    scene.do(scene.agent.show(CABLE, SECOND))
    session = asyncio.run(play())
    found = keys(session["IPv4"].value) + keys(session["IPv6"].value)
    found += keys(session["Statistics"].value) + keys(session["Statistics"].value["Services"].value[0])
    assert Counter(KEY.findall((DOCS / "session.rst").read_text())) == Counter(found)
    told = KEY.findall((DOCS / "notification.rst").read_text())
    assert Counter(told) == Counter((row.name, row.signature) for row in TOLD)


def test_every_key_of_mptcp(scene: Scene) -> None:
    """Of a subflow, those of a connection are told again; what an event does not tell is missing, so one tells all."""
    event = Event(Kind.SUB_CLOSED, 7, NEAR, 1, FAR, 2, local=3, remote=4, backup=True, error=104, index=2)

    async def play() -> tuple[Any, Any]:
        async with Client(scene.address) as client:
            connections, _, _ = await client.call(MANAGER, mptcp.MPTCP.name, "GetConnections", "u", 0)
            scene.loop.call_soon_threadsafe(scene.agent.hear, EventSeen(event, "words", "vethc1"))
            (told,) = await client.heard(lambda signals: [one for one in signals if one.member == "Event"])
            return connections[1], told.body[0]

    one, told = asyncio.run(play())
    found = keys(one) + keys(one["Processes"].value[0]) + keys(one["Subflows"].value[0]) + keys(told)
    assert Counter(KEY.findall((DOCS / "mptcp.rst").read_text())) == Counter(found)


def keys(bag: dict[str, Variant]) -> list[tuple[str, str]]:
    """The keys of an a{sv} and the types of its values.

    Args:
        bag: from the bus.
    """
    return [(key, value.signature) for key, value in bag.items()]
