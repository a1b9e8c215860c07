"""Topology files: what they say is what is read, and an error names file and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from labkit import End, Link, TopologyError, load, names, uplinks

HEAD = 'description = "d"\ndrawing = "x"\n'
HOSTS = HEAD + "[host.a]\n[host.b]\n"
WIRE = '[[link]]\nends = [{ host = "a", dev = "x" }, { host = "b", dev = "y" }]\n'

WRONG = [
    ("not toml", "cannot be read as TOML"),
    (HEAD, "host: a topology needs hosts; it is not there; write [host.NAME]"),
    ("[host.a]\n", "description: must be a string"),
    (HEAD + "[host.A_b]\n", "host.A_b: a host's name must have the form"),
    (HOSTS + "colour = 1\n", "host.b.colour: unknown key; given: 1; known here: addresses routes sysctl"),
    (HEAD + '[host.a]\naddresses = ["10.0.0.300/8"]\n', "host.a.addresses: '10.0.0.300/8' is no IP address"),
    (HEAD + '[host.a]\naddresses = "10.0.0.1/8"\n', "host.a.addresses: must be a list of strings"),
    (HEAD + '[host.a]\nroutes = ["default dev x"]\n', "does not say of which family it is"),
    (HEAD + '[host.a]\nroutes = ["10.0.0.0/8 via nobody"]\n', "host.a.routes: 'nobody' is no IP address"),
    (HEAD + '[host.a.sysctl]\n"kernel.hostname" = "x"\n', "host.a.sysctl.kernel.hostname: must start with net."),
    (HEAD + "[host.a.sysctl]\nnet.ipv4.ip_forward = 1\n", "must be a number or a string"),
    (HOSTS + '[[link]]\nends = [{ host = "a", dev = "x" }]\n', "link[0].ends: a link has two ends"),
    (HOSTS + WIRE.replace('"a"', '"c"'), "link[0].ends[0].host: no such host; given: 'c'; hosts here: a b"),
    (HOSTS + WIRE.replace('"y"', '"y", mac = "xx"'), "link[0].ends[1].mac: must be a string of the form"),
    (HOSTS + WIRE.replace('"y"', '"y", mtu = -1'), "link[0].ends[1].mtu: must be a number, 0 or more"),
    (HOSTS + WIRE.replace('"y"', '"y", slaac = 1'), "link[0].ends[1].slaac: must be true or false"),
    (HOSTS + WIRE.replace('"y"', '"y", rate = "fast"'), "link[0].ends[1].rate: must be a string of the form"),
    (HOSTS + WIRE.replace('"y"', '"a-name-far-too-long"'), "link[0].ends[1].dev: must be a string of the form"),
    (HOSTS + WIRE.replace("ends", 'kind = "gre"\nends'), "link[0].kind: must be a string of the form veth|tun"),
    (HOSTS + WIRE + WIRE, "host a has two interfaces of one name; given: x"),
    (HOSTS + '[[bridge]]\nhost = "a"\ndev = "br"\nports = ["p"]\n', "bridge[0].ports: host a has no interface p"),
    (HOSTS + '[[advert]]\nhost = "a"\ndev = "br"\n', "advert[0].dev: host a has no such interface"),
    (
        HOSTS + WIRE + '[[advert]]\nhost = "a"\ndev = "x"\nprefix = "fd::1/64"\n',
        "advert[0].prefix: must be an IPv6 prefix",
    ),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_an_error_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(TopologyError) as caught:
        load(str(file))
    assert str(caught.value).startswith(str(file))
    assert message in str(caught.value)


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        HOSTS + '[[link]]\nkind = "tun"\nends = [{ host = "a", dev = "t", addresses = ["10.9.0.2 peer 10.9.0.1/32"] },'
        ' { host = "b", dev = "t", mtu = 1400, rate = "10mbit", index = 7, slaac = true }]\n'
    )
    topology = load(str(file))
    assert topology.links == (
        Link(
            End("a", "t", addresses=("10.9.0.2 peer 10.9.0.1/32",)),
            End("b", "t", mtu=1400, rate="10mbit", index=7, slaac=True),
            "tun",
        ),
    )


def test_sysctls_of_all_come_before_those_of_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(HEAD + '[sysctl]\n"net.a" = 1\n[host.x.sysctl]\n"net.b" = "2 3"\n')
    assert load(str(file)).host("x").sysctls == (("net.a", "1"), ("net.b", "2 3"))


def test_shipped_topologies_read_and_have_a_drawing_of_every_host() -> None:
    assert names() == ("dual-stack", "home-router", "point-to-point", "same-gateway", "same-subnet", "three-uplinks")
    for topology in map(load, names()):
        assert topology.description
        for host in topology.hosts:
            assert host.name in topology.drawing, f"{topology.name} does not draw {host.name}"


@pytest.mark.parametrize("given", ["nowhere", "some/where", "./nothing.toml", "uplinks-x"])
def test_an_unknown_topology_is_answered_with_the_known_ones(given: str) -> None:
    with pytest.raises(TopologyError, match=r"no such topology; .*; there are: .*three-uplinks uplinks-N"):
        load(given)


@pytest.mark.parametrize("count", [0, 4001])
def test_uplinks_has_limits(count: int) -> None:
    with pytest.raises(TopologyError, match="give 1 to 4000"):
        uplinks(count)


def test_thousands_of_uplinks_share_nothing() -> None:
    topology = load("uplinks-4000")
    ends = list(topology.ends())
    assert len({end.mac for end in ends}) == len({end.addresses for end in ends}) == len(ends) == 8000
    assert all(len(end.dev) <= 15 for end in ends)
