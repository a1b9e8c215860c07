"""ConnMan's own python scripts, unmodified, do their work with mpathd."""

from __future__ import annotations

import pytest

from connman.programs import World, updates
from kernel.helpers_sessions import FAMILIES, OF, OTHER, PORT, ROUTERS
from labkit.agent import eventually

pytestmark = pytest.mark.kernel

WHOLE = {
    *("AllowedBearers", "Bearer", "ConnectionType", "State", "FlowSelectors", "MultipathRoutedServices"),
    *("IPv4", "IPv6", "Interface", "Name", "AllowedInterface", "ContextIdentifier", "SourceIPRule"),
}


def way(number: int, family: int) -> tuple[str, str]:
    """The way by a link, with that link's source."""
    return ROUTERS[number - 1][1], OF[family][number - 1]


def test_those_that_look(world: World) -> None:
    assert world.script("get-state") == "System is ready\n"
    for name, path in (("get-services", "/net/connman/service/"), ("list-services", "")):
        text = world.script(name)
        assert [line for line in text.splitlines() if line.startswith("[")] == [f"[ {path}{x} ]" for x in world.ids]
        assert text.count("    State = ready\n") == 3
        assert f"    IPv4 = {{ Method=manual Address={OF[4][0]} Netmask=255.255.255.0 Gateway=10.0.1.1 }}\n" in text
    text = world.script("test-manager")
    assert text.startswith("State\n    ready\nOfflineMode\n    false\nSessionMode\n    false\nServices\n")
    assert "Technologies\n    /net/connman/technology/ethernet\n" in text
    assert "TimeUpdates = manual\n" in world.script("test-clock")
    assert world.script("test-connman", "state") == "System is ready\n"
    listed = world.script("test-connman", "services")
    assert listed.splitlines() == [f"* AR {'Wired':26} {{ {name} }}" for name in world.ids]


def test_those_that_change(world: World) -> None:
    first, second, third = world.ids
    assert world.script("test-connman", "autoconnect", first, "n") == f"Auto connect 0 for {first}\n"
    assert world.script("test-connman", "autoconnect", first) == "Auto connect 0 for Wired\n"
    assert world.script("test-connman", "autoconnect", first, "y") == f"Auto connect 1 for {first}\n"
    assert world.script("test-connman", "disconnect", second) == ""
    assert world.script("test-connman", "services").splitlines()[1].startswith("*  R ")
    assert world.script("test-connman", "connect", second) == ""
    assert world.script("test-connman", "services").splitlines()[1].startswith("* AR ")
    world.script("service-move-before", third, first)
    assert [line.split()[-1] for line in world.ctl("services").splitlines()] == [third, first, second]


def test_those_that_watch(world: World) -> None:
    first, second, _ = world.ids
    watchers = world.script_running("monitor-services"), world.script_running("monitor-connman")
    for watcher in watchers:
        watcher.provoke(world.nudge, "AutoConnect = 1")
        watcher.skip()

    world.case.carrier(1, up=False)
    services, connman = watchers
    services.wait_for(f"[{first}] State = idle", *(f"[{name}] changed" for name in world.ids))
    connman.wait_for(f"{{Service}} [/net/connman/service/{first}] State = idle")
    world.case.carrier(1, up=True)
    services.wait_for(f"[{first}] State = ready")
    connman.wait_for(f"{{Service}} [/net/connman/service/{first}] State = ready")
    world.ctl("disconnect", second)
    services.wait_for(f"[{second}] AutoConnect = 0")
    connman.wait_for(f"{{Service}} [/net/connman/service/{second}] AutoConnect = 0")
    for watcher in watchers:
        watcher.end()


def test_an_agent_is_taken(world: World) -> None:
    """There are no questions that mpathd could ask, so nothing more comes of it."""
    agent = world.script_running("simple-agent")
    agent.wait_for("net.connman.vpn is not present")
    eventually(lambda: world.script("get-state") == "System is ready\n")
    assert agent.process.poll() is None
    agent.end()
    assert "Cannot register" not in agent.text


def test_a_whole_session(world: World) -> None:
    case, (first, second, third) = world.case, world.ids
    world.script("test-session", "enable")
    app = world.script_running("test-session", "run", "/app")
    app.wait_for("connman appeared on D-Bus")

    def session(command: str, *words: str) -> None:
        world.script("test-session", command, "/app", "s", *words)

    def update(number: int) -> dict[str, str]:
        return app.wait(lambda text: (updates(text, "/app/s")[number:] or [{}])[0])

    session("configure", "AllowedBearers", "ethernet", "wifi")
    session("create")
    app.wait_for("notify path /app/s", "session path /sessions/_")
    whole = update(0)
    assert whole.keys() == WHOLE, "first everything"
    assert (whole["State"], whole["Bearer"], whole["Interface"]) == ("connected", "ethernet", "vethc1")
    assert whole["AllowedBearers"] == "[ ethernet wifi ]"
    assert whole["IPv4"] == f"{{ Method=manual Address={OF[4][0]} Netmask=255.255.255.0 Gateway=10.0.1.1 }}"
    assert f"Address={OF[6][0]} PrefixLength=64" in whole["IPv6"]
    assert second in whole["MultipathRoutedServices"]
    assert third in whole["MultipathRoutedServices"]
    session("connect")

    session("change", "FlowSelectors", f"*-*-udp-*-{PORT}", f"*-*-tcp-*-{PORT}")
    assert update(1).keys() == {"FlowSelectors"}, "then what changes"
    assert f"*-*-tcp-*-{PORT}" in update(1)["FlowSelectors"]
    (mark,) = case.marks()
    assert case.mark_of(f"17 . {PORT}") == case.mark_of(f"6 . {PORT}") == mark

    session("change", "MultipathRoutedServices", "")
    assert "ethernet" not in update(2)["MultipathRoutedServices"]
    assert not [rule for rule in case.rules() if "from 10." in rule]
    world.script("service-move-before", third, first)
    assert update(3)["Interface"] == "vethc3"
    for family in FAMILIES:
        case.goes(way(3, family), family)
        case.goes(way(1, family), family, OTHER)

    session("change", "MultipathRoutedServices", second)
    assert second in update(4)["MultipathRoutedServices"]
    assert [rule for rule in case.rules() if f"from {OF[4][1]} fwmark {mark:#x}" in rule]
    for family in FAMILIES:
        case.goes(way(2, family), family, source=OF[family][1], kinds=["udp", "tcp"])
        case.goes(way(3, family), family)

    case.carrier(3, up=False)
    assert update(5)["Interface"] == "vethc1"
    case.goes(way(1, 4), 4, kinds=["udp", "tcp"])
    case.carrier(3, up=True)
    assert update(6)["Interface"] == "vethc3"

    session("disconnect")
    assert (update(7)["State"], update(7)["IPv4"]) == ("disconnected", "{ }")
    case.refused(4, kinds=["udp", "tcp"])
    session("connect")
    assert (update(8)["State"], update(8)["Interface"]) == ("connected", "vethc3")
    case.goes(way(3, 4), 4, kinds=["udp", "tcp"])

    session("destroy")
    app.wait_for("Destroy session")
    eventually(lambda: case.marks() == [], what="the session's rules are gone")
    assert world.sessions() == ""
    assert "Traceback" not in app.text
    assert "Release /app/s" not in app.text, "who ends a session is not told of its end"
    app.end()


def test_what_does_not_fit_is_named_and_changes_nothing(world: World) -> None:
    app = world.script_running("test-session", "run", "/bad")
    app.wait_for("connman appeared on D-Bus")
    world.script("test-session", "create", "/bad", "s")
    app.wait_for("SourceIPRule = 0")
    for words, text in (
        (("FlowSelectors", "*-*-tcp", "nonsense"), "flow selector 'nonsense'"),
        (("AllowedBearers", "ethernet", "lte"), "'lte' is no bearer, expected some of: ethernet, wifi"),
        (("ConnectionType", "sometimes"), "expected one of: any, local, internet"),
        (("Nonsense", "x"), "no session setting called 'Nonsense'"),
    ):
        world.script("test-session", "change", "/bad", "s", *words)
        app.wait_for("net.connman.Error.InvalidArguments: ", text)
    assert len(updates(app.text, "/bad/s")) == 1
    app.end()
    eventually(lambda: world.sessions() == "", what="the session has ended with its program")


def test_release_when_mpathd_goes_for_good(world: World) -> None:
    app = world.script_running("test-session", "run", "/last")
    app.wait_for("connman appeared on D-Bus")
    world.script("test-session", "create", "/last", "s")
    app.wait_for("SourceIPRule = 0")

    world.case.agent.stop()
    app.wait_for("Release /last/s", "connman disappeared on D-Bus")
    assert not world.case.nft()
    world.case.agent.start()
    app.wait_for("connman appeared on D-Bus")
    app.end()
