"""Issue 2, item 4: links renamed, re-made, moved, enslaved, down, with another hardware address."""

from __future__ import annotations

import pytest

from kernel.helpers_cases import UP1, UP2, Case, Stream, poll, table_of

MAC2 = "02:c0:00:00:00:02"  # up2's in the lab
ROUTES2 = (
    "route replace default via 10.64.2.1 dev up2 metric 102",
    "route replace default via fd00:64:2::1 dev up2 metric 102",
)
LAYOUT2 = (f"addr add {UP2[0]}/24 dev up2", f"addr add {UP2[1]}/64 dev up2", "link set up2 up", *ROUTES2)


def _up2_again(case: Case, index: int) -> None:
    """Make up2 and its far end once more, with another index."""
    case.lab.ip(
        "client",
        f"link add name up2 index {index} address {MAC2} type veth peer name net2 netns {case.lab.ns('net')}",
    )
    case.net("addr add 10.64.2.1/24 dev net2", "addr add fd00:64:2::1/64 dev net2", "link set net2 up")
    case.look(("net", "net2"))
    case.ip(f"addr add {UP2[0]}/24 dev up2", f"addr add {UP2[1]}/64 dev up2", "link set up2 up")
    poll(lambda: "LOWER_UP" in case.lab.ip("client", "link show up2"), "up2's carrier")
    case.ip(*ROUTES2)


def test_a_link_that_is_renamed_while_it_is_up() -> None:
    with Case("kc-renamed") as case:
        case.start()
        with Stream(case, *UP2) as stream:
            case.ip("link set up2 name wan2")
            case.settle()
            poll(lambda: "wan2" in case.services(), "the new name")

            case.leave_by("net2", *UP2)
            assert set(case.services()) == {"up1", "wan2"}
            assert all("wan2" in route for route in case.table_by("wan2"))

            case.ip("link set wan2 name up2")
            case.settle()
        case.leave_by("net2", *UP2)
        assert stream.seen() == dict.fromkeys(UP2, {"net2"})
        assert stream.refused == 0


def test_two_links_that_swap_their_names() -> None:
    with Case("kc-swapped") as case:
        case.start()
        with Stream(case, *UP1, *UP2) as stream:
            case.ip("link set up1 name x", "link set up2 name up1", "link set x name up2")
            case.settle()
        case.leave_by("net1", *UP1)
        case.leave_by("net2", *UP2)
        assert stream.seen() == {**dict.fromkeys(UP1, {"net1"}), **dict.fromkeys(UP2, {"net2"})}


def test_a_link_that_is_renamed_to_an_excluded_name_and_back() -> None:
    with Case("kc-renexcl") as case:
        case.start('uplinks.exclude = ["lan*"]\n')
        case.ip("link set up2 name lan2")
        case.settle()
        assert [rule for address in UP2 for rule in case.rules(address)] == []
        assert set(case.services()) == {"up1"}

        case.ip("link set lan2 name up2")
        case.settle()
        case.leave_by("net2", *UP2)


@pytest.mark.parametrize("index", [77, 70000])
def test_a_link_that_is_deleted_and_made_again_with_another_index(index: int) -> None:
    with Case("kc-remade") as case:
        case.start()
        old = table_of(case.lab.index("client", "up2"))
        assert old in case.tables_in_use()
        service = case.services()["up2"]["Id"]
        case.lost("net2")
        with Stream(case, *UP1) as stream:
            case.ip("link del up2")
            case.settle()
            assert [rule for address in UP2 for rule in case.rules(address)] == []
            assert old not in case.tables_in_use()

            _up2_again(case, index)
            case.settle()
        case.leave_by("net2", *UP2)
        case.leave_by("net1", *UP1)
        assert case.tables_in_use() == {table_of(case.lab.index("client", "up1")), table_of(index)}
        assert case.services()["up2"]["Id"] == service
        assert case.services()["up2"]["Table"] == table_of(index)
        assert not any(str(old) in rule.split() for rule in case.rules())
        assert stream.seen() == dict.fromkeys(UP1, {"net1"})


def test_a_link_that_is_made_again_before_mpathd_looks() -> None:
    with Case("kc-atonce") as case:
        case.start()
        old = table_of(case.lab.index("client", "up2"))
        case.lost("net2")
        net = case.lab.ns("net")
        make = f"link add name up2 index 99 address {MAC2} type veth peer name net2 index 98 netns {net}"
        case.ip("link del up2", make, *LAYOUT2[:3])  # one process: the events come as a bunch
        case.net("addr add 10.64.2.1/24 dev net2", "addr add fd00:64:2::1/64 dev net2", "link set net2 up")
        poll(lambda: "LOWER_UP" in case.lab.ip("client", "link show up2"), "up2's carrier")
        case.ip(*ROUTES2)
        case.look(("net", "net2"))
        case.settle()

        case.leave_by("net2", *UP2)
        assert case.tables_in_use() == {table_of(case.lab.index("client", "up1")), table_of(99)}
        assert old not in case.tables_in_use()


def test_a_link_that_is_moved_to_another_namespace_and_back() -> None:
    with Case("kc-moved") as case:
        case.start()
        index = case.lab.index("client", "up2")
        with Stream(case, *UP1) as stream:
            case.ip(f"link set up2 netns {case.lab.ns('net')}")
            case.settle()
            assert [rule for address in UP2 for rule in case.rules(address)] == []
            assert table_of(index) not in case.tables_in_use()
            assert set(case.services()) == {"up1"}

            case.net(f"link set up2 netns {case.lab.ns('client')}")
            case.ip(*LAYOUT2[:3])
            poll(lambda: "LOWER_UP" in case.lab.ip("client", "link show up2"), "up2's carrier")
            case.ip(*ROUTES2)
            case.settle()
        case.leave_by("net2", *UP2)
        case.leave_by("net1", *UP1)
        assert all(case.answered(address) for address in UP2)
        assert stream.seen() == dict.fromkeys(UP1, {"net1"})
        tables = {table_of(case.lab.index("client", name)) for name in ("up1", "up2")}
        assert case.tables_in_use() == tables


def test_a_link_that_becomes_a_bridge_port_and_is_freed() -> None:
    with Case("kc-enslaved") as case:
        case.start()
        with Stream(case, *UP1) as stream:
            case.ip("link add br0 type bridge", "link set br0 up", "link set up2 master br0")
            case.settle()
            assert set(case.services()) == {"up1"}
            assert [rule for address in UP2 for rule in case.rules(address)] == []
            assert table_of(case.lab.index("client", "up2")) not in case.tables_in_use()
            case.leave_by("net1", *UP1)

            case.ip("link set up2 nomaster")
            case.settle()
        case.leave_by("net2", *UP2)
        case.leave_by("net1", *UP1)
        assert set(case.services()) == {"up1", "up2"}
        assert stream.seen() == dict.fromkeys(UP1, {"net1"})


def test_settings_follow_the_identifier_when_the_hardware_address_changes() -> None:
    with Case("kc-mac") as case:
        case.start(args=())
        done = case.agent.ctl("config", "up2", "--mpath_routing", "yes")
        assert done.returncode == 0, done.stderr
        before = case.services()["up2"]["Id"]
        case.leave_by("net2", *UP2)

        case.ip("link set up2 address 02:c0:00:00:00:99")
        poll(lambda: case.services()["up2"]["Id"] != before, "another identifier")
        case.settle()
        assert case.rules() == []  # nobody asked for this one
        assert case.services()["up2"]["MultipathRouting"] is False

        case.ip(f"link set up2 address {MAC2}")
        poll(lambda: case.services()["up2"]["Id"] == before, "the old identifier")
        case.settle()
        case.leave_by("net2", *UP2)


def test_another_hardware_address_alone_changes_no_way() -> None:
    with Case("kc-macon") as case:
        case.start()
        with Stream(case, *UP2) as stream:
            before = case.rules()
            case.ip("link set up2 address 02:c0:00:00:00:99")
            poll(lambda: case.services()["up2"]["Id"] == "ethernet_02c000000099_cable", "another identifier")
            case.settle()
        assert case.rules() == before
        case.leave_by("net2", *UP2)
        assert stream.seen() == dict.fromkeys(UP2, {"net2"})
        assert stream.refused == 0


@pytest.mark.parametrize("how", ["down", "carrier"])
def test_a_link_that_loses_its_way_out_and_gets_it_back(how: str) -> None:
    with Case("kc-down") as case:
        case.lab.sysctl("client", {"net.ipv6.conf.up2.keep_addr_on_down": 1})
        case.lab.sysctl("net", {"net.ipv6.conf.net2.keep_addr_on_down": 1})
        case.start()
        with Stream(case, *UP2) as stream:
            if how == "down":
                case.ip("link set up2 down")
            else:
                case.net("link set net2 down")
            case.settle()
            case.refused(UP2[0])
            # The kernel takes an IPv6 address from use while its link is down; bound to it is not possible then.
            assert case.way(UP2[1]) in {"ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL"}
            assert len(case.rules(UP2[0])) == 4
            case.leave_by("net1", *UP1)

            if how == "down":
                case.ip("link set up2 up")
            else:
                case.net("link set net2 up")
            poll(lambda: "LOWER_UP" in case.lab.ip("client", "link show up2"), "up2's carrier")
            case.ip(*ROUTES2)
            case.settle()
        case.leave_by("net2", *UP2)
        assert stream.seen()[UP2[0]] <= {"net2"}
        assert stream.seen()[UP2[1]] <= {"net2"}


def test_another_link_that_takes_the_index_of_one_that_went() -> None:
    with Case("kc-reused") as case:
        case.start(args=())
        assert case.agent.ctl("config", "up2", "--mpath_routing", "yes").returncode == 0
        case.leave_by("net2", *UP2)
        index = case.lab.index("client", "up2")
        case.lost("net2")
        net = case.lab.ns("net")
        case.ip(
            "link del up2",
            f"link add name lan9 index {index} type veth peer name net2 index 98 netns {net}",
            "link set lan9 up",
            f"addr add {UP2[0]}/24 dev lan9",
        )
        case.net("link set net2 up")
        case.settle()
        # It has the index and the address, and is another service that nobody asked for.
        assert case.rules() == []
        assert case.table(table_of(index)) == []
        assert set(case.services()) == {"up1", "lan9"}


def test_a_link_that_is_renamed_to_what_the_configuration_speaks_of() -> None:
    with Case("kc-renstat") as case:
        case.ip(*(line.replace("replace", "del") for line in ROUTES2))
        case.start('sources.static = { wan2 = ["10.64.2.1", "fd00:64:2::1"] }\n')
        assert [rule for address in UP2 for rule in case.rules(address)] == []

        case.ip("link set up2 name wan2")
        case.settle()
        case.leave_by("net2", *UP2)

        case.ip("link set wan2 name up2")
        case.settle()
        case.refused(*UP2)
        assert "up2" in case.findings()["no-gateway"]["Text"]
