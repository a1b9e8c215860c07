"""net.connman.Technology: the kinds of links that are here; mpathd switches none of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from mpathd.bus.table import Interface, Method, Object, Property
from mpathd.model.view import View
from mpathd.model.words import Technology

from .properties import CHANGED, methods, unable

FOLDER = "/net/connman/technology"
NAME = "net.connman.Technology"

NO_SWITCH = ("mpathd does not switch links on and off", "see: ip link, rfkill")
NO_TETHERING = ("mpathd makes no access points and shares no uplinks", "see: systemd.network(5), IPMasquerade")


@dataclass(frozen=True, slots=True)
class TechnologyShown:
    """What a technology's properties are read from.

    Args:
        kind: which one.
        connected: a service of it is connected.
    """

    kind: Technology
    connected: bool


ROWS = (
    Property("Name", "s", lambda shown: shown.kind.title),
    Property("Type", "s", lambda shown: str(shown.kind)),
    Property("Powered", "b", lambda _shown: True, partial(unable, *NO_SWITCH)),
    Property("Connected", "b", lambda shown: shown.connected),
    Property("Tethering", "b", lambda _shown: False, partial(unable, *NO_TETHERING)),
    Property("TetheringIdentifier", "s", lambda _shown: None, partial(unable, *NO_TETHERING)),
    Property("TetheringPassphrase", "s", lambda _shown: None, partial(unable, *NO_TETHERING)),
    Property("TetheringFreq", "i", lambda _shown: None, partial(unable, *NO_TETHERING)),
)

TECHNOLOGY = Interface(
    NAME,
    methods=(
        *methods(ROWS),
        Method("Scan", partial(unable, "mpathd looks for no networks", "see: iw dev IF scan")),
    ),
    signals=(CHANGED,),
)


def technologies(view: View) -> Iterator[Object]:
    """Give the kinds of links that are here; a VPN is none in ConnMan's sense.

    Args:
        view: the picture.
    """
    for kind in Technology:
        states = [service.state for service in view.services if service.technology is kind]
        if states and kind is not Technology.VPN:
            shown = TechnologyShown(kind, any(state.connected for state in states))
            path = f"{FOLDER}/{kind}"
            yield Object(path, shown, (TECHNOLOGY,))
