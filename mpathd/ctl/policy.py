"""policy check: what mpathd would make of policy files, said by mpathd's own reader; no daemon is asked."""

from __future__ import annotations

import grp
import pwd
import re
import sys
from pathlib import Path
from typing import Any

from mpathd import disk
from mpathd.accounts import NAMES
from mpathd.model.errors import ConfigError
from mpathd.model.path import fit
from mpathd.model.session import SessionSettings
from mpathd.plan.namesakes import clash
from mpathd.plan.policyfile import ENDINGS, LONGEST, PolicyFile, parse

from . import sessionwords
from .errors import DONE, FAILED
from .parse import Order
from .show import json_text, say
from .words import clean

PLACE = re.compile(r":(\d+):(\d+): ")


def check(order: Order) -> int:
    """Read policy files as mpathd does, and say what they ask for, or what is wrong.

    Args:
        order: what was typed.
    """
    # As in mpathd's folders, a later file overrides an earlier one of the same name: their sessions do not clash.
    names: dict[str, SessionSettings] = {}
    records, failed = [], False
    for path in order.words:
        found, trouble = _read(path)
        if found is not None:
            trouble = _clash(found, names)
        failed = failed or trouble is not None
        if order.has("json"):
            records.append(_record(path, found, trouble))
            continue
        if found is not None:
            say(sessionwords.policy(found, _notes(path, found), {"users": _user, "groups": _group}))
        if trouble is not None:
            sys.stdout.flush()  # what is good and what is bad comes in the order of the files
            print("\n".join(map(clean, str(trouble).splitlines())), file=sys.stderr)
    if records:
        say(json_text(records))
    return FAILED if failed else DONE


def _user(number: int) -> str:
    try:
        return f"{pwd.getpwuid(number).pw_name}({number})"
    except (KeyError, OverflowError):
        return str(number)


def _group(number: int) -> str:
    try:
        return f"{grp.getgrgid(number).gr_name}({number})"
    except (KeyError, OverflowError):
        return str(number)


def _read(path: str) -> tuple[PolicyFile | None, ConfigError | None]:
    try:
        return parse(disk.text(Path(path), LONGEST), path, NAMES), None
    except ConfigError as error:
        return None, error
    except (OSError, UnicodeDecodeError) as error:
        return None, ConfigError(f"{path}: {disk.reason(error)}", "mpathd must be able to read it as text")


def _clash(found: PolicyFile, names: dict[str, SessionSettings]) -> ConfigError | None:
    """Enter a file's sessions; a name that another file has, or one with the path of another, is a trouble."""
    own = Path(found.path).name
    for settings in found.sessions:
        other = names.setdefault(fit(settings.name), settings)
        twins = other.owner == found.path and other.name != settings.name
        if twins or Path(other.owner).name != own:
            return ConfigError(clash(other, settings), "give one of them another name")
    return None


def _notes(path: str, found: PolicyFile) -> tuple[str, ...]:
    name = Path(path).name
    if name.startswith(".") or not name.endswith(ENDINGS):
        return (*found.notes, f"{path}: mpathd reads only files that end in {' or '.join(ENDINGS)}")
    return found.notes


def _record(path: str, found: PolicyFile | None, trouble: ConfigError | None) -> dict[str, Any]:
    sessions = [sessionwords.asked(settings) for settings in found.sessions] if found else []
    notes = list(_notes(path, found)) if found else []
    record: dict[str, Any] = {"File": path, "Good": trouble is None, "Sessions": sessions, "Notes": notes}
    if trouble is not None:
        place = PLACE.match(trouble.text.removeprefix(path))
        line, column = map(int, place.groups()) if place else (0, 0)
        record["Problem"] = {"Text": trouble.text, "Expected": trouble.hint, "Line": line, "Column": column}
    return record
