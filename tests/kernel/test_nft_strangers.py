"""Who else uses bits of marks in nft is found, whatever the words, and told while there are sessions."""

from __future__ import annotations

import subprocess

import pytest

from bench.peers.fetch import unpacked
from kernel.helpers_sessions import FLOW, Case
from labkit import netns
from mpathd.kernel.nftables import Nftables
from mpathd.model.world import Stranger

RULES = {
    "udp dport 9 meta mark set 0x30000": 0x30000,
    "meta mark set meta mark & 0x8001ffff | 0x10000": 0x10000,
    "meta mark set meta mark | 0x4000": 0x4000,
    "meta mark 0x20000 accept": 0x20000,
    "meta mark & 0xff0000 == 0x40000 accept": 0x40000,
    "meta mark & 0x50000 != 0 accept": 0x50000,
    "ct mark 0x60000 accept": 0x60000,
    "ct mark set 0x70000": 0x70000,
    "ip saddr 10.0.0.1 udp dport 9 meta mark set 0x1": 0x1,
    "meta mark set ct mark": 0,
    "meta mark & 0xffff == 0x1 ip daddr 10.0.0.1 accept": 0x1,
    "ip daddr 10.0.0.1 tcp dport 3 counter accept": 0,
    "meta priority set 0x30000": 0,
}


def run(space: str, *argv: str, text: str = "") -> None:
    """Let a program do something there."""
    subprocess.run(["ip", "netns", "exec", space, *argv], input=text, text=True, check=True)


def seen(space: str) -> tuple[Stranger, ...]:
    """What a fresh hand finds."""

    def look() -> tuple[Stranger, ...]:
        hand = Nftables()
        hand.look()
        hand.close()
        return hand.strangers

    return netns.in_ns(space, look)


@pytest.mark.parametrize("rule", RULES)
def test_the_bits_of_a_rule_are_found(space: str, rule: str) -> None:
    chain = f"chain o {{\ntype filter hook output priority 0;\n{rule}\n}}"
    run(space, "nft", "-f", "-", text=f"table inet other {{\n{chain}\n}}\ntable inet mpathd {{\n{chain}\n}}\n")
    bits = RULES[rule]
    assert seen(space) == ((Stranger("inet other o", bits),) if bits else ())


@pytest.mark.parametrize("words", ["-j MARK --set-xmark 0x30000/0xff0000", "-m mark --mark 0x30000/0xff0000 -j ACCEPT"])
def test_those_of_iptables_too(space: str, words: str) -> None:
    root = unpacked("iptables", ["iptables", "libxtables12"])
    libraries = next(root.glob("usr/lib/*/libxtables.so.*")).parent
    environment = ["env", f"LD_LIBRARY_PATH={libraries}", f"XTABLES_LIBDIR={libraries / 'xtables'}"]
    run(space, *environment, str(root / "usr/sbin/iptables-nft"), "-t", "mangle", "-A", "OUTPUT", *words.split())
    assert seen(space) == (Stranger("ip mangle OUTPUT", 0x30000),)


def test_they_are_told_while_there_are_sessions() -> None:
    with Case() as case:

        def told() -> list[str]:
            return [found["Text"] for found in case.status()["Findings"] if found["Code"] == "mark-shared"]

        case.session("call", flow_selectors=FLOW)
        assert told() == []
        rule = "table ip other { chain o { type filter hook output priority 0; udp dport 9 meta mark set 0x30000; }; }"
        case.lab.exec(case.client, ["nft", rule])
        case.settle()
        assert [text.rpartition("example: ")[2] for text in told()] == ["ip other o"]
        case.lab.exec(case.client, ["nft", "delete table ip other"])
        case.settle()
        assert told() == []
