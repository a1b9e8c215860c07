"""The Python that has mpathd's packages: the clone's own environment, set up when it is missing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from .errors import LabError

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("dbus_next", "structlog", "netaddr", "pyroute2")


def python() -> str:
    """Give the interpreter that can run mpathd.

    Raises:
        LabError: there is none, and it could not be set up.
    """
    if all(importlib.util.find_spec(name) for name in PACKAGES):
        return sys.executable
    own = ROOT / ".venv/bin/python"
    if not own.exists():
        setup = f'. "{ROOT}/netns-lab/setup.sh" && mpathd_setup run'
        if subprocess.run(["bash", "-c", setup], check=False).returncode:
            raise LabError("mpathd's packages are missing", ", ".join(PACKAGES), "run netns-lab/demo once")
    return str(own)
