"""What `lab` remembers between two calls: which labs are up, in a folder of this user alone."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import LabError
from .rootless import Holder


@dataclass(frozen=True, slots=True)
class State:
    """A lab that is up.

    Args:
        name: its name.
        topology: what was given to `lab up`.
        holder: process that keeps the user namespace; None: it was raised by root.
    """

    name: str
    topology: str
    holder: Holder | None = None

    def save(self) -> None:
        """Writes it down, whole or not at all."""
        path = _folder() / f"{self.name}.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self)) + "\n")
        fresh.replace(path)

    def forget(self) -> None:
        """Removes it, and the folder with the last one."""
        folder = _folder()
        (folder / f"{self.name}.json").unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()


def find(name: str) -> State | None:
    """The state of a lab; None when it is not up."""
    path = _folder(make=False) / f"{name}.json"
    if not path.exists():
        return None
    try:
        value = json.loads(path.read_text())
        holder = Holder(**value["holder"]) if value["holder"] else None
        return State(value["name"], value["topology"], holder)
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"{path} cannot be read", str(error), "remove it") from error


def every() -> tuple[State, ...]:
    """The labs that were raised and not taken down."""
    found = (find(path.stem) for path in sorted(_folder(make=False).glob("*.json")))
    return tuple(known for known in found if known)


def _folder(*, make: bool = True) -> Path:
    base, uid = os.environ.get("XDG_RUNTIME_DIR", ""), os.geteuid()
    mine = base and Path(base).is_dir() and Path(base).stat().st_uid == uid and os.access(base, os.W_OK)
    folder = Path(base, "mpathd-lab") if mine else Path(f"/tmp/mpathd-lab-{uid}")
    if make:
        folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.exists():
        facts = folder.lstat()
        if facts.st_uid != uid or facts.st_mode & 0o077 or not folder.is_dir() or folder.is_symlink():
            raise LabError(f"{folder} is not this user's alone", f"mode {facts.st_mode & 0o7777:o}", "remove it")
    return folder
