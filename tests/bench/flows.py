"""Flow selectors by the thousand, always the same ones, and the rules that ConnMan makes of them."""

from __future__ import annotations

import ipaddress
import json
import random
from collections.abc import Callable

from labkit import SERVER4

SOURCE, TARGET = "10.64.1.2", SERVER4  # of `labkit.uplinks`: the client's first address, and the far host's
SPORT, DPORT, OTHER = 45_001, 40_001, 40_003  # the flow that is a session's; and to that port, one that is not
NET, SIZE = 0xC6120000, 1 << 17  # 198.18.0.0/15, which is for benchmarks (RFC 2544)


def exact(count: int, seed: int = 1) -> list[str]:
    """Five-tuples in which every field is one value; the last is the bench's own flow.

    Args:
        count: how many.
        seed: of their order.
    """
    chance = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < count - 1:
        target = ipaddress.ip_address(NET + chance.randrange(SIZE))
        ports = f"{chance.randrange(1024, 30_000)}-{chance.randrange(1, 40_000)}"
        made[f"{SOURCE}-{target}-{chance.choice(('tcp', 'udp'))}-{ports}"] = None
    return [*made, f"{SOURCE}-{TARGET}-udp-{SPORT}-{DPORT}"]


def spread(count: int, seed: int = 1) -> list[str]:
    """Prefixes of targets and ranges of ports, which may overlap; the last holds the bench's own flow.

    Args:
        count: how many.
        seed: of their order.
    """
    chance = random.Random(seed)
    made: dict[str, None] = {}
    while len(made) < count - 1:
        target = ipaddress.ip_network((NET + chance.randrange(SIZE), chance.choice((24, 26, 28, 30))), strict=False)
        low = chance.randrange(1, 39_000)
        made[f"*-{target}-{chance.choice(('tcp', 'udp'))}-*-{low}:{low + chance.randrange(1, 500)}"] = None
    own = ipaddress.ip_network((TARGET, 30), strict=False)
    return [*made, f"*-{own}-udp-*-{DPORT}:{DPORT + 1}"]


def mixed(count: int, seed: int = 1) -> list[str]:
    """Selectors in which fields are open, exact or spread by chance; the last is the bench's own flow.

    Args:
        count: how many.
        seed: of their order.
    """
    chance = random.Random(seed)

    def prefix() -> str:
        bits = chance.choice((0, 24, 28, 32, 32))
        return "*" if not bits else str(ipaddress.ip_network((NET + chance.randrange(SIZE), bits), strict=False))

    def ports() -> str:
        low = chance.randrange(1, 39_000)
        return chance.choice(("*", str(low), f"{low}:{low + chance.randrange(1, 500)}"))

    made: dict[str, None] = {}
    while len(made) < count - 1:
        made[f"{prefix()}-{prefix()}-{chance.choice(('tcp', 'udp'))}-{ports()}-{ports()}"] = None
        made.pop("*-*-udp-*-*", None)  # it would hold everything that the bench sends
    return [*made, f"{SOURCE}-{TARGET}-udp-{SPORT}-{DPORT}"]


KINDS: dict[str, Callable[[int], list[str]]] = {"exact": exact, "prefixes and ranges": spread, "mixed": mixed}


def policy(selectors: list[str], name: str = "many") -> str:
    """A policy file with one session.

    Args:
        selectors: its traffic.
        name: of the session.
    """
    return f"[session.{name}]\nflow_selectors = {json.dumps(selectors)}\n"


def rules(selectors: list[str], mark: int = 0x100) -> str:
    """The same for iptables-restore: one rule each in table mangle, as ConnMan with the multipath patches writes them.

    Args:
        selectors: what is marked.
        mark: with this.
    """
    words = ("--source", "--destination", "--protocol", "--sport", "--dport")
    lines = ["*mangle", ":connman-OUTPUT - [0:0]", "-A OUTPUT -j connman-OUTPUT"]
    for selector in selectors:
        said = ["-A connman-OUTPUT"]
        for word, field in zip(words, selector.split("-"), strict=False):
            if field != "*":
                said.append(f"{word} {field}" + (f" -m {field}" if word == "--protocol" else ""))
        lines.append(" ".join([*said, f"-j MARK --set-mark {mark:#x}"]))
    return "\n".join([*lines, "COMMIT", ""])
