"""Network labs in namespaces: topologies as data, packets observed at the far side."""

from __future__ import annotations

from .echo import Echo, Heard
from .errors import LabError, TopologyError, WatchError
from .lab import Lab
from .netns import in_ns
from .packet import Packet
from .topology import SERVER4, SERVER6, Advert, Bridge, End, Host, Link, Topology, load, names, uplinks
from .traffic import Outcome, ping, send_udp, tcp_connect
from .wire import Watch

__all__ = [
    "SERVER4",
    "SERVER6",
    "Advert",
    "Bridge",
    "Echo",
    "End",
    "Heard",
    "Host",
    "Lab",
    "LabError",
    "Link",
    "Outcome",
    "Packet",
    "Topology",
    "TopologyError",
    "Watch",
    "WatchError",
    "in_ns",
    "load",
    "names",
    "ping",
    "send_udp",
    "tcp_connect",
    "uplinks",
]
