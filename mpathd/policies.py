"""Policy files on disk: three folders, same name overrides, and the last good version of a file that went bad."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic

from . import disk
from .accounts import NAMES
from .model.errors import ConfigError
from .model.path import fit
from .model.session import SessionSettings
from .model.view import Finding
from .model.words import Severity
from .plan.namesakes import clash
from .plan.policyfile import ENDINGS, LONGEST, PolicyFile, parse

FOLDERS = (Path("/usr/lib/mpathd/policy.d"), Path("/etc/mpathd/policy.d"), Path("/run/mpathd/policy.d"))
CONNMAN_FOLDER = Path("/var/lib/connman/session_policy_local")  # of its plugin; read where mpathd stands in for it
GRACE = 0.25  # seconds that a file which is gone stays in force; who watches reads again after that


class Policies:
    """The policy files.

    Args:
        folders: later ones override files of the same name in earlier ones.
        writing: gives the files that somebody is in the middle of writing.
    """

    def __init__(self, folders: Iterable[Path], writing: Callable[[], frozenset[Path]] = frozenset) -> None:
        self.folders = tuple(folders)
        self._writing = writing
        self._good: dict[Path, PolicyFile] = {}
        self._missed: dict[Path, float] = {}

    def load(self) -> tuple[tuple[SessionSettings, ...], tuple[Finding, ...]]:
        """Read all files: the sessions they ask for, and what is wrong with files.

        A file that is bad keeps its last good version in force; if it never was good, the one that it replaces stays.
        """
        listed, findings = _listed(self.folders)
        gone = self._lately_gone(listed)
        versions: dict[str, list[Path]] = {}  # of one name; the first one that can be read is in force
        for path in sorted(listed | gone, key=lambda path: (self.folders.index(path.parent), path.name)):
            versions.setdefault(path.name, []).insert(0, path)
        good: dict[Path, PolicyFile] = {}
        half = self._writing()
        for path in (path for paths in versions.values() for path in paths):
            if any(other in good for other in versions[path.name]):
                continue
            last = self._good.get(path)
            if last is not None and (path in half or path in gone):
                good[path] = last
                continue
            try:
                text, shown = disk.text(path, LONGEST), _shown(path)
                file = PolicyFile(shown, ()) if disk.null(path) else parse(text, shown, NAMES)
                good[path] = last if last is not None and path in self._writing() else file
            except (ConfigError, OSError, UnicodeDecodeError) as error:
                if not isinstance(error, FileNotFoundError):  # it went when the folder had been listed
                    findings.append(self._bad(path, error))
                if last is not None:
                    good[path] = last
        self._good = good
        sessions: dict[str, SessionSettings] = {}  # by what stands for the name in its D-Bus path
        for file in good.values():
            for note in file.notes:
                findings.append(Finding("policy-note", Severity.LOW, note, "nothing needs to be done"))
            for settings in file.sessions:
                if (other := sessions.setdefault(fit(settings.name), settings)) is not settings:
                    text = clash(other, settings)
                    findings.append(Finding("policy-name", Severity.HIGH, text, "give one of them another name"))
        return tuple(sessions.values()), tuple(findings)

    def _lately_gone(self, listed: set[Path]) -> set[Path]:
        """Files in force that are missing since a moment: many editors take the old one away before they write."""
        now = monotonic()
        self._missed = {path: self._missed.get(path, now) for path in self._good if path not in listed}
        return {path for path, since in self._missed.items() if now - since < GRACE}

    def _bad(self, path: Path, error: Exception) -> Finding:
        text = error.text if isinstance(error, ConfigError) else f"{_shown(path)}: {disk.reason(error)}"
        kept = "its last good version stays in force" if path in self._good else "nothing of it is in force"
        hint = error.hint if isinstance(error, ConfigError) else "mpathd must be able to read it as text"
        hint = hint.replace("\n  ", "; ")  # a finding is one line
        return Finding(
            "policy", Severity.HIGH, f"{text}; {kept}", f"{hint}; then: mpathctl policy check {_shown(path)}"
        )


def _listed(folders: Iterable[Path]) -> tuple[set[Path], list[Finding]]:
    """The files in folders, and what is wrong with a folder."""
    listed: set[Path] = set()
    findings: list[Finding] = []
    for folder in folders:
        try:
            paths = list(folder.iterdir())
        except FileNotFoundError:  # it is watched for, and may have gone this moment
            continue
        except OSError as error:
            text = f"{_shown(folder)}: {disk.reason(error)}; no policy file of it is in force"
            findings.append(Finding("policy", Severity.HIGH, text, "name a folder of policy files: --policy-dir DIR"))
            continue
        named = (path for path in paths if path.suffix in ENDINGS and not path.name.startswith("."))
        listed.update(path for path in named if _there(path))
    return listed, findings


def _there(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:  # also of a link that leads nowhere
        return False
    except OSError:  # reading it will tell what is wrong
        return True
    return True


def _shown(path: Path) -> str:
    """A path as text: what of its name is none is written as numbers, since D-Bus and terminals take no other."""
    return os.fsencode(path).decode(errors="backslashreplace")
