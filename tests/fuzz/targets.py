"""What is fuzzed: texts to begin with, and what has to hold whatever comes in."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mpathd.kernel.nftables.library import Library
from mpathd.model.errors import ConfigError, InvalidArguments
from mpathd.model.numbers import Numbers
from mpathd.model.selector import FlowSelector
from mpathd.model.session import Origin, Session, SessionSettings
from mpathd.plan import config, policyfile, wishes
from mpathd.plan.nft import whole
from mpathd.plan.packets import ruleset
from mpathd.plan.policyfile import Names
from mpathd.plan.selectors import parse
from mpathd.plan.sessions import Choice

ROOT = Path(__file__).resolve().parents[2]
NAMES = Names({"alice": 1000, "backup": 34}.get, {"video": 44}.get)
BATCH = 500  # selectors that nft is asked about together
PLACE = re.compile(r":(\d+):(\d+): ")

SELECTORS = (
    "*-*-*", "*", "*-*-udp-7777-8888", "10.0.1.2-192.0.2.0/24-tcp-1024:65535-443", "fd00::1-2001:db8::/32-sctp-*-1:2",
    "*-*-icmp", "*-*-58", "fd00::/64-*-icmpv6", "*-::ffff:1.2.3.4-udplite-1-1", "0.0.0.0/0-*-0", "*-::/0-dccp-5:5-*",
)  # fmt: skip
TOML = """# a call must not leave by the metered link
[session.call]
description = "video calls"
allowed_bearers = ["ethernet", "wifi"]
connection_type = "internet"
flow_selectors = ["*-*-udp-*-3478:3481", "*-*-TCP-*-443", "10.0.0.0/8-*-*"]
users = ["alice", 1001]
groups = "video"
cgroup = "/system.slice/call.service"
multipath_routed_services = ["ethernet_020000000001_cable"]
without_service = "main"
priority = 500
nat = "never"
allowed_interface = "eth0"

[session."nightly-backup"]
users = "backup"
"""
CONNMAN = """[policy_a]
uid = alice
AllowedBearers = wifi ethernet
ConnectionType = local
RoamingPolicy = always
[policy_b]
gid = 44
"""


class Broken(Exception):
    """Something that has to hold does not."""


def _holds(condition: object, what: str) -> None:
    if not condition:
        raise Broken(what)


@dataclass(frozen=True, slots=True)
class Target:
    """A reader.

    Args:
        name: what it reads.
        seeds: texts that it takes.
        check: raises anything if it does not do with a text what it should, and tells whether the text was taken.
    """

    name: str
    seeds: tuple[str, ...]
    check: Callable[[str], bool]


class Selectors:
    """The reader of flow selectors, and nft, which has to take what it took.

    Args:
        library: of nft, in a network namespace of its own; None: nft is not asked.
    """

    def __init__(self, library: Library | None) -> None:
        self._library = library
        self._taken: dict[FlowSelector, None] = {}

    def check(self, text: str) -> bool:
        """Read a text.

        Args:
            text: anything.

        Raises:
            Broken: something is wrong.
        """
        try:
            found = parse(text)
        except InvalidArguments as error:
            _holds(text in error.text, "the error does not say which selector")
            _holds(error.hint, "the error gives no example")
            return False
        written = str(found)
        _holds(parse(written) == found, f"{written!r} is read as something else")
        _holds(str(parse(written)) == written and written == written.lower(), f"{written!r} is not canonical")
        _holds(2 <= written.count("-") <= 4, f"{written!r} has not three to five fields")
        self._taken[found] = None
        if len(self._taken) >= BATCH:
            self.ask()
        return True

    def ask(self) -> None:
        """Let nft load what was taken since the last time."""
        flows, self._taken = tuple(self._taken), {}
        if self._library is None or not flows:
            return
        settings = SessionSettings("fuzz", Origin.POLICY, "fuzz", selectors=flows)
        text = whole(ruleset([Choice(Session(settings, 1), {}, (), {})], (), Numbers()))
        _, error = self._library.run(text)
        _holds(not error, f"nft refuses one of {[str(flow) for flow in flows]}: {error[:500]}")


def _policy(path: str) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            found = policyfile.parse(text, path, NAMES)
        except ConfigError as error:
            _holds(error.text.startswith(path), f"the error does not name the file: {error.text!r}")
            _holds(error.hint, "the error does not say what was expected")
            if place := PLACE.match(error.text[len(path) :]):
                lines = text.splitlines() or [""]
                _holds(1 <= int(place[1]) <= len(lines) + 1, f"line {place[1]} of {len(lines)}")
            return False
        for settings in found.sessions:
            _holds(any((settings.selectors, settings.users, settings.groups, settings.cgroup)), "a session of nothing")
            (again,), _ = wishes.load(wishes.dump([wishes.Wished(settings, 0)]), NAMES)
            for field in ("selectors", "users", "groups", "cgroup", "allowed_bearers", "priority", "services"):
                value = getattr(settings, field)
                if value or field == "services":  # an empty one stands for the default there
                    _holds(getattr(again.settings, field) == value, f"{field} is stored as another one")
        return True

    return check


def _configuration(text: str) -> bool:
    try:
        config.parse(text, "mpathd.conf")
    except ConfigError as error:
        _holds(error.text.startswith("mpathd.conf"), f"the error does not name the file: {error.text!r}")
        return False
    return True


def targets(selectors: Selectors) -> tuple[Target, ...]:
    """Give everything that is fuzzed.

    Args:
        selectors: the reader of selectors.
    """
    examples = [path.read_text() for path in sorted((ROOT / "conf" / "policy.d").glob("*.example"))]
    conf = (ROOT / "conf" / "mpathd.conf").read_text()
    return (
        Target("selectors", SELECTORS, selectors.check),
        Target("policy files", (TOML, *examples), _policy("/etc/mpathd/policy.d/x.toml")),
        Target("ConnMan's policy files", (CONNMAN,), _policy("/etc/mpathd/policy.d/x.policy")),
        Target("mpathd.conf", (conf, re.sub(r"^#(?=\w+ = )", "", conf, flags=re.MULTILINE)), _configuration),
    )
