"""What drivers say about hardware: the device type in sysfs, which rtnetlink does not tell."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/class/net")


def devtype(name: str) -> str:
    """Give a device's DEVTYPE ("wlan", "wwan", "bluetooth", "gadget"), empty for plain Ethernet.

    Args:
        name: the interface's name.
    """
    try:
        text = (ROOT / name / "uevent").read_text()
    except OSError:
        return ""
    for line in text.splitlines():
        if line.startswith("DEVTYPE="):
            return line.removeprefix("DEVTYPE=")
    return ""
