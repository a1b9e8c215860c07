"""The topology for bonding: a client whose uplinks have a rate, a router, and a server behind it."""

from __future__ import annotations

from .errors import TopologyError
from .topology import SERVER4, SERVER6, End, Host, Link, Topology

LINKS_MAX = 9  # the kernel takes eight MPTCP endpoints: nine links show what happens to the ninth
RATE = "25mbit"


def bond(count: int, rate: str = RATE) -> Topology:
    """A client with `count` uplinks of one rate, both ways, to a router; the way from there to the server has none.

    Args:
        count: number of uplinks; up1 is preferred in main, then up2, and so on.
        rate: of each uplink in each direction, as tc writes it.
    """
    if not 1 <= count <= LINKS_MAX:
        raise TopologyError("bond-N needs N within limits", str(count), f"give 1 to {LINKS_MAX}")
    links: list[Link] = []
    routes: list[str] = []
    for number in range(1, count + 1):
        net4, net6 = f"10.81.{number}", f"fd00:81:{number}:"
        near = (f"{net4}.2/24", f"{net6}:2/64")
        links.append(
            Link(
                End("client", f"up{number}", f"02:b0:00:00:00:0{number}", near, rate=rate),
                End("router", f"isp{number}", addresses=(f"{net4}.1/24", f"{net6}:1/64"), rate=rate),
            ),
        )
        routes += (
            f"default via {net4}.1 dev up{number} metric {100 * number}",
            f"default via {net6}:1 dev up{number} metric {100 * number}",
        )
    far = End("server", "wan", addresses=("10.81.0.2/30", "fd00:81::2/64"))
    links.append(Link(End("router", "core", addresses=("10.81.0.1/30", "fd00:81::1/64")), far))
    at_once = (
        ("net.ipv4.conf.all.rp_filter", "0"),
        ("net.ipv4.conf.default.rp_filter", "0"),
        ("net.ipv6.conf.default.accept_dad", "0"),
    )
    forward = (("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1"))
    return Topology(
        name=f"bond-{count}-{rate}",
        description=f"a client with {count} uplinks of {rate} each way, a router and a server",
        drawing=f"""\
          up1 10.81.1.2 --- {rate} --- isp1 10.81.1.1
 client   up2 10.81.2.2 --- {rate} --- isp2 10.81.2.1   router   core --- wan   server   lo {SERVER4} {SERVER6}
          ...      up to up{count}; IPv6 fd00:81:N::2 and ::1
 client's main table: default by up1 metric 100, up2 200, and so on
""",
        hosts=(
            Host("client", routes=tuple(routes), sysctls=at_once),
            Host("router", routes=(f"{SERVER4}/32 via 10.81.0.2", f"{SERVER6}/128 via fd00:81::2"),
                 sysctls=at_once + forward),
            Host("server", (f"{SERVER4}/32", f"{SERVER6}/128"), ("0.0.0.0/0 via 10.81.0.1", "::/0 via fd00:81::1"),
                 at_once),
        ),
        links=tuple(links),
    )  # fmt: skip
