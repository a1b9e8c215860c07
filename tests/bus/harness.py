"""A private bus under the shipped policy, and the real face on it, serving an agent that lives in memory.

with Scene() as scene:
    subprocess.run(["mpathctl", "services"], env=scene.environment())
    scene.do(scene.agent.show(replace(CABLE, state=ServiceState.IDLE)))
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

from bus.seen import Seen
from mpathd.accounts import NAMES
from mpathd.bus.connman.face import connman_face
from mpathd.bus.native import native_face
from mpathd.model.agent import Edit, Pass, SessionWish, Status
from mpathd.model.errors import InvalidArguments, NotFound, NotSupported, Refusal
from mpathd.model.policy import ServiceSettings
from mpathd.model.routing import Rule, Step, Verb
from mpathd.model.session import Origin
from mpathd.model.sight import EventSeen
from mpathd.model.statistics import Statistics
from mpathd.model.view import Finding, Service, SessionView, View
from mpathd.model.words import Address, Family, MptcpMode, Prefix, ServiceState, Severity, Technology
from mpathd.model.world import Gateway, LinkAddress
from mpathd.plan.order import moved
from mpathd.plan.wishes import Limits, Wished, admitted, settings_of
from mpathd.plan.wishes import values as check

T = TypeVar("T")

CONF = Path(__file__).parents[2] / "conf"

# The standard's defaults for a system bus (system.conf of dbus), so that what opens the door is the shipped file.
BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <auth>EXTERNAL</auth>
  <listen>unix:path={socket}</listen>
  <!-- The bus's own bound (128) would hide ours. -->
  <limit name="max_replies_per_connection">10000</limit>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
  </policy>
  <include>{conf}/net.mpathd.conf</include>
  <include>{conf}/net.connman.conf</include>
  <!-- Whoever runs the tests plays root. -->
  <policy user="{user}">
    <allow own="net.mpathd"/>
    <allow own="net.connman"/>
  </policy>
</busconfig>
"""

# The post's three services.
CABLE = Service(
    id="ethernet_36e0bdee6014_cable",
    name="Wired",
    technology=Technology.ETHERNET,
    state=ServiceState.READY,
    index=23,
    interface="vethc1",
    mac="36:E0:BD:EE:60:14",
    mtu=1500,
    table=278,
    settings=ServiceSettings(),
    routed=False,
    because="MultipathRouting is off",
    addresses=(
        LinkAddress(Family.INET, Address("10.0.1.2"), 24),
        LinkAddress(Family.INET6, Address("fd00:1::2"), 64, permanent=False),
    ),
    gateways=(
        Gateway(Family.INET, Address("10.0.1.1"), "main", 100),
        Gateway(Family.INET, Address("10.0.1.254"), "networkd", 1024),
        Gateway(Family.INET6, Address("fe80::1"), "main", 1024),
    ),
)
SECOND = replace(
    CABLE,
    id="ethernet_265676f2a6d2_cable",
    index=25,
    interface="vethc2",
    mac="26:56:76:F2:A6:D2",
    table=280,
    addresses=(LinkAddress(Family.INET, Address("10.0.2.2"), 24, permanent=False),),
    gateways=(Gateway(Family.INET, Address("10.0.2.1"), "dhclient"),),
)
TUNNEL = replace(
    CABLE,
    id="vpn_tun0",
    name="VPN",
    technology=Technology.VPN,
    state=ServiceState.IDLE,
    index=27,
    interface="tun0",
    mac="",
    table=282,
    addresses=(),
    gateways=(Gateway(Family.INET, None, "main"),),
)

STEP = Step(Verb.ADD, Rule(Family.INET, 22002, Prefix("10.0.1.2/32"), table=278))
REFUSAL = Refusal("ip -4 route add default via 10.0.1.1 dev vethc1 table 278", 101, "Network is unreachable")


class FakeAgent:
    """An agent without a kernel: settings take effect at once, and the test scripts the rest.

    Args:
        services: what it shows at first.
    """

    def __init__(self, *services: Service) -> None:
        self.view = View(services or (CABLE, SECOND, TUNNEL))
        self.defaults = ServiceSettings()
        self.number = 0
        self.asked: list[tuple[str, str, object]] = []
        self.refreshed = 0
        self.reloaded = 0
        self.refused: tuple[Refusal, ...] = ()
        self.edits: list[Edit] = []
        self.wished: dict[str, Wished] = {}
        self.numbers: dict[str, int] = {}
        self.limits = Limits()
        self.counts: dict[str, Statistics] = {}
        self.seeing = Seen()
        self.failure: Exception | None = None  # raised by the next changes, while it is set
        self.open = asyncio.Event()  # cleared: changes wait
        self.open.set()
        self._watchers: list[asyncio.Queue[Pass]] = []

    @property
    def status(self) -> Status:
        """As an agent with a few objects in the kernel would say."""
        return Status(
            passes=self.number,
            settled=not self.refused,
            age=1.5,
            routes=6,
            rules=8,
            refused=self.refused,
            version="0.1.0",
            pid=os.getpid(),
            config="/etc/mpathd/mpathd.conf",
            extra={"MPTCP": "not supported by this kernel"},
        )

    async def change(self, edit: Edit) -> None:
        """Take settings over at once.

        Args:
            edit: the wish.
        """
        self.edits.append(edit)
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        known = {service.id for service in self.view.services}
        if edit.service is None:
            self.defaults = _settings(self.defaults, edit)
        elif edit.service not in known:
            msg = f"no service called {edit.service!r}"
            raise NotFound(msg, f"services here: {', '.join(sorted(known))}")
        await self.show(
            *(
                replace(service, settings=_settings(service.settings, edit))
                if edit.service in {None, service.id}
                else service
                for service in self.view.services
            ),
            reason=f"setting {', '.join(edit.values)}",
        )

    async def move(self, service: str, other: str, *, before: bool) -> None:
        """Put a service elsewhere at once.

        Args:
            service: the one that is moved.
            other: where to.
            before: before it, else behind it.
        """
        self.asked.append(("move before" if before else "move after", service, other))
        if self.failure is not None:
            raise self.failure
        here = {one.id: one for one in self.view.services}
        if service == other:
            raise InvalidArguments(f"service '{service}' cannot stand before itself", "name two services")
        await self.show(*(here[name] for name in moved((*here,), (), service, other, before=before)), reason="order")

    async def create_session(self, wish: SessionWish) -> None:
        """Make a session at once.

        Args:
            wish: what it is to be.
        """
        self.asked.append(("create", wish.name, wish))
        item = Wished(settings_of(wish, NAMES), wish.user)
        admitted(item, self.wished.values(), (), self.limits)
        self.wished[wish.name] = item
        await self._again(f"session {wish.name} is new")

    async def change_session(self, name: str, values: Mapping[str, object]) -> None:
        """Change a session at once.

        Args:
            name: the session.
            values: field to value.
        """
        self.asked.append(("change", name, values))
        item = self._wish(name)
        fresh: dict[str, Any] = check(values, NAMES)
        self.wished[name] = replace(item, settings=replace(item.settings, **fresh))
        await self._again(f"session {name} is changed")

    async def connect_session(self, name: str, *, active: bool) -> None:
        """Make a session active or not.

        Args:
            name: the session.
            active: whether its traffic is routed.
        """
        self.asked.append(("connect", name, active))
        self.wished[name] = replace(self._wish(name), active=active)
        await self._again(f"session {name} is connected: {active}")

    async def destroy_session(self, name: str) -> None:
        """End a session at once.

        Args:
            name: the session.
        """
        self.asked.append(("destroy", name, None))
        self._wish(name)
        del self.wished[name]
        await self._again(f"session {name} has ended")

    def end_sessions(self, gone: Callable[[str, str], bool]) -> None:
        """End sessions whose owners are gone; they are seen to be gone a little later.

        Args:
            gone: tells of a unique bus name and of its bus's GUID whether its owner is gone.
        """
        there = dict(self.wished)
        for name, item in there.items():
            if (client := item.settings.client) is not None and gone(item.settings.owner, client.bus):
                del self.wished[name]
        if there != self.wished:
            asyncio.get_running_loop().call_soon(self._play, "client gone")

    def _wish(self, name: str) -> Wished:
        item = self.wished.get(name)
        if item is None:
            raise NotFound(f"no session called '{name}'", "sessions here")
        if item.settings.origin is Origin.POLICY:
            raise NotSupported(f"session '{name}' is made by {item.settings.owner}", "edit that file")
        return item

    async def _again(self, reason: str) -> None:
        await self.open.wait()
        self._play(reason)
        await asyncio.sleep(0)  # as in the agent, news may be read before the caller goes on

    def _sessions(self, services: tuple[Service, ...]) -> Iterator[SessionView]:
        for name, item in self.wished.items():
            number = self.numbers.setdefault(name, len(self.numbers) + 1)
            bearers = item.settings.allowed_bearers
            good = [s for s in services if s.state.connected and item.active and {"*", s.technology.value} & {*bearers}]
            serves = {family: service.id for family in Family for service in reversed(good) if _has(service, family)}
            best = next((s for s in good if s.id in serves.values()), None)
            yield SessionView(
                name=name,
                number=number,
                mark=number << 16,
                state="connected" if best else "disconnected",
                bearer=best.technology.value if best else "",
                interface=best.interface if best else "",
                service=best.id if best else "",
                routed=tuple(s.id for s in good if s.routed and s is not best),
                reason="because",
                active=item.active,
                settings=item.settings,
                defaults=serves,
            )

    async def enter_session(self, name: str, pid: int, user: int) -> str:
        """Say that a process is in a group."""
        self.asked.append((name, "enter", (pid, user)))
        return f"/sys/fs/cgroup/mpathd/{name}"

    def statistics(self, name: str, *, now: bool = False) -> Statistics:
        """Give what somebody has put into `counts`."""
        return self.counts.get(name, Statistics())

    def hear(self, *told: EventSeen) -> None:
        """Play that the kernel told of MPTCP connections.

        Args:
            told: the events.
        """
        for queue in self._watchers:
            queue.put_nowait(Pass(self.number, ("mptcp",), self.view, self.view, heard=told))

    async def refresh(self) -> None:
        """Count."""
        self.refreshed += 1

    async def reload(self) -> None:
        """Count, or fail as scripted."""
        self.reloaded += 1
        if self.failure is not None:
            raise self.failure

    def passes(self) -> AsyncIterator[Pass]:
        """Every pass from now on."""
        queue: asyncio.Queue[Pass] = asyncio.Queue()
        self._watchers.append(queue)

        async def each() -> AsyncIterator[Pass]:
            while True:
                yield await queue.get()

        return each()

    async def show(
        self,
        *services: Service,
        findings: tuple[Finding, ...] = (),
        reason: str = "test",
        steps: tuple[Step, ...] = (STEP,),
        refused: tuple[Refusal, ...] = (),
    ) -> None:
        """Play a pass after which these services are shown.

        Args:
            services: all that there are.
            findings: all that there are.
            reason: why the agent looked.
            steps: what it wrote.
            refused: what the kernel refused.
        """
        self.refused = refused
        self.view = replace(self.view, findings=findings)
        self._play(reason, services, steps)

    def _play(
        self, reason: str, services: tuple[Service, ...] | None = None, steps: tuple[Step, ...] = (STEP,)
    ) -> None:
        here = self.view.services if services is None else services
        before, self.view = self.view, View(here, tuple(self._sessions(here)), self.view.findings)
        self.number += 1
        for queue in self._watchers:
            queue.put_nowait(Pass(self.number, (reason,), before, self.view, steps, self.refused, 1.25))


def _has(service: Service, family: Family) -> bool:
    return any(address.family is family for address in service.addresses)


def _settings(old: ServiceSettings, edit: Edit) -> ServiceSettings:
    values: dict[str, Any] = dict(edit.values)
    if "mpath_tcp_link" in values:
        values["mpath_tcp_link"] = MptcpMode(values["mpath_tcp_link"])
    return replace(old, **values)


FINDING = Finding(
    "rp-filter-strict",
    Severity.HIGH,
    "vethc2 drops replies (rp_filter=1)",
    "sysctl -w net.ipv4.conf.vethc2.rp_filter=2",
)


class PrivateBus:
    """A dbus-daemon of its own, with the shipped policy over a system bus's defaults."""

    def __init__(self) -> None:
        # Not pytest's tmp_path: other users must be able to reach the socket, and its path must be short.
        self.folder = Path(tempfile.mkdtemp(prefix="mpathd-bus-"))
        self.folder.chmod(0o755)
        self.address = f"unix:path={self.folder}/socket"
        (self.folder / "bus.conf").write_text(
            BUS_CONFIG.format(socket=self.folder / "socket", conf=CONF, user=os.getuid())
        )
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start the daemon; it answers when this returns."""
        self.process = subprocess.Popen(
            ["dbus-daemon", f"--config-file={self.folder}/bus.conf", "--nofork", "--print-address"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("unix:")

    def kill(self) -> None:
        """End the daemon without ceremony, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def remove(self) -> None:
        """Leave nothing behind."""
        self.kill()
        shutil.rmtree(self.folder)


class Scene:
    """A private bus, an agent in memory and its face, running in a thread of their own while the block lasts.

    Args:
        services: what the agent shows at first; the post's by default.
        group: who may change settings besides root.
        connman: whether it has ConnMan's face too.
    """

    def __init__(self, *services: Service, group: str = "netdev", connman: bool = False) -> None:
        self.bus = PrivateBus()
        self._connman = connman
        self.loop = asyncio.new_event_loop()
        self._services = services
        self._group = group
        self._thread = threading.Thread(target=self._run, name="scene")
        self._up: Future[None] = Future()
        self._over: asyncio.Event

    def __enter__(self) -> Self:
        self.bus.start()
        self._thread.start()
        self._up.result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)
        self.bus.remove()

    @property
    def address(self) -> str:
        """Address of the bus."""
        return self.bus.address

    def environment(self) -> dict[str, str]:
        """The environment for a client of this bus."""
        return {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.address}

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the scene's loop and wait for it.

        Args:
            work: a coroutine.
        """
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._play())

    async def _play(self) -> None:
        self._over = asyncio.Event()
        self.agent = FakeAgent(*self._services)
        self.face = native_face(self.agent, self.address, self._group)
        self.faces = [self.face]
        if self._connman:
            self.faces.append(connman_face(self.agent, self.address, self._group))
        try:
            async with asyncio.TaskGroup() as group:
                for face in self.faces:
                    group.create_task(face.serve())
                    await face.tried()
                self._up.set_result(None)
                await self._over.wait()
                for face in self.faces:
                    await face.stop()
        except BaseException as error:
            if not self._up.done():
                self._up.set_exception(error)
            raise
