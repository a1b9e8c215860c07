"""Issue 2, item 4: gateways from lease files of networkd and dhclient, from mpathd.conf, and which of them counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel.helpers_cases import SECOND, UNREACHABLE, UP1, UP2, Case, Stream, poll

NO_DEFAULT2 = (
    "route del default via 10.64.2.1 dev up2 metric 102",
    "route del default via fd00:64:2::1 dev up2 metric 102",
)
SECOND_WAY = "net2,second"  # the second gateway's device stands on net2, which sees everything
ID2, MAC2 = "ethernet_02c000000002_cable", "02:C0:00:00:00:02"

# sd-network's and dhclient's own forms.
NETWORKD = """# This is private data. Do not parse.
ADDRESS={address}
NETMASK=255.255.255.0
ROUTER={router}
SERVER_ADDRESS={router}
T1=1800
T2=3150
LIFETIME=3600
DNS={router}
CLIENTID=ff3f1e2d3c0002
"""
DHCLIENT = """lease {{
  interface "{device}";
  fixed-address {address};
  option subnet-mask 255.255.255.0;
  option routers {router};
  option dhcp-lease-time 3600;
  option dhcp-message-type 5;
  option domain-name-servers {router};
  option dhcp-server-identifier {router};
  option domain-name "example.net";
  renew 4 2037/01/01 10:00:00;
  rebind 4 2037/01/01 10:20:00;
  expire 4 2037/01/01 10:30:00;
}}
"""


class Leases:
    """The folders of both clients, in place of the machine's in mpathd's own mount namespace.

    Args:
        case: the case.
        made: whether networkd's folder is there from the start.
    """

    def __init__(self, case: Case, *, made: bool = True) -> None:
        self._case = case
        self.networkd = case.folder / "netif" / "leases"
        self.dhclient = case.folder / "dhcp"
        self.networkd.parent.mkdir()
        self.dhclient.mkdir()
        if made:
            self.networkd.mkdir()
        self.prelude = "; ".join(
            (
                "mount -t tmpfs tmpfs /run",
                "mkdir -p /run/systemd/netif",
                f"mount --bind {self.networkd.parent} /run/systemd/netif",
                "mount -t tmpfs tmpfs /var/lib",
                "mkdir /var/lib/dhcp",
                f"mount --bind {self.dhclient} /var/lib/dhcp",
            )
        )

    def path(self, kind: str, device: str) -> Path:
        """The file of a link's lease.

        Args:
            kind: "networkd" or "dhclient".
            device: the link.
        """
        if kind == "networkd":
            return self.networkd / str(self._case.lab.index("client", device))
        return self.dhclient / f"dhclient.{device}.leases"

    def write(self, kind: str, device: str, address: str, router: str) -> None:
        """Write a lease as the client does: networkd puts a new file in place, dhclient appends.

        Args:
            kind: "networkd" or "dhclient".
            device: the link.
            address: what the lease gives.
            router: what it names as router.
        """
        path = self.path(kind, device)
        if kind == "networkd":
            fresh = path.with_name(f".#{path.name}")
            fresh.write_text(NETWORKD.format(address=address, router=router))
            fresh.rename(path)
        else:
            with path.open("a") as file:
                file.write(DHCLIENT.format(device=device, address=address, router=router))


@pytest.mark.parametrize("kind", ["networkd", "dhclient"])
def test_a_gateway_that_only_a_lease_knows(kind: str) -> None:
    with Case("kc-lease") as case:
        leases = Leases(case)
        case.ip(*NO_DEFAULT2)
        leases.write(kind, "up2", UP2[0], "10.64.2.1")
        case.start(prelude=leases.prelude)

        case.leave_by("net2", UP2[0])
        case.leave_by("net1", *UP1)
        case.refused(UP2[1])
        assert case.answered(UP2[0])
        (gateway,) = case.services()["up2"]["Gateways"]
        assert (gateway["Address"], gateway["Source"]) == ("10.64.2.1", kind)
        case.settle()

        # The machine's own folders are not concerned: only mpathd sees these.
        assert str(case.folder) not in Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize("kind", ["networkd", "dhclient"])
def test_a_lease_that_comes_later_than_its_address(kind: str) -> None:
    with Case("kc-later") as case:
        leases = Leases(case)
        case.ip(*NO_DEFAULT2)
        case.start(prelude=leases.prelude)
        assert case.rules(UP2[0]) == []

        leases.write(kind, "up2", UP2[0], "10.64.2.1")
        case.settle()
        case.leave_by("net2", UP2[0])


@pytest.mark.parametrize("kind", ["networkd", "dhclient"])
def test_an_address_that_comes_later_than_its_lease(kind: str) -> None:
    with Case("kc-before") as case:
        leases = Leases(case)
        case.ip(*NO_DEFAULT2, "addr flush dev up2")
        leases.write(kind, "up2", UP2[0], "10.64.2.1")
        case.start(prelude=leases.prelude)
        assert case.services()["up2"]["State"] == "configuration"

        case.ip(f"addr add {UP2[0]}/24 dev up2")
        case.settle()
        case.leave_by("net2", UP2[0])
        assert case.answered(UP2[0])


@pytest.mark.parametrize("kind", ["networkd", "dhclient"])
def test_a_lease_of_another_address_is_ignored(kind: str) -> None:
    with Case("kc-other") as case:
        leases = Leases(case)
        case.ip(*NO_DEFAULT2)
        leases.write(kind, "up2", "10.64.2.99", "10.64.2.1")
        case.start(prelude=leases.prelude)
        assert case.rules(UP2[0]) == []
        assert case.services()["up2"]["Gateways"] == []
        case.settle()

        leases.write(kind, "up1", UP2[0], "10.64.2.1")  # nor does the lease of another link count
        case.settle()
        assert case.rules(UP2[0]) == []

        leases.write(kind, "up2", UP2[0], "10.64.2.1")
        case.settle()
        case.leave_by("net2", UP2[0])


@pytest.mark.parametrize("kind", ["networkd", "dhclient"])
def test_a_lease_that_names_another_router_and_one_that_goes(kind: str) -> None:
    with Case("kc-renewal") as case:
        leases = Leases(case)
        case.second_gateway()
        case.ip(*NO_DEFAULT2)
        leases.write(kind, "up2", UP2[0], "10.64.2.1")
        case.start(prelude=leases.prelude)
        with Stream(case, UP2[0]) as stream:
            leases.write(kind, "up2", UP2[0], SECOND[0])
            case.settle()
            case.leave_by(SECOND_WAY, UP2[0])
            leases.path(kind, "up2").unlink()
            case.settle()
            case.refused(UP2[0])
            leases.write(kind, "up2", UP2[0], "10.64.2.1")
            case.settle()
            case.leave_by("net2", UP2[0])
        assert stream.seen() == {UP2[0]: {"net2", "second"}}


def test_a_lease_folder_that_is_made_while_mpathd_runs() -> None:
    with Case("kc-folder") as case:
        leases = Leases(case, made=False)
        case.ip(*NO_DEFAULT2)
        case.start(prelude=leases.prelude)
        leases.networkd.mkdir()
        leases.write("networkd", "up2", UP2[0], "10.64.2.1")
        case.settle()
        case.leave_by("net2", UP2[0])

        leases.path("networkd", "up2").unlink()
        leases.networkd.rmdir()  # networkd stops
        case.settle()
        case.refused(UP2[0])

        leases.networkd.mkdir()
        leases.write("networkd", "up2", UP2[0], "10.64.2.1")
        case.settle()
        case.leave_by("net2", UP2[0])


def test_a_lease_with_a_gateway_outside_its_prefix() -> None:
    with Case("kc-lease32") as case:
        leases = Leases(case)
        case.net("addr add 10.88.0.1/32 dev net2", "route add 10.88.0.5 dev net2")
        case.ip(*NO_DEFAULT2, "addr flush dev up2", "addr add 10.88.0.5/32 dev up2")
        leases.write("networkd", "up2", "10.88.0.5", "10.88.0.1")
        case.start(prelude=leases.prelude)
        case.leave_by("net2", "10.88.0.5")
        assert case.answered("10.88.0.5")

        # What networkd itself adds for such a lease.
        case.ip(
            "route add 10.88.0.1 dev up2 proto dhcp scope link src 10.88.0.5 metric 1024",
            "route add default via 10.88.0.1 dev up2 proto dhcp src 10.88.0.5 metric 1024",
        )
        case.settle()
        case.leave_by("net2", "10.88.0.5")
        assert case.uncopied("up2") == []


def test_a_lease_of_a_link_with_two_routers() -> None:
    with Case("kc-tworout") as case:
        leases = Leases(case)
        case.second_gateway()
        case.ip(*NO_DEFAULT2)
        leases.write("networkd", "up2", UP2[0], f"{SECOND[0]} 10.64.2.1")
        case.start(prelude=leases.prelude)
        case.leave_by(SECOND_WAY, UP2[0])  # RFC 2132 3.5: in order of preference


def test_a_source_that_is_asked_only_after_a_reload() -> None:
    with Case("kc-asked") as case:
        leases = Leases(case)
        case.ip(*NO_DEFAULT2)
        case.start('sources.order = ["main"]\n', prelude=leases.prelude)
        case.reload("")
        poll(lambda: '"reload"' in case.agent.log.read_text(), "the reload")

        leases.write("networkd", "up2", UP2[0], "10.64.2.1")
        case.settle()
        case.leave_by("net2", UP2[0])


def test_a_static_gateway() -> None:
    with Case("kc-static") as case:
        case.ip(*NO_DEFAULT2)
        case.start()
        assert [rule for address in UP2 for rule in case.rules(address)] == []
        for name in ("up2", "u*2", ID2, "ethernet_02c0*2_cable", MAC2, "02-c0-00-00-00-02"):
            case.reload(f'sources.static = {{ "{name}" = ["10.64.2.1", "fd00:64:2::1"] }}\n')
            poll(lambda: set(case.ways(*UP2).values()) == {"net2"}, f"the way by {name}")
            case.leave_by("net1", *UP1)
            assert {gateway["Source"] for gateway in case.services()["up2"]["Gateways"]} == {"static"}
            case.settle()

            case.reload("")
            poll(lambda: set(case.ways(*UP2).values()) <= UNREACHABLE, f"the end of the way by {name}")


def test_a_static_gateway_outside_the_links_prefix() -> None:
    outside = ("10.77.7.1", "fd00:77:7::1")
    with Case("kc-statout") as case:
        case.net(*(f"addr add {address} dev net2" for address in outside))
        case.ip(*NO_DEFAULT2)
        case.start(f'sources.static = {{ up2 = ["{outside[0]}", "{outside[1]}"] }}\n')
        case.leave_by("net2", *UP2)
        assert all(case.answered(address) for address in UP2)


def test_a_static_link_without_a_gateway() -> None:
    with Case("kc-statlink") as case:
        case.ip(*NO_DEFAULT2, "neigh add 2001:db8:9::9 lladdr 02:50:00:00:00:02 dev up2 nud permanent")
        case.start('sources.static = { up2 = "on-link" }\n')
        case.leave_by("net2", *UP2)
        assert case.answered(UP2[0])
        case.settle()

        case.reload("")
        poll(lambda: case.way(UP2[0]) in UNREACHABLE, "the reload")
        case.settle()
        case.refused(*UP2)


def test_the_order_of_the_sources_decides() -> None:
    static = f'sources.static = {{ up2 = "{SECOND[0]}" }}\n'
    with Case("kc-order") as case:
        leases = Leases(case)
        case.second_gateway()
        case.net("addr add 10.64.2.4/24 dev net2")
        leases.write("networkd", "up2", UP2[0], "10.64.2.4")
        case.start(static, prelude=leases.prelude)
        case.leave_by(SECOND_WAY, UP2[0])  # as shipped, what is configured here wins over main
        case.leave_by("net2", UP2[1])  # of IPv6 only main knows

        with Stream(case, *UP2) as stream:
            case.reload(static + 'sources.order = ["main", "static"]\n')
            poll(lambda: case.way(UP2[0]) == "net2", "main's gateway")
            case.settle()
            assert "default via 10.64.2.1 dev up2" in "\n".join(case.table_by("up2"))

            case.reload(static + 'sources.order = ["networkd", "main", "static"]\n')
            poll(lambda: "via 10.64.2.4" in "\n".join(case.table_by("up2")), "the lease's gateway")
            case.settle()
            case.leave_by("net2", *UP2)

            leases.path("networkd", "up2").unlink()
            poll(lambda: "via 10.64.2.1" in "\n".join(case.table_by("up2")), "main's gateway")
            case.settle()

            case.ip(NO_DEFAULT2[0])
            poll(lambda: case.way(UP2[0]) == SECOND_WAY, "the last of the order")
            case.settle()
        assert stream.seen() == {UP2[0]: {"net2", "second"}, UP2[1]: {"net2"}}


def test_a_source_that_is_not_named_is_not_asked() -> None:
    with Case("kc-notasked") as case:
        leases = Leases(case)
        case.ip(*NO_DEFAULT2)
        leases.write("networkd", "up2", UP2[0], "10.64.2.1")
        case.start('sources.order = ["static", "main"]\n', prelude=leases.prelude)
        assert case.rules(UP2[0]) == []
        case.settle()

        case.reload("")
        poll(lambda: len(case.rules(UP2[0])) == 4, "the rules")
        case.settle()
        case.leave_by("net2", UP2[0])
