"""The packet engine: which packets are marked, refused, translated and dropped, as a ruleset of nft.

Rule 1: what is never a session's traffic is decided in one chain, `never`. Rule 2: a session's packet is judged twice,
by its selectors when it is made, and by the guard when it leaves; only the guard knows the link that it leaves by
(output's oifname is the one from before the packet was routed again).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ..model.numbers import Numbers
from ..model.packet import COUNTS, DYNAMIC, Chain, Ruleset, Share, Table
from ..model.words import Family
from .forward import LinkMark
from .membership import Member
from .naming import unsayable
from .packetparts import BITS, WORDS, Ground, Part, link_part, quoted, refused, session_part
from .recall import Recall
from .sessions import Choice
from .shapes import lookups

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

# When a session turns to another link its connections are forgotten. What a closed socket says again has no user any
# more, and is known by this alone. An answer that is still on its way would look as a connection from outside, whose
# "answers" are nobody's session. Shorter than conntrack's own memory of an
# unanswered datagram (30 s), so that what it has forgotten by itself is not meant. The kernel makes room for all of
# `size` at once: nft's own 65,535 are a MiB for each family, which takes 0.2 ms to clear.
LATE = f"{DYNAMIC},timeout; timeout 20s; size 16384"
LIVES = "meta skuid != 4294967295 accept"  # there is a socket, whoever's: the kernel has no such user
STALE = "ct state established ct status & snat == 0 meta l4proto tcp"
OPENED = "ct direction original meta l4proto { tcp, udp }"
TALK = " . meta l4proto . th dport . th sport"

# What sessions bring, by their marks.
SHARED = {
    "sessions": ("set", "type mark"),
    "kept": ("map", "type mark : verdict"),
    "carried": ("map", "type mark : verdict"),
    "dropped": ("map", "type mark : counter"),
    # Elements count by themselves: a counter object for each link of each session takes nft twice as long.
    "sent": ("set", "type mark . ifname" + COUNTS),
    "received": ("set", "type mark . ifname" + COUNTS),
    **{
        f"{name}{bits}": (kind, text.format(f"ipv{bits}_addr"))
        for bits in (4, 6)
        for name, kind, text in (
            ("own", "set", "type mark . {}"),  # a session's addresses
            ("ok", "set", "type mark . ifname . {}"),  # each with its link
            ("nat", "map", "type mark . ifname : {}"),  # what a link's packets get for a source
            ("lost", "set", "type mark"),  # no service in this family
            ("main", "set", "type mark"),  # none, and then as without a session
            ("late", "set", "type {} . inet_proto . inet_service . inet_service; " + LATE),
        )
    },
}
FORWARDED = {"carried", "lost4", "lost6"}  # a router's
NO_RULESET = Ruleset()


def _arrivals(ground: Ground, forwarded: Iterable[str]) -> Iterator[str]:
    """What comes in: late answers, connections of links, what is known, and then what is to be forwarded."""
    for family in Family:
        late = f"{WORDS[family]} saddr . meta l4proto . th sport . th dport @late{BITS[family]}"
        yield f"iifname @uplinks ct state new {late} drop"
    if ground.ways:
        yield "ct state new iifname vmap @links"
    known = f"ct mark & {ground.mask}"
    yield f"{known} @sessions iifname @uplinks {known} . iifname @received"
    yield from forwarded


def _chains(ground: Ground, finds: tuple[str, ...]) -> dict[str, Chain]:
    """The chains that all share.

    Args:
        ground: what they stand on.
        finds: rules that find a session by its selectors.
    """
    mine, known = f"meta mark & {ground.mask}", f"ct mark & {ground.mask}"
    count = f"counter name {mine} map @dropped"
    source = {f: f"{mine} . oifname . {WORDS[f]} saddr @ok{BITS[f]}" for f in Family}
    foreign = {f: f"{mine} . {WORDS[f]} saddr != @own{BITS[f]}" for f in Family}
    as_without = tuple(f"meta nfproto ipv{BITS[f]} {mine} @main{BITS[f]} accept" for f in Family)
    out = {
        "never": Chain(NEVER[:-1]),
        # What has the mark before nft sees it: the socket knew its way, so a wrong source was asked for.
        "bound": Chain(
            (
                *as_without,
                *(f"{leaving} {foreign[f]} goto refused" for leaving in ground.leaving for f in Family),
                NEVER[-1],
                f"{mine} vmap @kept",
            )
        ),
        # A joining MPTCP subflow is bound to its address for sure, and hears only a reset. So does a connection that
        # was there before its session, by another link: it is too late to translate it.
        "marked": Chain(
            (
                *(f"tcp option mptcp subtype 1 {foreign[f]} goto refused" for f in Family),
                *(f"{leaving} {STALE} {foreign[f]} goto refused" for leaving in ground.leaving for f in Family),
                "accept",
            )
        ),
        # What may not be translated hears at once that it cannot leave, and not only nothing.
        "untranslated": Chain(
            (*(f"{leaving} {foreign[f]} goto refused" for leaving in ground.leaving for f in Family), "goto marked")
        ),
        "refused": Chain(refused(count)),
        "output": Chain(
            (
                "jump never",
                f"{mine} @sessions goto bound",
                NEVER[-1],
                f"{known} vmap @kept",
                *finds,
                LIVES,
                *(f"oifname @uplinks {WORDS[f]} daddr{TALK} @late{BITS[f]} drop" for f in Family),
            ),
            "type route hook output priority mangle; policy accept;",
        ),
        # Packets that leave by a link with a source that is not its own get one (law 3).
        "nat": Chain(
            (
                *(f"{source[f]} accept" for f in Family),
                *(f"snat {WORDS[f]} to {mine} . oifname map @nat{BITS[f]}" for f in Family),
            ),
            "type nat hook postrouting priority srcnat; policy accept;",
        ),
        "guard": Chain(
            (
                f"{mine} != @sessions accept",
                "jump never",
                f"{f'oif != {ground.named_by_index} ' if ground.nameless else ''}oifname != @uplinks accept",
                *as_without,
                *(f"{OPENED} update @late{BITS[f]} {{ {WORDS[f]} daddr{TALK} }}" for f in Family),
                *(f"{source[f]} {mine} . oifname @sent accept" for f in Family),
                f"{count} drop",
            ),
            "type filter hook postrouting priority 150; policy accept;",
        ),
    }
    forwarded: tuple[str, ...] = ()
    if ground.forwarding:
        forwarded = (
            "iifname lo accept",
            "iifname @uplinks accept",
            *((f"iif {ground.named_by_index} accept",) if ground.nameless else ()),
            f"{known} vmap @carried",
            "jump never",
            NEVER[-1],
            *(rule for rule in finds if "meta sk" not in rule),  # what is not our own has no socket here
        )
        # Behind `arrive`, whose verdicts end the chain. Of an unreachable network UDP hears nothing. nft 1.0.6 takes no
        # named set of names for what fib finds.
        lost = (f"meta nfproto ipv{BITS[f]} {mine} @lost{BITS[f]}" for f in Family)
        ways = f"fib daddr oifname {{ {', '.join(ground.uplinks)} }}"
        refuse = tuple(f"{which} {ways} goto refused" for which in lost if ground.uplinks)
        out["refuse"] = Chain(refuse, "type filter hook prerouting priority -149; policy accept;")
    out["arrive"] = Chain(
        tuple(_arrivals(ground, forwarded)), "type filter hook prerouting priority mangle; policy accept;"
    )
    return out


def ruleset(
    choices: Iterable[Choice],
    found: Iterable[Member],
    numbers: Numbers,
    links: tuple[LinkMark, ...] = (),
    *,
    forwarding: bool = False,
    recall: Recall | None = None,
) -> Ruleset:
    """Give the whole table; nothing at all while no session marks, and no link does.

    Args:
        choices: sessions with their services.
        found: all services: the links that count as uplinks.
        numbers: marks.
        links: those whose connections are answered by them.
        forwarding: this machine is a router.
        recall: what the last pass worked out.
    """
    marking = [choice for choice in choices if choice.marks]
    if not marking and not links:
        return NO_RULESET
    known = recall or Recall()
    looks, everything = lookups(choice.session for choice in marking)
    uplinks = [member.link for member in found if member.way_out]
    ground = Ground(
        numbers,
        forwarding,
        tuple(sorted(quoted(link.name) for link in uplinks if not unsayable(link.name))),
        tuple(str(link.index) for link in uplinks if unsayable(link.name)),
        tuple((quoted(link.member.link.name), f"goto l_{link.member.link.index}") for link in links),
    )
    alone = Ground(numbers, forwarding, nameless=ground.nameless)
    parts = tuple(known.of(c.session.number, session_part, c, alone) for c in marking)
    parts += tuple(known.of(link.member.id, link_part, link, numbers) for link in links)
    finds = (*(f"{look.expression} vmap @{look.name}" for look in looks), *(f"goto s_{n}" for n in everything[:1]))
    chains = known.of("chains", _chains, ground, finds)
    tables = {look.name: look.table for look in looks}
    tables["uplinks"] = known.of("uplinks", _names, ground.uplinks)
    for name in SHARED:
        if name in FORWARDED and not forwarding:
            continue
        brought = (part.elements[name] for part in parts if name in part.elements)
        tables[name] = known.of(name, _merged, name, tuple(filter(None, brought)))
    if links:
        tables["links"] = Table("map", "type ifname : verdict", dict(ground.ways))
    return known.of("ruleset", _together, chains, tables, parts)


def _names(names: tuple[str, ...]) -> Table:
    return Table("set", "type ifname", dict.fromkeys(names, ""))


def _merged(name: str, shares: tuple[Share, ...]) -> Table:
    return Table.of(*SHARED[name], shares)


def _together(chains: Mapping[str, Chain], tables: Mapping[str, Table], parts: tuple[Part, ...]) -> Ruleset:
    every = {name: chain for part in parts for name, chain in part.chains.items()} | dict(chains)
    counters: frozenset[str] = frozenset()
    return Ruleset(tables, every, counters.union(*(part.counters for part in parts)))
