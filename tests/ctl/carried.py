"""What mpathd's face says of sessions' traffic, and of processes that enter them, scripted by the test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dbus_next import Variant

from bus.client import Client
from bus.harness import CABLE, Scene
from mpathd.bus.sessions import SESSION
from mpathd.bus.table import Arg, Call, Interface, Method
from mpathd.model.errors import MpathError

DRIVER = "org.freedesktop.DBus"
GROUP = "/sys/fs/cgroup/mpathd/"


def numbers(into: int, out: int) -> dict[str, Any]:
    """Counters of a session or of a service, for packets of 100 bytes.

    Args:
        into: packets that came in.
        out: packets that went out.
    """
    values = {"PacketsIn": into, "BytesIn": into * 100, "PacketsOut": out, "BytesOut": out * 100}
    return {name: Variant("t", value) for name, value in values.items()}


@dataclass
class Carried:
    """Answers Stats and Enter.

    Args:
        address: of the bus, which is asked whose process calls.
    """

    address: str
    packets: dict[str, tuple[int, int]] = field(default_factory=dict)  # session to packets in and out
    refusals: dict[str, MpathError] = field(default_factory=dict)  # method to what it says
    entered: list[tuple[str, int]] = field(default_factory=list)  # session and process
    asked: int = 0  # calls of Stats

    async def stats(self, call: Call) -> list[Any]:
        """Give the counters; all of it went by the cable, but for what was dropped.

        Args:
            call: the call.
        """
        self.asked += 1
        self._refuse("Stats")
        into, out = self.packets.get(_name(call), (0, 0))
        dropped = {"PacketsDropped": Variant("t", 3), "BytesDropped": Variant("t", 300)}
        link = {"Service": Variant("s", CABLE.id), "Interface": Variant("s", CABLE.interface)}
        return [{**numbers(into, out), **dropped, "Services": Variant("aa{sv}", [{**link, **numbers(into, out)}])}]

    async def enter(self, call: Call) -> list[Any]:
        """Note who enters, by what the bus says.

        Args:
            call: the call.
        """
        self._refuse("Enter")
        async with Client(self.address, DRIVER) as client:
            sender = (await call.caller()).sender
            pid = await client.call("/org/freedesktop/DBus", DRIVER, "GetConnectionUnixProcessID", "s", sender)
        self.entered.append((_name(call), pid))
        return [GROUP + _name(call)]

    def _refuse(self, method: str) -> None:
        if method in self.refusals:
            raise self.refusals[method]

    def interface(self) -> Interface:
        """The rows of a session, with ours."""
        ours = {
            "Stats": Method("Stats", self.stats, gives=(Arg("statistics", "a{sv}"),)),
            "Enter": Method("Enter", self.enter, gives=(Arg("cgroup", "s"),)),
        }
        others = [row for row in SESSION.methods if row.name not in ours]
        return replace(SESSION, methods=(*others, *ours.values()))


def _name(call: Call) -> str:
    return str(call.object.subject.session.name)


def sessions(scene: Scene) -> Mapping[str, Any]:
    """The sessions that there are, by name.

    Args:
        scene: the scene.
    """
    return dict(scene.agent.wished)
