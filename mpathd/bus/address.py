"""Where the bus is."""

from __future__ import annotations

import os

from mpathd.model.busaddress import SYSTEM_BUS


def bus_address(given: str) -> str:
    """Choose the bus: as given, else as the environment says, else the system bus.

    Args:
        given: an address from the configuration; may be empty.
    """
    return given or os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_BUS
