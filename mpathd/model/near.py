"""What somebody may have meant by a word that is not known. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def guess(word: str, known: Iterable[str], program: str = "") -> str:
    """Give the beginning of a hint, "did you mean 'watch'? "; empty if nothing is near.

    Args:
        word: as typed.
        known: what would do; options with their dashes.
        program: what stands before it on the command line.
    """
    from difflib import get_close_matches  # only in errors: mpathctl is to start fast

    # An option without its dashes is the option: `mptcp watch`.
    bare = {name.lstrip("-").lower(): name for name in known}
    found = get_close_matches(word.lstrip("-").lower(), bare, n=1)
    return f"did you mean '{' '.join((program, bare[found[0]])).strip()}'? " if found else ""
