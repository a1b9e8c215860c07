"""Sessions of policy files that cannot be there together."""

from __future__ import annotations

from ..model.session import SessionSettings


def clash(first: SessionSettings, late: SessionSettings) -> str:
    """Say that a session waits, as another has its name, or a name that gives the same D-Bus path.

    Args:
        first: the one that is in force.
        late: the one that waits.
    """
    if first.name == late.name:
        return f"session '{late.name}' is in {first.owner} and in {late.owner}; the first is in force"
    return (
        f"session '{late.name}' of {late.owner} waits: '{first.name}' of {first.owner} has the D-Bus path "
        "that it would have"
    )
