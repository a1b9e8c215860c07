"""The small vocabularies: families, technologies, states, modes, severities, and addresses as text."""

from __future__ import annotations

from enum import IntEnum, StrEnum, auto
from typing import NewType

# Addresses and prefixes live in the model as the kernel's own canonical text ("10.0.1.2", "fd00::/64"):
# inet_ntop makes it in C, it hashes and compares at string speed, and it is what a person types.
# (ipaddress objects cost about 2 us to make and 1 us to hash; a look at 8 uplinks has hundreds.)
Address = NewType("Address", str)
Prefix = NewType("Prefix", str)


class Family(IntEnum):
    """Address family, by its kernel number."""

    INET = 2
    INET6 = 10

    @property
    def option(self) -> str:
        """The option of `ip` that selects the family."""
        return "-4" if self is Family.INET else "-6"

    @property
    def bits(self) -> int:
        """How long an address is, in bits."""
        return 32 if self is Family.INET else 128

    @property
    def any(self) -> Prefix:
        """The prefix that everything is in."""
        return Prefix("0.0.0.0/0") if self is Family.INET else Prefix("::/0")

    @property
    def label(self) -> str:
        """The family as people write it."""
        return "IPv4" if self is Family.INET else "IPv6"


def family_of(text: str) -> Family:
    """Tell the family of an address or prefix by its text.

    Args:
        text: a canonical address or prefix.
    """
    return Family.INET6 if ":" in text else Family.INET


def host(address: Address) -> Prefix:
    """Give the prefix that holds one address alone.

    Args:
        address: a canonical address.
    """
    return Prefix(f"{address}/{family_of(address).bits}")


class Technology(StrEnum):
    """What a link is made of, in ConnMan's words; also its bearer name. In order of preference."""

    ETHERNET = auto()
    WIFI = auto()
    CELLULAR = auto()
    BLUETOOTH = auto()
    GADGET = auto()
    VPN = auto()

    @property
    def title(self) -> str:  # type: ignore[override]
        """The name that a service of this technology shows."""
        return TITLES[self]


TITLES = {
    Technology.ETHERNET: "Wired",
    Technology.WIFI: "WiFi",
    Technology.CELLULAR: "Cellular",
    Technology.BLUETOOTH: "Bluetooth",
    Technology.GADGET: "Gadget",
    Technology.VPN: "VPN",
}


class ServiceState(StrEnum):
    """How far a service has come, in ConnMan's words."""

    IDLE = auto()
    FAILURE = auto()
    CONFIGURATION = auto()
    READY = auto()
    ONLINE = auto()

    @property
    def letter(self) -> str:
        """The letter that `mpathctl services` prints (mpathctl(1), output of services)."""
        return LETTERS[self]

    @property
    def connected(self) -> bool:
        """Whether traffic can leave by it."""
        return self in {ServiceState.READY, ServiceState.ONLINE}


LETTERS = {
    ServiceState.IDLE: " ",
    ServiceState.FAILURE: " ",
    ServiceState.CONFIGURATION: "c",
    ServiceState.READY: "R",
    ServiceState.ONLINE: "O",
}


class MptcpMode(StrEnum):
    """What MPTCP may do with a link."""

    ON = auto()
    BACKUP = auto()
    OFF = auto()


class Severity(StrEnum):
    """How much a finding matters."""

    HIGH = auto()
    MEDIUM = auto()
    LOW = auto()
