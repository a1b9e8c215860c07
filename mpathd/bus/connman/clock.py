"""net.connman.Clock: the machine's time, to be read; mpathd sets none."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from mpathd.bus.table import Interface, Property

from .properties import CHANGED, methods, unable

LOCALTIME = Path("/etc/localtime")  # a link to the zone's file (localtime(5))
ZONES = "/zoneinfo/"

NO_CLOCK = ("mpathd does not set the clock", "see: timedatectl")


def timezone(_subject: Any = None) -> str:
    """Give the name of the machine's time zone.

    Args:
        _subject: nothing.
    """
    try:
        return str(LOCALTIME.resolve()).partition(ZONES)[2] or "UTC"
    except OSError:
        return "UTC"


ROWS = (
    Property("Time", "t", lambda _subject: int(time.time()), partial(unable, *NO_CLOCK)),
    Property("TimeUpdates", "s", lambda _subject: "manual", partial(unable, *NO_CLOCK)),
    Property("Timezone", "s", timezone, partial(unable, *NO_CLOCK)),
    Property("TimezoneUpdates", "s", lambda _subject: "manual", partial(unable, *NO_CLOCK)),
    Property("Timeservers", "as", lambda _subject: [], partial(unable, *NO_CLOCK)),
    Property("TimeserverSynced", "b", lambda _subject: False),
)

CLOCK = Interface("net.connman.Clock", methods=methods(ROWS), signals=(CHANGED,))
