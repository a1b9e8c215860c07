"""Issue 2, items 3 and 4: links let in and kept out while mpathd runs; things of others where ours go."""

from __future__ import annotations

import pytest

from kernel.helpers_cases import UP1, UP2, Case, Stream, poll, table_of

ID2, MAC2 = "ethernet_02c000000002_cable", "02:C0:00:00:00:02"


def test_a_link_is_excluded_while_mpathd_runs_and_let_in_again() -> None:
    with Case("kc-exclude") as case:
        case.start()
        with Stream(case, *UP1) as stream:
            for name in ("up2", "up[2-9]", ID2, "*000002_cable", MAC2, "02c0.0000.0002"):
                case.reload(f'uplinks.exclude = ["{name}"]\n')
                poll(lambda: not [rule for address in UP2 for rule in case.rules(address)], "the rules' end")
                case.settle()
                assert set(case.services()) == {"up1"}
                assert case.table_by("up2") == []
                case.leave_by("net1", *UP1)

                case.reload("")
                poll(lambda: len([rule for address in UP2 for rule in case.rules(address)]) == 8, "the rules")
                case.leave_by("net2", *UP2)
            case.settle()
        assert stream.seen() == dict.fromkeys(UP1, {"net1"})


def test_only_included_links_are_services() -> None:
    with Case("kc-include", "uplinks-3") as case:
        case.start()
        for names in ('"up2"', '"*2"', f'"{ID2}"', f'"{MAC2}"', '"wlan*", "up2"'):
            case.reload(f"uplinks.include = [{names}]\n")
            poll(lambda: set(case.services()) == {"up2"}, "the reload")
            case.settle()
            case.leave_by("net2", *UP2)
            assert case.tables_in_use() == {table_of(case.lab.index("client", "up2"))}
            case.leave_by("net1", *UP1)  # as without mpathd: main's best

            case.reload('uplinks.include = ["up*"]\nuplinks.exclude = ["up1"]\n')
            poll(lambda: set(case.services()) == {"up2", "up3"}, "the reload")
            case.leave_by("net2", *UP2)
            case.leave_by("net3", "10.64.3.2", "fd00:64:3::2")
        case.settle()


@pytest.mark.parametrize("when", ["before", "while running"])
def test_a_foreign_route_in_our_table_is_left_alone(when: str) -> None:
    with Case("kc-froute") as case:
        table = table_of(case.lab.index("client", "up2"))
        theirs = (
            f"198.51.100.0/24 via 10.64.2.1 dev up2 table {table} proto static",
            f"2001:db8:88::/48 via fd00:64:2::1 dev up2 table {table} proto static",
        )
        if when == "before":
            case.ip(*(f"route add {route}" for route in theirs))
        case.start()
        if when != "before":
            case.ip(*(f"route add {route}" for route in theirs))
        case.settle()
        case.leave_by("net2", *UP2)
        assert [line for line in case.table_by("up2") if "proto static" in line] == _shown(theirs)

        assert case.agent.stop() == 0
        assert case.rules() == []
        assert case.table(table) == _shown(theirs)


def _shown(routes: tuple[str, ...]) -> list[str]:
    four, six = (" ".join(route.split(" table ")[0].split()) + " proto static" for route in routes)
    return [four, f"{six} metric 1024 pref medium"]


def test_a_foreign_default_where_ours_goes_is_left_alone_and_reported() -> None:
    """The same destination and metric: the kernel has room for one. Ours waits, and no rule leads by theirs."""
    with Case("kc-fdefault") as case:
        table = table_of(case.lab.index("client", "up2"))
        theirs = f"default via 10.64.1.1 dev up1 table {table} proto static metric 102"
        case.ip(f"route add {theirs}")
        case.start()
        assert [line for line in case.table_by("up2") if "proto static" in line] == [
            "default via 10.64.1.1 dev up1 proto static metric 102"
        ]
        # mpathd(8): rules appear only once the table holds what main has.
        assert case.rules(UP2[0]) == []
        texts = [finding["Text"] for finding in case.status()["Findings"]]
        assert [text for text in texts if f"table {table}" in text] == texts != []
        assert sum("kernel refuses" in text for text in texts) == 1  # the rules wait, nobody refused them
        case.leave_by("net2", UP2[1])
        case.leave_by("net1", *UP1)

        case.ip(f"route del {theirs}")
        case.settle()
        case.leave_by("net2", *UP2)
        assert case.findings() == {}


@pytest.mark.parametrize("what", ["default via 10.64.1.1 dev up1", "blackhole default"])
def test_a_foreign_default_that_comes_before_ours_is_reported(what: str) -> None:
    """A better metric in our table: the packets would leave by another link, which law 1 forbids, or not at all."""
    with Case("kc-fbetter") as case:
        table = table_of(case.lab.index("client", "up2"))
        case.ip(f"route add {what} table {table} proto static metric 1")
        case.start()
        named = [finding for finding in case.status()["Findings"] if str(table) in finding["Text"]]
        assert len(named) == 1
        assert [line for line in case.table_by("up2") if "proto static" in line] == [f"{what} proto static metric 1"]

        case.run_cure(named[0]["Cure"].split(", or ")[0])
        case.settle()
        case.leave_by("net2", *UP2)
        assert case.findings() == {}


def test_foreign_rules_equal_to_ours_are_left_alone() -> None:
    with Case("kc-frule") as case:
        table = table_of(case.lab.index("client", "up2"))
        theirs = (f"from {UP2[0]} lookup {table} pref 22002", f"from {UP2[1]} lookup {table} pref 22002")
        case.lab.ip("client", f"-4 rule add {theirs[0]}")
        case.lab.ip("client", f"-6 rule add {theirs[1]}")
        other = f"from {UP2[0]} lookup 253 pref 23000"
        case.lab.ip("client", f"-4 rule add {other}")
        case.start()
        case.leave_by("net2", *UP2)
        case.settle()
        assert case.findings() == {}
        assert case.agent.stop() == 0
        left = case.lab.ip("client", "-4 rule") + case.lab.ip("client", "-6 rule")
        assert [" ".join(line.split()) for line in left.splitlines() if line.startswith("22002:")] == [
            f"22002: from {address} lookup {table}" for address in UP2
        ]
        assert "23000:" in left


def test_a_foreign_rule_equal_to_ours_that_goes_while_mpathd_runs() -> None:
    with Case("kc-frulegone") as case:
        table = table_of(case.lab.index("client", "up2"))
        rule = f"-4 rule add from {UP2[0]} lookup {table} pref 22002"
        case.lab.ip("client", rule)
        case.start()
        with Stream(case, *UP2) as stream:
            case.lab.ip("client", rule.replace("add", "del"))
            poll(lambda: len(case.rules(UP2[0])) == 4, "our own rule")
            case.settle()
        case.leave_by("net2", *UP2)
        assert all(seen <= {"net2"} for seen in stream.seen().values())


def test_foreign_rules_and_tables_beside_ours_stay() -> None:
    with Case("kc-beside") as case:
        case.lab.ip("client", f"-4 rule add to 192.0.2.9/32 from {UP1[0]} lookup 100 pref 500 proto static")
        case.ip("route add default via 10.64.2.1 dev up2 table 100 proto static")
        before = case.lab.ip("client", "-4 rule show pref 500") + case.lab.ip("client", "-4 route show table 100")
        case.start()
        case.leave_by("net2", *UP2)
        assert case.way(UP1[0]) == "net2"  # theirs comes first: their will
        case.leave_by("net1", UP1[1])
        assert case.agent.stop() == 0
        after = case.lab.ip("client", "-4 rule show pref 500") + case.lab.ip("client", "-4 route show table 100")
        assert after == before
