"""D-Bus addresses, as the D-Bus specification writes them."""

from __future__ import annotations

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
    for entry in address.split(";"):
        transport, _, rest = entry.partition(":")
        options = dict(pair.partition("=")[::2] for pair in rest.split(","))
        for key, start in (("path", ""), ("abstract", "\0")):
            if transport == "unix" and options.get(key):
                found.append(start + _unescaped(options[key]))
    if not found:
        raise ConfigError(f"bus address '{address}' names no Unix socket", f"write it as {SYSTEM_BUS}")
    return found


def _unescaped(text: str) -> str:
    """Undo what the specification escapes: %2f."""
    if "%" not in text:
        return text
    from urllib.parse import unquote_to_bytes  # mpathctl is to start fast

    return unquote_to_bytes(text).decode(errors="surrogateescape")
