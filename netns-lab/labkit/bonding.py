"""The topology for bonding: a client whose uplinks have a rate, a router, and a server behind it."""

from __future__ import annotations

from .errors import TopologyError
from .topology import SERVER4, SERVER6, End, Host, Link, Topology

LINKS_MAX = 9  # the kernel takes eight MPTCP endpoints: nine links show what happens to the ninth
RATE = "25mbit"


def bond(count: int, rate: str = RATE, tunnels: int = 0) -> Topology:
    """A client with `count` uplinks of one rate, both ways, to a router; the way from there to the server has none.

    Args:
        count: number of uplinks; up1 is preferred in main, then up2, and so on.
        rate: of each uplink in each direction, as tc writes it.
        tunnels: how many of them, the last ones, are point-to-point, carried by a program as a VPN's are.
    """
    if not 1 <= count <= LINKS_MAX:
        raise TopologyError("bond-N needs N within limits", str(count), f"give 1 to {LINKS_MAX}")
    links: list[Link] = []
    routes: list[str] = []
    for number in range(1, count + 1):
        net4, net6 = f"10.81.{number}", f"fd00:81:{number}:"
        if number > count - tunnels:
            near = (f"{net4}.2 peer {net4}.1/32", f"{net6}:2 peer {net6}:1/128")
            far = (f"{net4}.1 peer {net4}.2/32", f"{net6}:1 peer {net6}:2/128")
            ends = End("client", f"up{number}", "", near, rate=rate), End("router", f"isp{number}", "", far, rate=rate)
            links.append(Link(*ends, kind="tun"))
            routes += (f"{all_} dev up{number} metric {100 * number}" for all_ in ("0.0.0.0/0", "::/0"))
            continue
        near, far = (f"{net4}.2/24", f"{net6}:2/64"), (f"{net4}.1/24", f"{net6}:1/64")
        mac = f"02:b0:00:00:00:0{number}"
        ends = End("client", f"up{number}", mac, near, rate=rate), End("router", f"isp{number}", "", far, rate=rate)
        links.append(Link(*ends))
        routes += (
            f"default via {net4}.1 dev up{number} metric {100 * number}",
            f"default via {net6}:1 dev up{number} metric {100 * number}",
        )
    wan = End("server", "wan", addresses=("10.81.0.2/30", "fd00:81::2/64"))
    links.append(Link(End("router", "core", addresses=("10.81.0.1/30", "fd00:81::1/64")), wan))
    last = f", the last {tunnels} point-to-point (tun)" if tunnels else ""
    at_once = (
        ("net.ipv4.conf.all.rp_filter", "0"),
        ("net.ipv4.conf.default.rp_filter", "0"),
        ("net.ipv6.conf.default.accept_dad", "0"),
    )
    forward = (("net.ipv4.ip_forward", "1"), ("net.ipv6.conf.all.forwarding", "1"))
    return Topology(
        name=f"bond-{count}-{rate}",
        description=f"a client with {count} uplinks of {rate} each way{last}, a router and a server",
        drawing=f"""\
          up1 10.81.1.2 --- {rate} --- isp1 10.81.1.1
 client   up2 10.81.2.2 --- {rate} --- isp2 10.81.2.1   router   core --- wan   server   lo {SERVER4} {SERVER6}
          ...      up to up{count}{last}; IPv6 fd00:81:N::2 and ::1
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
