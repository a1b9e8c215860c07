"""Issue 2, item 4: rp_filter that would drop replies, and ARP flux: handled, or reported with a cure that cures."""

from __future__ import annotations

import pytest

from kernel.helpers_cases import PORT, UP1, UP2, Case
from labkit import SERVER4, Echo, send_udp
from labkit.packet import ETH_ARP

GATEWAY, OWN1, OWN2 = "10.0.0.1", "10.0.0.11", "10.0.0.12"


def _heard(case: Case, address: str, timeout: float) -> bool:
    """Whether a request of the server that comes in by an uplink is answered."""
    text = f"request to {address}".encode()
    sent = send_udp(case.lab, "net", address, PORT, source=SERVER4, payload=text, timeout=timeout)
    return sent.reply == text


def _strict(case: Case, where: str) -> None:
    case.lab.sysctl("client", {f"net.ipv4.conf.{where}.rp_filter": 1})


@pytest.mark.parametrize("where", ["up2", "all"])
def test_replies_pass_a_strict_rp_filter_where_the_link_is_multipath_routed(where: str) -> None:
    with Case("kc-rpf") as case, Echo(case.lab, "client", PORT):
        _strict(case, where)
        case.start()
        assert _heard(case, UP2[0], 2.0)
        assert _heard(case, UP1[0], 2.0)
        assert case.answered(UP2[0])
        assert case.watch.devices(src=UP2[0], sport=PORT, way="in") == ("net2",)  # law 7
        assert "rp-filter-strict" not in case.findings()
        case.settle()


@pytest.mark.parametrize("where", ["up2", "all"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_strict_rp_filter_that_drops_is_a_finding_until_it_is_cured(where: str, which: int) -> None:
    with Case("kc-rpfcure") as case, Echo(case.lab, "client", PORT):
        _strict(case, where)
        case.start(args=())
        assert _heard(case, UP1[0], 2.0)
        assert not _heard(case, UP2[0], 0.3)
        found = case.findings()["rp-filter-strict"]
        assert "up2" in found["Text"]

        case.run_cure(found["Cure"].split(", or: ")[which])

        assert "rp-filter-strict" not in case.findings()
        assert _heard(case, UP2[0], 2.0)
        if which == 0:
            assert case.watch.devices(src=UP2[0], sport=PORT, way="in") == ("net2",)
        case.settle()


def test_a_loose_rp_filter_is_no_finding() -> None:
    with Case("kc-rploose") as case, Echo(case.lab, "client", PORT):
        case.lab.sysctl("client", {"net.ipv4.conf.all.rp_filter": 2, "net.ipv4.conf.up2.rp_filter": 1})
        case.start(args=())
        assert _heard(case, UP2[0], 2.0)
        assert case.findings() == {}


def _answers(case: Case, address: str) -> set[str]:
    """The links by which the client answers ARP for an address, as seen at the switch."""
    case.lab.exec("gw", ["ip", "neigh", "flush", "dev", "lan"])
    case.watch.clear()
    text = b"who has it?"
    assert send_udp(case.lab, "gw", address, PORT, source=GATEWAY, payload=text, timeout=2.0).reply == text
    case.way(OWN1, GATEWAY)  # what was sent before is there when this is
    case.way(OWN2, GATEWAY)
    asked = bytes(map(int, address.split(".")))
    packets = [p for p in case.watch.packets(family=ETH_ARP, way="in") if p.raw[6:8] == b"\0\2"]
    return {p.dev for p in packets if p.raw[14:18] == asked}


def test_arp_flux_is_a_finding_until_it_is_cured() -> None:
    far = [("switch", "p1"), ("switch", "p2")]
    with Case("kc-flux", "same-subnet", server="server", far=far) as case, Echo(case.lab, "client", PORT):
        case.lab.sysctl("client", {"net.ipv4.conf.all.arp_ignore": 0, "net.ipv4.conf.all.arp_announce": 0})
        case.start()
        assert _answers(case, OWN2) == {"p1", "p2"}
        found = case.findings()["arp-flux"]
        assert ("up1" in found["Text"], "up2" in found["Text"]) == (True, True)

        case.run_cure(found["Cure"])

        assert "arp-flux" not in case.findings()
        assert _answers(case, OWN2) == {"p2"}
        assert _answers(case, OWN1) == {"p1"}
        case.settle()


def test_no_arp_flux_where_it_is_prevented_for_all_links() -> None:
    far = [("switch", "p1"), ("switch", "p2")]
    with Case("kc-noflux", "same-subnet", server="server", far=far) as case, Echo(case.lab, "client", PORT):
        case.start()
        assert _answers(case, OWN2) == {"p2"}
        assert "arp-flux" not in case.findings()


def test_no_arp_flux_on_two_segments_with_the_same_numbers() -> None:
    """A finding it may be, since the kernel cannot tell a switch from two wires; its cure must then work there too."""
    far = [("gw1", "lan"), ("gw2", "lan")]
    with Case("kc-fluxgw", "same-gateway", server="server", far=far) as case:
        case.start()
        if found := case.findings().get("arp-flux"):
            case.run_cure(found["Cure"])
        assert "arp-flux" not in case.findings()
        case.leave_by("gw1", OWN1)
        case.leave_by("gw2", OWN2)
        assert case.answered(OWN1)
        assert case.answered(OWN2)
