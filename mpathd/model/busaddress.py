"""D-Bus addresses, as the D-Bus specification writes them."""

from __future__ import annotations

from urllib.parse import unquote

from .errors import ConfigError

# The D-Bus specification's own choice (well-known message bus instances); /var/run is a link to /run.
SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"


def places(address: str) -> list[str]:
    """Give the socket names in a bus address, in order; an abstract one begins with a zero character.

    Args:
        address: as in the D-Bus specification, alternatives separated by semicolons.

    Raises:
        ConfigError: nothing in it is a Unix socket.
    """
    found = []
    for entry in filter(None, address.split(";")):
        transport, _, rest = entry.partition(":")
        options = {key: unquote(value) for key, _, value in (pair.partition("=") for pair in rest.split(","))}
        if transport == "unix" and "path" in options:
            found.append(options["path"])
        elif transport == "unix" and "abstract" in options:
            found.append("\0" + options["abstract"])
    if not found:
        msg = f"bus address {address!r} names no Unix socket"
        raise ConfigError(msg, f"write it as {SYSTEM_BUS}")
    return found
