"""Gateways from lease files: only of leases that are in force."""

from __future__ import annotations

from pathlib import Path

from mpathd.model.words import Address, Family
from mpathd.model.world import Gateway, Link, LinkAddress, World
from mpathd.sources.leases import Dhclient, Networkd

LINKS = {
    2: Link(2, "eth0", addresses=(LinkAddress(Family.INET, Address("10.0.1.2"), 24),)),
    3: Link(3, "eth1", addresses=(LinkAddress(Family.INET, Address("10.0.2.2"), 24),)),
}
WORLD = World(LINKS)


def test_networkd(tmp_path: Path) -> None:
    (tmp_path / "2").write_text("# private\nADDRESS=10.0.1.2\nNETMASK=255.255.255.0\nROUTER=10.0.1.1 10.0.1.9\n")
    (tmp_path / "3").write_text("ADDRESS=10.0.9.9\nROUTER=10.0.9.1\n")  # of another namespace, or of yesterday
    (tmp_path / "77").write_text("ADDRESS=10.0.1.2\nROUTER=10.0.1.1\n")

    found = Networkd(tmp_path).look(WORLD)

    assert found == {
        2: (
            Gateway(Family.INET, Address("10.0.1.1"), "networkd"),
            Gateway(Family.INET, Address("10.0.1.9"), "networkd"),
        )
    }


def test_networkd_without_router_or_with_rubbish(tmp_path: Path) -> None:
    (tmp_path / "2").write_text("ADDRESS=10.0.1.2\n")
    (tmp_path / "3").write_text("ADDRESS=10.0.2.2\nROUTER=0.0.0.0 nonsense\n\0\n")

    assert not any(Networkd(tmp_path).look(WORLD).values())
    assert Networkd(tmp_path / "none").look(WORLD) == {}


def test_dhclient_takes_the_last_lease_that_is_in_force(tmp_path: Path) -> None:
    (tmp_path / "dhclient.leases").write_text(
        """
lease {
  interface "eth0";
  fixed-address 10.0.1.2;
  option subnet-mask 255.255.255.0;
  option routers 10.0.1.77;
}
lease {
  interface "eth0";
  fixed-address 10.0.1.2;
  option routers 10.0.1.1,10.0.1.5;
  expire 4 2026/11/26 00:00:00;
}
lease {
  interface "eth1";
  fixed-address 10.0.3.3;
  option routers 10.0.3.1;
}
"""
    )

    found = Dhclient((tmp_path, tmp_path / "none")).look(WORLD)

    assert [g.address for g in found[2]] == ["10.0.1.1", "10.0.1.5"]
    assert 3 not in found
