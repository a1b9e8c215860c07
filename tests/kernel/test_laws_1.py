"""Law 1: a socket bound to a multipath-routed service's address leaves by that service, or not at all."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from kernel.conftest import FAMILIES, PORT, SERVER, UNREACHABLE, Stream, Tries, fresh_name, settled, sink, strays
from labkit import Echo, Lab, Watch
from labkit.agent import Agent, eventually
from trouble.outside import force

ADDRESS = {4: {n: f"10.0.{n}.2" for n in (1, 2, 3)}, 6: {n: f"fd00:0:{n}::2" for n in (1, 2, 3)}}
HOMES = {address: f"vethr{n}" for family in FAMILIES for n, address in ADDRESS[family].items()}
BOTH = tuple(HOMES)
DEFAULT = {
    4: "default via 10.0.{n}.1 dev vethc{n} metric {n}00",
    6: "default via fd00:0:{n}::1 dev vethc{n} metric {n}00",
}


@pytest.fixture
def lab() -> Iterator[Lab]:
    """The post's lab; links that are down keep their IPv6 addresses, lost ARP is asked again soon."""
    with Lab("three-uplinks", fresh_name(), quiet=True) as made:
        for number in (1, 2, 3):
            for host, dev in (("client", f"vethc{number}"), (f"r{number}", f"vethr{number}")):
                neighbours = {f"net.{ip}.neigh.{dev}.retrans_time_ms": 20 for ip in ("ipv4", "ipv6")}
                made.sysctl(host, {f"net.ipv6.conf.{dev}.keep_addr_on_down": 1, **neighbours})
        yield made


@pytest.fixture
def watch(lab: Lab) -> Iterator[Watch]:
    """The far sides of the three uplinks; at the end none has seen a packet of another's address."""
    with Watch(lab, [(f"r{n}", f"vethr{n}") for n in (1, 2, 3)]) as made:
        yield made
        assert strays(made, HOMES) == []


def _rules(lab: Lab, address: str) -> list[str]:
    family = "-6" if ":" in address else "-4"
    return [line for line in lab.ip("client", f"{family} rule").splitlines() if f"from {address} " in line]


def _lose(lab: Lab, how: str, family: int, number: int) -> None:
    match how:
        case "gateway":
            lab.ip("client", f"-{family} route del default dev vethc{number}")
        case "routes":
            lab.ip("client", f"-{family} route flush dev vethc{number}")
        case "carrier":
            lab.ip(f"r{number}", f"link set vethr{number} down")
        case "down":
            lab.ip("client", f"link set vethc{number} down")


def _return(lab: Lab, how: str, family: int, number: int) -> None:
    if how == "carrier":
        lab.ip(f"r{number}", f"link set vethr{number} up")
        return
    if how == "down":
        lab.ip("client", f"link set vethc{number} up")
        lab.wait()
    if how in {"routes", "down"}:
        net = {4: f"10.0.{number}.0/24", 6: f"fd00:0:{number}::/64"}[family]
        lab.ip("client", f"-{family} route replace {net} dev vethc{number}")
    lab.ip("client", f"-{family} route add {DEFAULT[family].format(n=number)}")


@pytest.mark.parametrize("family", FAMILIES)
def test_each_address_has_its_own_way(lab: Lab, watch: Watch, family: int) -> None:
    with Agent(lab, "client", ["--mpathrouting"]), Echo(lab, "server", PORT):
        tries = Tries(lab, watch)
        for number, address in ADDRESS[family].items():
            for kind, went in tries.every(SERVER[family], address).items():
                assert went.devices == (f"vethr{number}",), kind
                assert (went.source, went.error, went.answered) == (address, 0, True), kind


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("how", ["gateway", "routes", "carrier", "down"])
def test_a_lost_link_sends_nothing_elsewhere(lab: Lab, watch: Watch, how: str, number: int, family: int) -> None:
    mine, others = ADDRESS[family][number], [a for n, a in ADDRESS[family].items() if n != number]
    with ExitStack() as stack:
        stack.enter_context(Agent(lab, "client", ["--mpathrouting"]))
        stack.enter_context(Echo(lab, "server", PORT))
        stream = stack.enter_context(Stream(lab, "client", BOTH))
        for address in BOTH:
            stream.goes_on(address)
        before = _rules(lab, mine)

        _lose(lab, how, family, number)

        stream.unreachable(mine)
        settled(lab, "client", "vethc3")
        assert stream.error(mine) in UNREACHABLE
        assert _rules(lab, mine) == before  # the address is still there, and so are they
        assert len(before) == 4
        for kind, went in Tries(lab, watch).every(SERVER[family], mine).items():
            # IPv6 refuses already to bind to an address of a link that is down
            assert (went.error in {*UNREACHABLE, errno.EADDRNOTAVAIL}, went.devices) == (True, ()), kind
        for address in others:
            stream.goes_on(address)

        _return(lab, how, family, number)

        watch.clear()
        watch.wait(lambda seen: any(packet.src == mine for packet in seen))
        settled(lab, "client", "vethc3")
        for kind, went in Tries(lab, watch).every(SERVER[family], mine).items():
            assert (went.error, went.devices, went.answered) == (0, (f"vethr{number}",), True), kind


def test_a_link_that_is_set_down_takes_its_ipv6_traffic_with_it(lab: Lab, watch: Watch) -> None:
    # Unless told to keep them, the kernel removes IPv6 addresses from a link that is set down, but sockets stay
    # bound to them, and IPv6 lets them send.
    lab.sysctl("client", {"net.ipv6.conf.vethc2.keep_addr_on_down": 0})
    with Agent(lab, "client", ["--mpathrouting"]), sink(lab, "server"):
        with Stream(lab, "client", [ADDRESS[6][2], ADDRESS[6][3]]) as stream:
            stream.goes_on(ADDRESS[6][2])

            lab.ip("client", "link set vethc2 down")

            settled(lab, "client", "vethc3")
            stream.goes_on(ADDRESS[6][3])
            assert stream.error(ADDRESS[6][2]) in UNREACHABLE


def test_what_a_downed_link_left_outlives_a_restart_and_ends(lab: Lab, watch: Watch) -> None:
    lab.sysctl("client", {"net.ipv6.conf.vethc2.keep_addr_on_down": 0})
    mine = ADDRESS[6][2]
    agent = Agent(lab, "client", ["--mpathrouting", "--keep"])
    with agent, sink(lab, "server"), Stream(lab, "client", [mine, ADDRESS[6][3]]) as stream:
        stream.goes_on(mine)
        lab.ip("client", "link set vethc2 down")
        settled(lab, "client", "vethc3")
        for how in ("stop", "kill"):
            getattr(agent, how)()
            agent.start()
            settled(lab, "client", "vethc3")
            assert len(_rules(lab, mine)) == 4, how
            stream.unreachable(mine)

        # The address comes to another link: it is that link's now.
        lab.ip("client", f"addr add {mine}/64 dev vethc3 nodad")
        settled(lab, "client", "vethc3")
        assert {line.split("lookup ")[1].split()[0] for line in _rules(lab, mine) if "lookup" in line} == {
            "283",
            "main",
        }
        stream.goes_on(mine)
        watch.wait(lambda seen: any((packet.src, packet.dev) == (mine, "vethr3") for packet in seen))
        lab.ip("client", f"addr del {mine}/64 dev vethc3")
    watch.clear()  # what left by the link that had the address was no stray


@pytest.mark.parametrize("family", FAMILIES)
def test_a_storm(lab: Lab, watch: Watch, family: int) -> None:
    # Links, gateways and further addresses come and go as fast as can be; the first addresses stay, bound sockets send.
    seed = random.randrange(1 << 32)
    choice = random.Random(seed)
    with Agent(lab, "client", ["--mpathrouting"]), sink(lab, "server"), Stream(lab, "client", BOTH) as stream:
        settled(lab, "client", "vethc3")
        for address in BOTH:
            stream.goes_on(address)
        for _ in range(20):
            lines: list[str] = []
            for _ in range(20):
                n = choice.randint(1, 3)
                further = {4: f"10.0.{n}.1{choice.randint(10, 19)}/24", 6: f"fd00:0:{n}::1{choice.randint(0, 9)}/64"}
                default = DEFAULT[family].format(n=n)
                lines += choice.choices(
                    (
                        [f"addr {choice.choice(('add', 'del'))} {further[family]} dev vethc{n}"],
                        [f"route del {default}"],
                        [f"route replace {default} mtu {choice.randint(1300, 1500)}"],
                        [f"link set vethc{n} {choice.choice(('up', 'down'))}"],
                    ),
                    (10, 5, 10, 2),
                )[0]
            force(lab, "client", lines, family=f"-{family}")
        for n in (1, 2, 3):
            lab.ip("client", f"link set vethc{n} up")
            for ip, net in ((4, f"10.0.{n}.0/24"), (6, f"fd00:0:{n}::/64")):
                lab.ip("client", f"-{ip} route replace {net} dev vethc{n}")
                lab.ip("client", f"-{ip} route replace {DEFAULT[ip].format(n=n)}")
        settled(lab, "client", "vethc3")
        for address in BOTH:
            stream.goes_on(address)
        assert strays(watch, HOMES) == [], f"seed {seed}"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection_waits_for_its_link(lab: Lab, watch: Watch, family: int) -> None:
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with Agent(lab, "client", ["--mpathrouting"]), Echo(lab, "server", PORT):
        with lab.socket("client", kind, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            sock.bind((ADDRESS[family][1], 0))
            sock.connect((SERVER[family], PORT))
            sock.sendall(b"before")
            assert sock.recv(64) == b"before"

            lab.ip("client", f"-{family} route del default dev vethc1")
            settled(lab, "client", "vethc3")
            sock.sendall(b"during")
            lab.ip("client", f"-{family} route add {DEFAULT[family].format(n=1)}")

            assert sock.recv(64) == b"during"  # by its own link: `watch` proves it at the end


@pytest.mark.parametrize("family", FAMILIES)
def test_no_default_in_main_for_the_others(lab: Lab, watch: Watch, family: int) -> None:
    # With ifupdown the second default is refused: main knows one gateway, a configuration the other.
    lab.ip("client", f"-{family} route del default dev vethc2")
    gateway = {4: "10.0.2.1", 6: "fd00:0:2::1"}[family]
    config = f'[sources]\nstatic = {{ vethc2 = "{gateway}" }}\n'
    with Agent(lab, "client", ["--mpathrouting"], config=config), Echo(lab, "server", PORT):
        for kind, went in Tries(lab, watch).every(SERVER[family], ADDRESS[family][2]).items():
            assert (went.error, went.devices, went.answered) == (0, ("vethr2",), True), kind


@pytest.mark.parametrize("family", FAMILIES)
def test_every_gateway_is_lost_at_once(lab: Lab, watch: Watch, family: int) -> None:
    with Agent(lab, "client", ["--mpathrouting"]), sink(lab, "server"), Stream(lab, "client", BOTH) as stream:
        for address in BOTH:
            stream.goes_on(address)

        lab.ip("client", f"-{family} route flush table main")

        for address in ADDRESS[family].values():
            stream.unreachable(address)
        assert all(len(_rules(lab, address)) == 4 for address in BOTH)


def test_a_link_is_deleted(lab: Lab) -> None:
    # Its addresses go with it. IPv4 refuses what comes from an address that nobody has; a new IPv6 socket too.
    with Watch(lab, [("r2", "vethr2"), ("r3", "vethr3")]) as watch, ExitStack() as stack:
        stack.enter_context(Agent(lab, "client", ["--mpathrouting"]))
        stack.enter_context(sink(lab, "server"))
        stream = stack.enter_context(Stream(lab, "client", ADDRESS[4].values()))
        for address in ADDRESS[4].values():
            stream.goes_on(address)

        lab.ip("client", "link del vethc1")

        eventually(lambda: stream.error(ADDRESS[4][1]) in {*UNREACHABLE, errno.EINVAL})
        for number in (2, 3):
            stream.goes_on(ADDRESS[4][number])
        eventually(lambda: not _rules(lab, ADDRESS[4][1]) and not _rules(lab, ADDRESS[6][1]))
        for family in FAMILIES:
            went = Tries(lab, watch).udp(SERVER[family], ADDRESS[family][1])
            assert (went.error, went.devices) == (errno.EADDRNOTAVAIL, ())
        assert strays(watch, HOMES) == []


def test_the_end_stands_before_the_daemon_has_seen_anything(lab: Lab, watch: Watch) -> None:
    # The kernel empties a table by itself: what is in it when nobody acts must already be enough.
    agent = Agent(lab, "client", ["--mpathrouting", "--keep"])
    with agent, sink(lab, "server"), Stream(lab, "client", BOTH) as stream:
        for address in BOTH:
            stream.goes_on(address)
        agent.kill()

        lab.ip("client", "link set vethc2 down")

        stream.unreachable(ADDRESS[4][2])
        stream.goes_on(ADDRESS[4][3])
