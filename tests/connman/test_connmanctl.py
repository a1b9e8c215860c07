"""Debian's connmanctl, unmodified, does its work with mpathd. It exits 0 on errors, so what it prints is judged."""

from __future__ import annotations

import json
import re

import pytest

from connman.programs import World
from kernel.helpers_sessions import FAMILIES, OF, OTHER, ROUTERS
from labkit.agent import eventually

pytestmark = pytest.mark.kernel


def letters(text: str) -> dict[str, str]:
    """What `services` lists: identifier to its first four columns."""
    return {line.split()[-1]: line[:4] for line in text.splitlines()}


def routed(world: World, address: str) -> bool:
    """Whether the kernel has a service's rules, as `ip` tells."""
    return f"from {address} unreachable" in world.case.lab.ip(world.case.client, "-4 rule")


def test_state_technologies_and_clock(world: World) -> None:
    assert world.ctl("state") == "  State = ready\n  OfflineMode = False\n  SessionMode = False\n"
    technologies = world.ctl("technologies")
    assert technologies.startswith("/net/connman/technology/ethernet\n  Name = Wired\n  Type = ethernet\n")
    assert "  Connected = True\n" in technologies
    assert re.search(r"^  Time = \d{10}\n  TimeUpdates = manual\n", world.ctl("clock"))
    assert world.ctl("peers").strip() == world.ctl("tethering_clients").strip() == ""


def test_services_with_their_states(world: World) -> None:
    first, second, third = world.ids
    assert world.ctl("services").splitlines() == [f"*AR Wired                {name}" for name in world.ids]
    world.case.carrier(3, up=False)
    assert letters(world.ctl("services")) == {first: "*AR ", second: "*AR ", third: "*A  "}
    world.case.carrier(3, up=True)
    assert letters(world.ctl("services"))[third] == "*AR "


def test_a_service_is_as_the_kernel_has_it(world: World) -> None:
    lab, client = world.case.lab, world.case.client
    for name, link, four, six in zip(world.ids, world.case.links, OF[4], OF[6], strict=True):
        (told,) = json.loads(lab.ip(client, f"-j addr show dev {link}"))
        (gateway,) = {route["gateway"] for route in json.loads(lab.ip(client, f"-j -4 route show default dev {link}"))}
        shown = world.ctl("services", name)
        assert shown.startswith(f"/net/connman/service/{name}\n  Type = ethernet\n")
        mac = told["address"].upper()
        assert f"\n  Ethernet = [ Method=auto, Interface={link}, Address={mac}, MTU={told['mtu']} ]\n" in shown
        assert {f"{a['local']}/{a['prefixlen']}" for a in told["addr_info"]} >= {f"{four}/24", f"{six}/64"}
        wanted = f"Method=manual, Address={four}, Netmask=255.255.255.0, Gateway={gateway}"
        assert f"\n  IPv4 = [ {wanted} ]\n" in shown
        assert f"\n  IPv6 = [ Method=manual, Address={six}, PrefixLength=64, " in shown
        for line in ("State = ready", "Favorite = True", "AutoConnect = True", "MultipathRouting = True"):
            assert f"\n  {line}\n" in shown


def test_a_service_is_not_used_until_it_is_connected_or_mpathd_starts_again(world: World) -> None:
    first = world.ids[0]
    assert routed(world, OF[4][0])

    assert world.ctl("disconnect", first) == f"Disconnected {first}\n"
    assert letters(world.ctl("services"))[first] == "* R "
    assert not routed(world, OF[4][0])
    assert "Not connected" in world.refused("disconnect", first)

    assert world.ctl("connect", first) == f"Connected {first}\n"
    assert letters(world.ctl("services"))[first] == "*AR "
    assert routed(world, OF[4][0])
    assert "Already connected" in world.refused("connect", first)

    world.ctl("disconnect", first)
    world.case.agent.stop()
    world.case.agent.start()
    eventually(lambda: routed(world, OF[4][0]), what="the next start knows nothing of Disconnect")
    assert letters(world.ctl("services"))[first] == "*AR "


def test_autoconnect_is_kept(world: World) -> None:
    first = world.ids[0]
    assert world.ctl("config", first, "--autoconnect", "no") == ""
    assert not routed(world, OF[4][0])
    world.case.agent.stop()
    world.case.agent.start()
    assert letters(world.ctl("services"))[first] == "* R "
    assert world.ctl("config", first, "--autoconnect", "yes") == ""
    assert routed(world, OF[4][0])


def test_a_disconnected_service_carries_no_session(world: World) -> None:
    case = world.case
    case.session("s", flow_selectors=[f"*-*-udp-*-{OTHER}"], multipath_routed_services=[])
    for number in (0, 1):
        for family in FAMILIES:
            case.goes((ROUTERS[number][1], OF[family][number]), family, OTHER, kinds=["udp"])
        world.ctl("disconnect", world.ids[number])
    for family in FAMILIES:
        case.goes((ROUTERS[2][1], OF[family][2]), family, OTHER, kinds=["udp"])
    case.drop()


def test_the_order_of_services(world: World) -> None:
    first, second, third = world.ids
    assert world.ctl("move-before", third, first) == f"Moved {third} before {first}\n"
    assert list(letters(world.ctl("services"))) == [third, first, second]
    assert world.ctl("move-after", third, second) == f"Moved {third} after {second}\n"
    assert list(letters(world.ctl("services"))) == [first, second, third]
    assert "cannot stand before itself" in world.refused("move-before", first, first)
    assert "no service at" in world.refused("move-before", first, "ethernet_0_cable")


REFUSED = {
    "enable": (("enable", "ethernet"), "Error ethernet: Not supported"),
    "disable": (("disable", "ethernet"), "Error ethernet: Not supported"),
    "offline": (("enable", "offline"), "Error offline: Not supported"),
    "scan": (("scan", "ethernet"), "Not supported: mpathd looks for no networks"),
    "tether": (("tether", "ethernet", "on"), "Error enabling ethernet tethering: Not supported"),
    "addresses": (("config", "ID", "--ipv4", "dhcp"), "Error ID: Not supported: mpathd configures no addresses"),
    "name servers": (("config", "ID", "--nameservers", "192.0.2.1"), "Error ID: Not supported"),
    "proxy": (("config", "ID", "--proxy", "direct"), "Error ID: Not supported"),
    "remove": (("config", "ID", "--remove"), "Error ID: Not supported"),
    "connect what is not there": (
        ("connect", "ethernet_0_cable"),
        "no object at /net/connman/service/ethernet_0_cable",
    ),
}


@pytest.mark.parametrize(("words", "text"), REFUSED.values(), ids=REFUSED)
def test_what_mpathd_does_not_do_is_said(world: World, words: tuple[str, ...], text: str) -> None:
    before = world.case.lab.ip(world.case.client, "addr"), world.ctl("services")
    given = [word.replace("ID", world.ids[0]) for word in words]
    assert text.replace("ID", world.ids[0]) in world.refused(*given)
    assert (world.case.lab.ip(world.case.client, "addr"), world.ctl("services")) == before


def test_monitor(world: World) -> None:
    first, second, third = world.ids
    monitor = world.ctl_running("monitor")
    monitor.provoke(world.nudge, "AutoConnect = True")
    monitor.skip()

    world.case.carrier(1, up=False)
    told = monitor.wait_for(f"Service      {first} State = idle", "ServicesChanged")
    lines = [line.split() for line in told.splitlines()]
    assert [words[1] for words in lines if words[:1] == ["unchanged"]][-3:] == [second, third, first]
    world.case.carrier(1, up=True)
    monitor.wait_for(f"Service      {first} State = ready")

    world.ctl("disconnect", second)
    assert re.search(rf"^Service      {second} AutoConnect = False$", monitor.wait_for(second), re.MULTILINE)
    assert world.case.agent.ctl("config", second, "--autoconnect", "yes").returncode == 0
    monitor.wait_for(f"Service      {second} AutoConnect = True")
    assert world.case.agent.ctl("config", third, "--mpath_routing", "no").returncode == 0
    monitor.wait_for(f"Service      {third} MultipathRouting = False")
    assert world.case.agent.ctl("config", third, "--mpath_routing", "yes").returncode == 0
    monitor.wait_for(f"Service      {third} MultipathRouting = True")
    monitor.end()


def test_a_session_as_a_person_types_it(world: World) -> None:
    client = world.ctl_running()
    client.wait_for("connmanctl> ", "Error getting VPN connections")  # it asks for a daemon of its own for these

    client.say("session on --bearers ethernet")
    told = client.wait_for("Update", "SourceIPRule = False", "}", "created\n")
    session = re.search(r"Session (/sessions/_\d+_\d+/net/connman/connmanctl\d+) created\n", told)
    assert session
    assert "AllowedBearers = [ ethernet ]" in told
    assert f"IPv4 = [ Method=manual, Address={OF[4][0]}, Netmask=255.255.255.0, Gateway=10.0.1.1 ]" in told
    assert session[1].removeprefix("/sessions/") in world.sessions()

    client.say("session config --ifname vethc2")
    told = client.wait_for("Update", "AllowedInterface = vethc2", "}")
    assert "Interface = vethc2" in told
    assert "ConnectionType" not in told, "an Update has what changed, and nothing else"
    assert "ethernet/vethc2" in world.sessions()
    (mark,) = world.case.marks()
    assert f"via 10.0.2.1 dev {world.case.links[1]}" in "".join(world.case.table(mark))

    client.say("session config --type internet --srciprule yes")
    client.wait_for("ConnectionType = internet", "SourceIPRule = True")
    client.say("session config --type everything")
    client.wait_for("Error", "expected one of: any, local, internet")
    client.say("session disconnect")
    client.wait_for("State = disconnected", f"Session {session[1]} disconnected")
    client.say("session connect")
    client.wait_for("State = connected", f"Session {session[1]} connected")
    client.say("session off")
    client.wait_for(f"Session {session[1]} ended")
    assert world.sessions() == ""
    assert world.case.marks() == []
    client.say("quit")
    assert client.process.wait(10) == 0


def test_a_session_ends_with_the_program(world: World) -> None:
    client = world.ctl_running()
    client.wait_for("connmanctl> ", "Error getting VPN connections")
    client.say("session on")
    client.wait_for("State = connected")
    assert len(world.case.marks()) == 1

    client.end()

    eventually(lambda: world.case.marks() == [], what="the session's rules are gone")
    assert world.sessions() == ""
