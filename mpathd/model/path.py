"""Names that must do with letters, digits and _: in D-Bus paths, and of the kernel's counters."""

from __future__ import annotations

import re

UNFIT = re.compile("[^A-Za-z0-9_]")


def fit(name: str) -> str:
    """Make a name fit to stand in a path; two names may give one text (a.b and a_2eb).

    Args:
        name: what cannot stand there becomes _ and its code, as ConnMan does it.
    """
    return UNFIT.sub(lambda found: f"_{ord(found[0]):02x}", name)
