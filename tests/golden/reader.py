"""Golden files: a world and a policy as text, and the kernel, the services and the findings that follow as text."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from pathlib import Path

from mpathd.model.numbers import SERVICE_TABLE
from mpathd.model.policy import Policy, ServiceSettings, Stored
from mpathd.model.routing import Hop, KernelState, Route, Rule
from mpathd.model.words import Address, Family, MptcpMode, Prefix, family_of, host
from mpathd.model.world import Gateway, Link, LinkAddress, Uncopied, World
from mpathd.plan.desire import desire
from mpathd.plan.diff import diff
from mpathd.plan.show import show
from mpathd.plan.tables import gateways_of_main


class Scene:
    """One golden file, read.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.links: dict[int, Link] = {}
        self.main: list[Route] = []
        self.uncopied: list[Uncopied] = []
        self.gateways: dict[int, tuple[Gateway, ...]] = {}
        self.rules: list[Rule] = []
        self.lent: dict[tuple[int, int], Address] = {}
        self.rp_filter_all = 0
        self.policy = Policy(defaults=ServiceSettings(multipath_routing=True))
        self.given: list[str] = []
        self.wanted = ""
        text = path.read_text()
        head, _, self.wanted = text.partition("\n=====\n")
        for line in head.splitlines():
            self.given.append(line)
            words = line.split("#")[0].split()
            if words:
                getattr(self, f"_{words[0]}")(words[1:])

    def _index(self, name: str) -> int:
        return next(link.index for link in self.links.values() if link.name == name)

    def _link(self, words: list[str]) -> None:
        link = Link(index=int(words[0]), name=words[1])
        for word in words[2:]:
            key, _, value = word.partition("=")
            match key:
                case "down":
                    link = replace(link, up=False, carrier=False)
                case "nocarrier":
                    link = replace(link, carrier=False)
                case "p2p":
                    link = replace(link, point_to_point=True)
                case "mac":
                    link = replace(link, mac=bytes.fromhex(value.replace(":", "")))
                case "kind" | "devtype":
                    link = replace(link, **{key: value})  # type: ignore[arg-type]
                case "hardware" | "master" | "vlan" | "rp_filter" | "arp_ignore":
                    link = replace(link, **{key: int(value)})  # type: ignore[arg-type]
                case "loopback":
                    link = replace(link, loopback=True)
                case _:
                    raise AssertionError(word)
        self.links[link.index] = link

    def _addr(self, words: list[str]) -> None:
        interface = ipaddress.ip_interface(words[1])
        flags = {word: True for word in words[2:] if word != "link-local"}
        address = LinkAddress(
            family=Family.INET if interface.version == 4 else Family.INET6,
            address=Address(str(interface.ip)),
            bits=interface.network.prefixlen,
            universal="link-local" not in words,
            **flags,  # type: ignore[arg-type]
        )
        index = self._index(words[0])
        self.links[index] = replace(self.links[index], addresses=(*self.links[index].addresses, address))

    def _main(self, words: list[str]) -> None:
        named = dict(zip(words[1::2], words[2::2], strict=False))
        six = ":" in words[0] or ":" in named.get("via", "") or "-6" in words
        family = Family.INET6 if six else Family.INET
        index = self._index(named["dev"])
        hops: tuple[Hop, ...] = (
            Hop(index, Address(named["via"]) if "via" in named else None, "onlink" in words, dev=named["dev"]),
        )
        if "dev2" in named:
            hops += (Hop(self._index(named["dev2"]), Address(named["via2"]), dev=named["dev2"]),)
        self.main.append(
            Route(
                family,
                254,
                family.any if words[0] == "default" else Prefix(words[0]),
                hops,
                metric=int(named.get("metric", 1024 if six else 0)),
                source=Address(named["src"]) if "src" in named else None,
                link_scope=not six and "via" not in named,
                protocol=int(named.get("proto", 3)),
            )
        )

    def _gateway(self, words: list[str]) -> None:
        index, address = self._index(words[0]), Address(words[2])
        found = Gateway(family_of(address), address, words[1])
        self.gateways[index] = (*self.gateways.get(index, ()), found)

    def _lent(self, words: list[str]) -> None:
        address = Address(words[1])
        self.lent[family_of(address), self._index(words[0])] = address

    def _uncopied(self, words: list[str]) -> None:
        self.uncopied.append(
            Uncopied(family_of(words[1]), (self._index(words[0]),), Prefix(words[1]), " ".join(words[2:]))
        )

    def _ruled(self, words: list[str]) -> None:
        """An address that has our rules already."""
        index, address = self._index(words[0]), Address(words[1])
        numbers = self.policy.numbers
        rule = Rule(family_of(address), numbers.priority(SERVICE_TABLE), host(address), numbers.table(index))
        self.rules.append(rule)

    def _rp_filter(self, words: list[str]) -> None:
        self.rp_filter_all = int(words[0])

    def _policy(self, words: list[str]) -> None:
        key, value = words[0], words[2]
        match key:
            case "multipath_routing":
                defaults = replace(self.policy.defaults, multipath_routing=value == "true")
                self.policy = replace(self.policy, defaults=defaults)
            case "mpath_tcp_link":
                self.policy = replace(
                    self.policy, defaults=replace(self.policy.defaults, mpath_tcp_link=MptcpMode(value))
                )
            case "include" | "exclude" | "source_order":
                self.policy = replace(self.policy, **{key: tuple(words[2:])})  # type: ignore[arg-type]
            case "allow_borrowed":
                self.policy = replace(self.policy, allow_borrowed=value == "true")
            case _:
                raise AssertionError(key)

    def _set(self, words: list[str]) -> None:
        service, field, value = words
        stored = self.policy.stored.services
        typed: bool | str = value == "true" if value in {"true", "false"} else value
        services = {**stored, service: {**stored.get(service, {}), field: typed}}
        self.policy = replace(self.policy, stored=Stored({}, services))

    def world(self) -> World:
        """The world of the file."""
        world = World(
            links=self.links,
            main=tuple(self.main),
            uncopied=tuple(self.uncopied),
            lent=self.lent,
            have=KernelState(rules=frozenset(self.rules)),
            rp_filter_all=self.rp_filter_all,
        )
        gateways = dict(self.gateways)
        for index, found in gateways_of_main(world).items():
            gateways[index] = (*found, *gateways.get(index, ()))
        return replace(world, gateways=gateways)

    def outcome(self) -> str:
        """What follows, as text."""
        world = self.world()
        desired = desire(world, self.policy)
        view = show(world, self.policy, desired)
        lines = [
            f"{s.letters} {s.name:<10} {s.id} ({s.interface}, table {s.table}): {s.because}" for s in view.services
        ]
        lines += [str(step) for step in diff(desired.kernel, KernelState())]
        lines += [f"{f.severity.value} {f.code}: {f.text}; cure: {f.cure}" for f in view.findings]
        return "\n".join(lines) + "\n"
