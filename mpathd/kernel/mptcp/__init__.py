"""MPTCP: endpoints and limits, read whole and written as differences; events; connections, subflows; counters."""

from .counters import counters
from .diag import Diag
from .events import Events
from .hand import PathManager
from .links import LinkFlags
from .owners import owners
from .support import Backend, Support, probe

__all__ = ["Backend", "Diag", "Events", "LinkFlags", "PathManager", "Support", "counters", "owners", "probe"]
