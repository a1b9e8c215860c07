"""the 2016 post's second half: a session, its Updates, rules, table and flow selectors, with packets as proof"""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pyroute2 import IPRoute, netns

from _story import PORT, SERVER, Monitor, Story, across, far_side, quietly, told
from labkit import LabError, Watch, send_udp
from labkit.agent import eventually

NAME = "foo"
FLOW = 7777, 8888  # source and destination port, the post's
UNSET = 0xFFFF_FFFF  # suppress_prefixlength of a rule that has none
TO_TABLE, UNREACHABLE = 1, 7
Rule = tuple[str, int]  # source, empty for none; table, 0 for an end


def run(args: list[str]) -> int:
    """Tell the story.

    Args:
        args: see --help.
    """
    with told("three-uplinks", "client", ["--mpathrouting"], quiet=quietly("sessions", str(__doc__), args)) as story:
        second_half(story)
        return story.end()


def second_half(story: Story) -> None:
    """Replay the post's second half in a lab that is up, where every service is multipath-routed.

    Args:
        story: the lab.
    """
    with Monitor(story, "mpathctl session monitor") as monitor:
        tale = Tale(story, monitor)
        tale.begins()
        tale.has_services()
        tale.loses_one()
        with Watch(story.lab, far_side(story.lab, story.host)) as watch:
            tale.selects_flows(watch)
            tale.has_one_link(watch)
            tale.loses_it(watch)
        tale.ends()


class Tale:
    """A session from its creation to its end.

    Args:
        story: the lab.
        monitor: tells of sessions.
    """

    def __init__(self, story: Story, monitor: Monitor) -> None:
        self.story, self.monitor = story, monitor
        self.links = story.links()
        self.tables = {str(row["Interface"]): int(row["Table"]) for row in story.services()}
        self.ids = {str(row["Interface"]): str(row["Id"]) for row in story.services()}
        self.mark = 0

    def begins(self) -> None:
        """It has a default service and no other."""
        story = self.story
        story.say("a session: traffic that is routed by a table of its own")
        story.show(f"mpathctl session create {NAME} --bearer ethernet --service=")
        self.monitor.until("Update called at")
        found = self.found()
        self.mark, default = int(found["Mark"]), str(found["Interface"])
        rules = story.show("ip rule")
        story.show(f"ip route show table {self.mark}")
        self.rules_hold(())
        self.shown(rules, socket.AF_INET)
        self.table_leads_by(default)

    def has_services(self) -> None:
        """All that are allowed, connected and multipath-routed are its own too."""
        story = self.story
        story.say("and now over several services at once: all that are allowed, connected and multipath-routed")
        story.show(f"mpathctl session change {NAME} --service '*'")
        self.monitor.until("MultipathRoutedServices = [ ethernet")
        rules, rules6 = story.show("ip rule"), story.show("ip -6 rule")
        others = [dev for dev in self.links if dev != self.found()["Interface"]]
        story.holds(
            self.found()["MultipathRoutedServices"] == [self.ids[dev] for dev in others],
            f"its services are those of {' and '.join(others)}; the default one has not changed",
        )
        self.rules_hold(others)
        self.shown(rules, socket.AF_INET)
        self.shown(rules6, socket.AF_INET6)

    def loses_one(self) -> None:
        """When one of these services goes, its rules go."""
        story, dev = self.story, list(self.links)[-1]
        story.say(f"when one of them is disconnected, its rules disappear: the cable of {dev}")
        story.unplug(dev)
        self.monitor.until("MultipathRoutedServices = [")
        rest = [other for other in self.links if other not in {dev, self.found()["Interface"]}]
        self.rules_hold(rest)
        story.plug(dev)
        self.monitor.until("MultipathRoutedServices = [")
        self.rules_hold([*rest, dev])

    def selects_flows(self, watch: Watch) -> None:
        """It gets traffic."""
        story = self.story
        sport, dport = FLOW
        story.say("flow selectors: which traffic it is")
        story.show(f"mpathctl session change {NAME} --flow '*-*-udp-{sport}-{dport}'")
        self.monitor.until("FlowSelectors = [ *")
        if shutil.which("nft"):
            chain = story.show("nft list chain inet mpathd output")
            for name in re.findall(r"vmap @(m_\w+)", chain):
                story.show(f"nft list map inet mpathd {name}")
        for dev, addresses in self.links.items():
            for family, address in addresses.items():
                seen = self.way(watch, family, f"flow {dev} {family}", FLOW, address)
                self.leaves(seen, dev, family, f"of the flow and bound to {address}")

    def has_one_link(self, watch: Watch) -> None:
        """It may use one link alone, which is not the one that other traffic takes."""
        story = self.story
        first, *_, last = self.links
        sport, dport = FLOW
        story.say(f"let it use {last} alone; traffic of no session takes {first}")
        story.show(f"mpathctl session change {NAME} --interface {last}")
        self.monitor.until(f"Interface = {last}")
        story.show(f"ip route show table {self.mark}")
        self.table_leads_by(last)
        self.rules_hold(())
        for family in self.links[last]:
            seen = self.way(watch, family, f"of it {family}", FLOW)
            self.leaves(seen, last, family, "of the flow, bound to nothing")
            seen = self.way(watch, family, f"not of it {family}", (0, PORT))
            self.leaves(seen, first, family, "of no session, bound to nothing")
        story.show(f"mpathctl session change {NAME} --flow '*-*-*' --flow '*-*-udp-{sport}-{dport}'")
        self.monitor.until("FlowSelectors = [ *-*-*")
        for family in self.links[last]:
            seen = self.way(watch, family, f"everything {family}", (0, PORT))
            self.leaves(seen, last, family, "of *-*-*, bound to nothing")

    def loses_it(self, watch: Watch) -> None:
        """Without a link it is refused, and takes no other."""
        story, last = self.story, list(self.links)[-1]
        story.say(f"pull the cable of {last}: its traffic is refused, and takes no other link")
        watch.clear()
        story.unplug(last)
        self.monitor.until("State = disconnected")
        for family in self.links[last]:
            sent = self.send(family, "lost", FLOW, None)
            story.holds(not sent.ok, f"of the flow: the socket hears at once that it cannot leave ({sent})")
        story.holds(not watch.packets(payload=b"lost"), "and not one packet of it left")
        story.plug(last)
        self.monitor.until(f"Interface = {last}")
        for family in self.links[last]:
            seen = self.way(watch, family, f"again {family}", FLOW)
            self.leaves(seen, last, family, "of the flow, now that the cable is back")

    def ends(self) -> None:
        """Nothing of it stays."""
        story = self.story
        story.say("the session ends")
        story.show(f"mpathctl session destroy {NAME}")
        self.monitor.until("Release called at")
        left = [rule for family in SERVER for rule in self.kernel(family)]
        rules = story.lab.ip(story.host, "rule") + story.lab.ip(story.host, "-6 rule")
        left += re.findall(rf"lookup {self.mark}\b", rules)
        table = story.lab.ip(story.host, f"route show table {self.mark}", check=False)
        story.holds(not left and not table, "no rule has its mark or names its table, which is empty")

    def found(self) -> dict[str, Any]:
        """The session, as mpathctl gives it to programs."""
        out = self.story.agent.ctl("session", "show", NAME, "--json").stdout
        found: dict[str, Any] = json.loads(out)
        return found

    def send(self, family: int, payload: str, ports: tuple[int, int], source: str | None) -> Any:
        """Send one datagram to the server."""
        server = SERVER[socket.AddressFamily(family)]
        sport, dport = ports
        return send_udp(self.story.lab, self.story.host, server, dport, source, payload.encode(), sport=sport)

    def way(
        self, watch: Watch, family: int, payload: str, ports: tuple[int, int], source: str | None = None
    ) -> set[tuple[str, str]]:
        """Send one datagram; give the devices on the far side that saw it, and the source that it had there."""
        watch.clear()
        if not self.send(family, payload, ports, source).ok:
            return set()
        watch.wait(lambda packets: any(packet.payload == payload.encode() for packet in packets))
        return {(packet.dev, packet.src) for packet in watch.packets(payload=payload.encode())}

    def leaves(self, seen: set[tuple[str, str]], dev: str, family: int, what: str) -> None:
        """Check that it left by a link, with the link's address."""
        wanted = {(across(self.story.lab, self.story.host, dev), self.links[dev][family])}
        shown = " and ".join(f"at {far} from {source}" for far, source in sorted(seen)) or "nowhere"
        self.story.holds(seen == wanted, f"{what}: seen {shown}")

    def rules_hold(self, devs: Sequence[str]) -> None:
        """Check the session's rules, asked of the kernel in another way: services first, then the default one.

        Args:
            devs: the links that it may use besides its default one.
        """
        wanted: dict[int, list[Rule]] = {}
        for family in SERVER:
            members = sorted((self.links[dev][family], self.tables[dev]) for dev in devs)
            ends = [(source, 0) for source, _ in members]
            wanted[family] = [*members, *ends, ("", self.mark), ("", 0)]
        with suppress(LabError):  # an Update comes a moment before the last write
            eventually(lambda: {family: self.kernel(family) for family in wanted} == wanted, 5)
        where = f"by the tables of {' and '.join(devs)}, and then its own" if devs else "by its own table"
        self.story.holds(
            {family: self.kernel(family) for family in wanted} == wanted,
            f"the kernel leads what has its mark {where}, or says unreachable; IPv6 too",
        )

    def shown(self, text: str, family: int) -> None:
        """Check that `ip rule` has shown all rules with the session's mark."""
        lines = [line for line in text.splitlines() if f"fwmark {self.mark:#x}" in line]
        whole = len(self.kernel(family, specifics=True))
        self.story.holds(len(lines) == whole, f"these are {whole} rules, all of which were shown")

    def table_leads_by(self, dev: str) -> None:
        """Check the session's table, asked of the kernel in another way."""
        story, index = self.story, self.story.lab.index(self.story.host, dev)
        netns.pushns(story.lab.ns(story.host))
        try:
            with IPRoute() as ip:
                routes = [route for family in SERVER for route in ip.get_routes(family=family, table=self.mark)]
        finally:
            netns.popns()
        ways = {route.get_attr("RTA_OIF") for route in routes}
        defaults = [route for route in routes if not route["dst_len"]]
        story.holds(ways == {index} and len(defaults) == len(SERVER), f"its table leads out by {dev} alone")

    def kernel(self, family: int, *, specifics: bool = False) -> list[Rule]:
        """The rules with the session's mark, in order, through pyroute2; those for specific routes only if wanted."""
        netns.pushns(self.story.lab.ns(self.story.host))
        try:
            with IPRoute() as ip:
                rules = [rule for rule in ip.get_rules(family=family) if rule.get_attr("FRA_FWMARK") == self.mark]
        finally:
            netns.popns()
        rules.sort(key=lambda rule: (rule.get_attr("FRA_PRIORITY"), rule.get_attr("FRA_SRC") or ""))
        return [
            (rule.get_attr("FRA_SRC") or "", rule.get_attr("FRA_TABLE") if rule["action"] == TO_TABLE else 0)
            for rule in rules
            if specifics or rule.get_attr("FRA_SUPPRESS_PREFIXLEN") in {None, UNSET}
        ]
