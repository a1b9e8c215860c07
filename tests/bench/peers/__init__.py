"""Programs that do a comparable job: unpacked into .cache, never installed, each beside mpathd in a lab of its own."""

from __future__ import annotations

from .base import Peer
from .connman import Connman
from .floor import Floor
from .mptcpd import Mptcpd
from .networkd import Networkd
from .networkmanager import NetworkManager

PEERS: tuple[Peer, ...] = (Floor(), Networkd(), Connman(), NetworkManager(), Mptcpd())
