"""What is typed to raise a topology, as text."""

from __future__ import annotations

from labkit import Advert, Bridge, End, Host, Link, Topology, commands

SMALL = Topology(
    "small",
    "two hosts",
    "a -- b",
    (Host("a", routes=("default via 10.0.0.1",)), Host("b", ("192.0.2.9/32",))),
    (
        Link(End("a", "x", "02:00:00:00:00:01", ("10.0.0.2/24",), index=2), End("b", "y", rate="10mbit", mtu=1400)),
        Link(End("a", "t"), End("b", "t"), "tun"),
    ),
    (Bridge("b", "br", ("y",), ("10.0.0.1/24",)),),
    (Advert("b", "y", "fd00::/64", 9),),
)


def typed(*batches: commands.Batch) -> list[str]:
    """The lines as a person would type them."""
    return [" ".join([*batch.head, line]) for batch in batches for line in batch.lines]


def test_a_lab_as_commands() -> None:
    steps = (commands.make, commands.wire, commands.configure, commands.route)
    batches: list[commands.Batch] = []
    for step in steps:
        made = step(SMALL, "lab")
        batches += [made] if isinstance(made, commands.Batch) else made
    assert typed(*batches) == [
        "ip netns add lab-a",
        "ip netns add lab-b",
        "ip -n lab-a link add name x index 2 address 02:00:00:00:00:01 type veth peer name y index 3 netns lab-b",
        "ip -n lab-b link add name br index 4 type bridge",
        "ip -n lab-a link set lo up",
        "ip -n lab-a link set x up",
        "ip -n lab-a addr add 10.0.0.2/24 dev x",
        "ip -n lab-a link set t up",
        "ip -n lab-b addr add 192.0.2.9/32 dev lo",
        "ip -n lab-b link set lo up",
        "ip -n lab-b addr add 10.0.0.1/24 dev br",
        "ip -n lab-b link set br up",
        "ip -n lab-b link set y master br",
        "ip -n lab-b link set y mtu 1400 up",
        "ip -n lab-b link set t up",
        "tc -n lab-b qdisc add dev y root tbf rate 10mbit burst 64kb latency 50ms",
        "ip -n lab-a route add default via 10.0.0.1",
    ]


def test_the_keeper_gets_wires_and_advertisements() -> None:
    advert = ["--advert", "lab-b", "y", "fd00::/64", "9", "86400", "14400", "medium"]
    assert list(commands.keep(SMALL, "lab", 42)) == ["--until", "42", "--wire", "lab-a:t", "lab-b:t", *advert]


def test_no_two_interfaces_of_a_lab_have_one_index() -> None:
    words = [line.split() for line in typed(*commands.wire(SMALL, "lab"))]
    indexes = [line[place + 1] for line in words for place, word in enumerate(line) if word == "index"]
    assert len(set(indexes)) == len(indexes) == 3
