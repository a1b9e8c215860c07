"""A lab's life: up, at work, down without a trace, also when it goes wrong."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from labkit import (
    SERVER4,
    SERVER6,
    Echo,
    Host,
    Lab,
    LabError,
    Topology,
    TopologyError,
    Watch,
    WatchError,
    in_ns,
    netns,
    send_udp,
    tcp_connect,
)

pytestmark = pytest.mark.kernel
Raise = Callable[[Topology | str], Lab]
ONE = Topology("one", "", "", (Host("a"),))


def links() -> str:
    """The interfaces of the machine itself."""
    return subprocess.run(["ip", "-o", "link"], text=True, capture_output=True, check=True).stdout


def test_up_and_down_leave_the_machine_as_it_was(name: str) -> None:
    before = links()
    with Lab("point-to-point", name, quiet=True) as lab:
        assert set(netns.named(f"{name}-")) == {lab.ns(host.name) for host in lab.topology.hosts}
        assert links() == before
        keeper = lab.keeper
        assert keeper
        assert Path(f"/proc/{keeper}").exists()
    assert netns.named(f"{name}-") == ()
    assert links() == before
    assert not Path(f"/proc/{keeper}").exists()


def test_half_an_up_is_taken_down(name: str) -> None:
    hosts = (Host("a"), Host("b", routes=("default via 10.0.0.1",)))
    with pytest.raises(LabError, match=rf"cannot: ip -n {name}-b route add default via 10\.0\.0\.1; .*invalid gateway"):
        Lab(Topology("broken", "", "", hosts), name, quiet=True).up()
    assert netns.named(f"{name}-") == ()


def test_a_wrong_sysctl_is_named_and_the_lab_taken_down(name: str) -> None:
    topology = Topology("broken", "", "", (Host("a", sysctls=(("net.ipv4.no_such_key", "1"),)),))
    with pytest.raises(LabError, match=rf"cannot set sysctl net\.ipv4\.no_such_key=1 in {name}-a"):
        Lab(topology, name, quiet=True).up()
    assert netns.named(f"{name}-") == ()


def test_a_second_lab_of_that_name_is_refused_and_harms_nothing(raised: Raise, name: str) -> None:
    raised(ONE)
    with pytest.raises(LabError, match=f"lab {name} is up already; there is: {name}-a"):
        Lab(ONE, name, quiet=True).up()
    assert netns.named(f"{name}-") == (f"{name}-a",)


def test_labs_stand_side_by_side(raised: Raise, name: str) -> None:
    mine = raised("uplinks-2")
    with Lab("uplinks-2", f"{name}-other", quiet=True) as other:
        mine.ip("client", "link set up1 down")
        assert "state UP" in other.ip("client", "link show up1")


def test_down_twice_is_no_error(name: str) -> None:
    lab = Lab(ONE, name, quiet=True)
    lab.up()
    lab.down()
    lab.down()


def test_every_command_is_said(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Lab(ONE, name) as lab:
        lab.sysctl("a", {"net.ipv4.ip_forward": 1})
        lab.exec("a", ["echo", "a b"])
        lab.ip("a", "link set lo down")
    assert capsys.readouterr().err.splitlines() == [
        f"[#] ip netns add {name}-a",
        f"[#] ip -n {name}-a link set lo up",
        f"[#] ip netns exec {name}-a sysctl -qw net.ipv4.ip_forward=1",
        f"[#] ip netns exec {name}-a echo 'a b'",
        f"[#] ip -n {name}-a link set lo down",
        f"[#] ip netns del {name}-a",
    ]


def test_exec(raised: Raise, name: str) -> None:
    lab = raised(ONE)
    done = lab.exec("a", ["sh", "-c", "ip netns identify; echo $WORD; cat"], env={"WORD": "w"}, input="in")
    assert done.stdout.split() == [f"{name}-a", "w", "in"]
    assert lab.exec("a", ["false"], check=False).returncode == 1
    with pytest.raises(LabError, match=f"cannot: ip netns exec {name}-a sh -c .*; no"):
        lab.exec("a", ["sh", "-c", "echo no >&2; exit 3"])
    with pytest.raises(TopologyError, match="topology one has no host 'b'; its hosts: a"):
        lab.exec("b", ["true"])


def test_popen_has_the_pid_of_its_command(raised: Raise, name: str) -> None:
    lab = raised(ONE)
    with lab.popen("a", ["sh", "-c", "echo $$; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert int(process.stdout.readline()) == process.pid
        assert lab.pids() == {f"{name}-a": (process.pid,)}
        process.terminate()


def test_refused_words_of_ip_are_said(raised: Raise) -> None:
    lab = raised(ONE)
    with pytest.raises(LabError, match='link set nothing up; Cannot find device "nothing"'):
        lab.ip("a", "link set nothing up")
    with pytest.raises(LabError, match="link set nothing up; Cannot find"):
        lab.batch("a", ["link set lo up", "link set nothing up"])


def test_work_inside_a_namespace_is_done_there_only(raised: Raise, name: str) -> None:
    raised(ONE)
    here = Path("/proc/thread-self/ns/net").readlink()
    there = in_ns(f"{name}-a", lambda: Path("/proc/thread-self/ns/net").readlink())
    assert Path("/proc/thread-self/ns/net").readlink() == here != there
    with pytest.raises(ZeroDivisionError):
        in_ns(f"{name}-a", lambda: 1 // 0)
    with pytest.raises(LabError, match="no network namespace nowhere"):
        in_ns("nowhere", lambda: None)


def test_index_and_socket_are_the_hosts(raised: Raise) -> None:
    lab = raised("three-uplinks")
    assert (lab.index("client", "vethc1"), lab.index("client", "vethc2")) == (24, 26)  # tables 279, 281 of the post
    with lab.socket("client", socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("10.0.2.2", 0))
        with pytest.raises(OSError, match="Cannot assign"):
            sock.bind(("172.16.1.1", 0))


@pytest.mark.parametrize(("server", "second"), [(SERVER4, "10.0.2.2"), (SERVER6, "fd00:0:2::2")])
def test_traffic_and_watch(raised: Raise, server: str, second: str) -> None:
    lab = raised("three-uplinks")
    far = [("server", f"veths{number}") for number in (1, 2, 3)]
    with Echo(lab, "server", 7) as echo, Watch(lab, far) as watch:
        sent = send_udp(lab, "client", server, 7, payload=b"one", timeout=2.0)
        assert (sent.ok, sent.reply) == (True, b"one")
        talked = tcp_connect(lab, "client", server, 7, payload=b"two")
        assert (talked.ok, talked.reply) == (True, b"two")
        assert send_udp(lab, "client", server, 7, source=second, payload=b"three", timeout=2.0).reply == b"three"
        assert os.strerror(tcp_connect(lab, "client", server, 8).error) == "Connection refused"
        assert os.strerror(send_udp(lab, "client", server, 7, source=SERVER4).error or 99)
        assert [heard.kind for heard in echo.heard] == ["udp", "tcp", "udp"]
        assert {heard.dst for heard in echo.heard} == {server}
        assert watch.devices(payload=b"one", way="in") == ("veths1",)
        assert watch.devices(payload=b"three", way="in") == ("veths1",)  # main's way, whatever the source
        assert watch.devices(payload=b"three", way="out") == ("veths2",)  # the server answers that source by r2
        flags = [packet.flags for packet in watch.packets(dport=8, way="in")]
        assert flags == ["S"]
        with pytest.raises(WatchError, match=r"not seen within 0\.01 s at server:veths1 .*; seen:\s+server veths"):
            watch.wait(lambda packets: any(packet.payload == b"never" for packet in packets), timeout=0.01)


def test_watch_sees_a_packet_that_is_still_to_come(raised: Raise) -> None:
    lab = raised("uplinks-2")
    with Watch(lab, [("net", "net1")]) as watch:
        send_udp(lab, "client", SERVER4, 9, payload=b"here")
        assert watch.wait(lambda packets: any(packet.payload == b"here" for packet in packets))
        lab.ip("net", "link set net1 down")  # the watch outlives its link
        assert watch.packets(payload=b"here")


def test_no_way_is_an_errno(raised: Raise) -> None:
    lab = raised(ONE)
    for outcome in (send_udp(lab, "a", SERVER4, 7), tcp_connect(lab, "a", SERVER6, 7)):
        assert str(outcome) == "from ?: Network is unreachable" or not outcome.ok
    assert os.strerror(send_udp(lab, "a", SERVER4, 7, source="10.0.0.1").error) == "Cannot assign requested address"


def test_a_link_pulled_and_put_back_is_waited_for(raised: Raise) -> None:
    lab = raised("uplinks-2")
    lab.ip("net", "link set net1 down")
    with contextlib.suppress(LabError):
        lab.wait(timeout=0.0)
        pytest.fail("net1 is down")
    lab.ip("net", "link set net1 up")
    lab.wait()
    assert "LOWER_UP" in lab.ip("client", "link show up1")
