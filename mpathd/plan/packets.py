"""The packet engine: which packets are marked, refused, translated and dropped, as a ruleset of nft.

Rule 1: what is never a session's traffic is decided in one chain, `never`. Rule 2: a session's packet is judged twice,
by its selectors when it is made, and by the guard when it leaves; only the guard knows the link that it leaves by
(output's oifname is the one from before the packet was routed again).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..model.numbers import Numbers
from ..model.packet import Chain, Ruleset, Table
from ..model.session import Nat
from ..model.statistics import counter
from ..model.words import Family
from .forward import LinkMark
from .membership import Member
from .sessions import Choice
from .shapes import Lookup, lookups

# What is never a session's traffic, also with `*-*-*` (mpathd-policy(5)); each line is a test.
NEVER = (
    'oif "lo" accept',
    "fib daddr type { local, broadcast, multicast } accept",
    "ip daddr { 169.254.0.0/16, 224.0.0.0/4, 255.255.255.255 } accept",
    "ip6 daddr { fe80::/10, ff00::/8 } accept",
    "icmpv6 type { 130-137, 143 } accept",  # neighbours, routers, redirects, and multicast listeners
    "udp sport 68 udp dport 67 accept",
    "udp sport 546 udp dport 547 accept",
    "ct direction reply accept",  # answers to what came in, and errors about it
)
WORDS = {Family.INET: "ip", Family.INET6: "ip6"}
BITS = {Family.INET: 4, Family.INET6: 6}  # in names of sets

# When a session turns to another link its connections are forgotten. What a closed socket says again has no user any
# more, and is known by this alone. An answer that is still on its way would look as a connection from outside, whose
# "answers" are nobody's session. Shorter than conntrack's own memory of an
# unanswered datagram (30 s), so that what it has forgotten by itself is not meant.
LATE = "flags dynamic,timeout; timeout 20s; size 65535"
OPENED = "ct direction original meta l4proto { tcp, udp }"
TALK = " . meta l4proto . th dport . th sport"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', "") + '"'


def _braces(items: Iterable[str]) -> str:
    return "{ " + ", ".join(items) + " }"


def _foreign_bits(numbers: Numbers) -> int:
    """The bits of a mark that are others', and stay as they are."""
    return 0xFFFFFFFF & ~numbers.mark_mask


def _dropped(choice: Choice) -> str:
    """The statement that counts what a session may not send."""
    return f'counter name "{counter("d", choice.session.born)}"'


def _refused(which: str, choice: Choice) -> tuple[str, str]:
    """The rules that refuse packets so that their sockets hear it; a joining MPTCP subflow hears only a reset."""
    return (
        f"{which} meta l4proto tcp {_dropped(choice)} reject with tcp reset",
        f"{which} {_dropped(choice)} reject",
    )


def _session(choice: Choice, numbers: Numbers) -> Chain:
    """A session's chain: refuse what has no way before it is marked, so that connect() fails at once; then mark."""
    rules: list[str] = []
    for family in Family:
        own_family = f"meta nfproto ipv{BITS[family]}"
        if choice.falls_back(family):
            rules.append(f"{own_family} accept")
            continue
        if family not in choice.defaults:
            nfproto = f"{own_family} oifname @uplinks"
            rules += _refused(nfproto, choice)
            continue
        # A joining MPTCP subflow is bound to its address for sure, and hears only a reset.
        own = f"@own{BITS[family]}_{choice.session.number}"
        joins = f"tcp option mptcp subtype 1 {WORDS[family]} saddr != {own}"
        rules.append(f"{joins} {_dropped(choice)} reject with tcp reset")
    keep = _foreign_bits(numbers)
    mark = numbers.mark(choice.session.number)
    rules += [f"{what} set {what} & {keep:#x} | {mark:#x}" for what in ("meta mark", "ct mark")]
    return Chain((*rules, "accept"))


def _bound(choice: Choice, numbers: Numbers) -> Chain:
    """Packets that have the mark before nft sees them: the socket knew its way, so a wrong source was asked for."""
    rules: list[str] = []
    for family in Family:
        if choice.falls_back(family):
            continue
        which = f"oifname @uplinks {WORDS[family]} saddr != @own{BITS[family]}_{choice.session.number}"
        rules += _refused(which, choice)
    keep = _foreign_bits(numbers)
    rules.append(f"ct direction original ct mark set ct mark & {keep:#x} | {numbers.mark(choice.session.number):#x}")
    return Chain((*rules, "accept"))


def _translation(number: int) -> Chain:
    """Packets that leave by a link with a source that is not its own get one (law 3)."""
    right = (f"oifname . {WORDS[f]} saddr @ok{BITS[f]}_{number} accept" for f in Family)
    return Chain((*right, *(f"snat {WORDS[f]} to oifname map @nat{BITS[f]}_{number}" for f in Family)))


def _sets(choice: Choice) -> Iterator[tuple[str, Table]]:
    """What a session's chains look up: when links come and go these change, and no chain does."""
    number = choice.session.number
    for family, kind in ((Family.INET, "ipv4_addr"), (Family.INET6, "ipv6_addr")):
        sources: dict[str, str] = {}
        own: dict[str, str] = {}
        best: dict[str, str] = {}
        for member in choice.serves(family):
            there, dev = member.addresses(family), _quoted(member.link.name)
            first = next((a for a in there if not a.tentative and not a.deprecated), there[0])
            best[dev] = first.address
            sources |= {f"{dev} . {a.address}": "" for a in there}
            own |= {a.address: "" for a in there}
        bits = BITS[family]
        yield f"ok{bits}_{number}", Table("set", f"type ifname . {kind}", sources)
        yield f"own{bits}_{number}", Table("set", f"type {kind}", own)
        if choice.session.settings.nat is Nat.AUTO:
            yield f"nat{bits}_{number}", Table("map", f"type ifname : {kind}", best)


def _guard(choice: Choice) -> Chain:
    number = choice.session.number
    sent = f"counter name oifname map @out_{number}"
    return Chain(
        (
            "oifname != @uplinks accept",
            *(f"{OPENED} update @late{BITS[f]} {{ {WORDS[f]} daddr{TALK} }}" for f in Family),
            f"oifname . ip saddr @ok4_{number} {sent} accept",
            f"oifname . ip6 saddr @ok6_{number} {sent} accept",
            f"{_dropped(choice)} drop",
        )
    )


def _forwarded(mark: str, keep: str, more: tuple[str, ...] = ()) -> Chain:
    """What comes from behind us on a connection that has a mark already."""
    return Chain((*more, "iifname @uplinks accept", f"meta mark set meta mark & {keep} | {mark}", "accept"))


def _refusal(choice: Choice, uplinks: Iterable[str]) -> Chain:
    """What is to be forwarded and has no way hears it at once: of an unreachable network UDP hears nothing."""
    rules: list[str] = []
    ways = _braces(uplinks)  # nft 1.0.6 takes no named set of names for what fib finds
    for family in Family:
        if family not in choice.defaults and not choice.falls_back(family):
            which = f"meta nfproto ipv{BITS[family]} fib daddr oifname {ways}"
            rules += _refused(which, choice)
    return Chain(tuple(rules))


def _arrivals(
    numbers: Numbers,
    links: tuple[LinkMark, ...],
    looks: Iterable[Lookup],
    everything: tuple[int, ...],
    *,
    forwarding: bool,
) -> Iterator[str]:
    """What comes in: late answers, connections of links, what is known, and then what is to be forwarded."""
    mask = f"{numbers.mark_mask:#x}"
    for family in Family:
        late = f"{WORDS[family]} saddr . meta l4proto . th sport . th dport @late{BITS[family]}"
        yield f"iifname @uplinks ct state new {late} drop"
    if links:
        yield "ct state new iifname vmap @links"
    yield f"ct mark & {mask} vmap @arrivals"
    if not forwarding:
        return
    yield from ("iifname lo accept", "iifname @uplinks accept", "jump never", NEVER[-1])
    yield from (f"{look.expression} vmap @{look.name}" for look in looks if "meta sk" not in look.expression)
    yield from (f"goto s_{number}" for number in everything[:1])


def _counted(choice: Choice, kind: str) -> Table:
    """A counter for each service that the session allows: they stay while links come and go."""
    born = choice.session.born
    elements = {_quoted(m.link.name): _quoted(counter(kind, born, m.id)) for m in choice.counted}
    return Table("map", "type ifname : counter", elements)


def ruleset(
    choices: Iterable[Choice],
    found: Iterable[Member],
    numbers: Numbers,
    links: tuple[LinkMark, ...] = (),
    *,
    forwarding: bool = False,
) -> Ruleset:
    """Give the whole table; nothing at all while no session marks, and no link does.

    Args:
        choices: sessions with their services.
        found: all services: the links that count as uplinks.
        numbers: marks.
        links: those whose connections are answered by them.
        forwarding: this machine is a router.
    """
    marking = [choice for choice in choices if choice.marks]
    if not marking and not links:
        return Ruleset()
    mask, keep = f"{numbers.mark_mask:#x}", f"{_foreign_bits(numbers):#x}"
    looks, everything = lookups(choice.session for choice in marking)
    tables = {look.name: look.table for look in looks}
    tables["uplinks"] = Table(
        "set", "type ifname", {_quoted(member.link.name): "" for member in found if member.way_out}
    )
    chains = {"never": Chain(NEVER[:-1])}
    bound, kept, nats, guards, arrivals, refusals = {}, {}, {}, {}, {}, {}
    for choice in marking:
        number = choice.session.number
        mark = f"{numbers.mark(number):#x}"
        chains[f"s_{number}"] = _session(choice, numbers)
        chains[f"b_{number}"] = _bound(choice, numbers)
        bound[mark] = f"goto b_{number}"
        chains[f"g_{number}"] = _guard(choice)
        chains[f"c_{number}"] = _forwarded(mark, keep, (f"iifname @uplinks counter name iifname map @in_{number}",))
        tables[f"out_{number}"], tables[f"in_{number}"] = _counted(choice, "o"), _counted(choice, "i")
        arrivals[mark] = f"goto c_{number}"
        if forwarding:
            chains[f"q_{number}"] = _refusal(choice, tables["uplinks"].elements)
            refusals[mark] = f"goto q_{number}"
        kept[mark], guards[mark] = f"goto s_{number}", f"goto g_{number}"
        if choice.session.settings.nat is Nat.AUTO:
            chains[f"n_{number}"] = _translation(number)
            nats[mark] = f"goto n_{number}"
        tables.update(_sets(choice))
    for link in links:
        mark, index = f"{link.mark:#x}", link.member.link.index
        chains[f"l_{index}"] = Chain((f"ct mark set ct mark & {keep} | {mark}", "accept"))
        chains[f"r_{index}"] = _forwarded(mark, keep)
        arrivals[mark] = f"goto r_{index}"
    ways = {_quoted(link.member.link.name): f"goto l_{link.member.link.index}" for link in links}
    tables["links"] = Table("map", "type ifname : verdict", ways)
    for bits, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        tables[f"late{bits}"] = Table("set", f"type {kind} . inet_proto . inet_service . inet_service; {LATE}")
    for name, elements in (
        ("bound", bound),
        ("kept", kept),
        ("nats", nats),
        ("guards", guards),
        ("arrivals", arrivals),
        ("refusals", refusals),
    ):
        tables[name] = Table("map", "type mark : verdict", elements)
    chains["output"] = Chain(
        (
            "jump never",
            f"meta mark & {mask} vmap @bound",
            NEVER[-1],
            f"ct mark & {mask} vmap @kept",
            *(f"{look.expression} vmap @{look.name}" for look in looks),
            *(f"goto s_{number}" for number in everything[:1]),
            *(f"oifname @uplinks {WORDS[f]} daddr{TALK} @late{BITS[f]} drop" for f in Family),
        ),
        "type route hook output priority mangle; policy accept;",
    )
    chains["nat"] = Chain(
        (f"meta mark & {mask} vmap @nats",), "type nat hook postrouting priority srcnat; policy accept;"
    )
    chains["guard"] = Chain(
        (f"meta mark & {mask} == 0 accept", "jump never", f"meta mark & {mask} vmap @guards"),
        "type filter hook postrouting priority 150; policy accept;",
    )
    chains["arrive"] = Chain(
        tuple(_arrivals(numbers, links, looks, everything, forwarding=forwarding)),
        "type filter hook prerouting priority mangle; policy accept;",
    )
    if forwarding:  # behind `arrive`, whose verdicts end the chain
        chains["refuse"] = Chain(
            (f"meta mark & {mask} vmap @refusals",), "type filter hook prerouting priority -149; policy accept;"
        )
    counters = {counter("d", choice.session.born) for choice in marking}
    counters |= {counter(kind, c.session.born, m.id) for c in marking for m in c.counted for kind in "io"}
    return Ruleset(tables, chains, frozenset(counters))
