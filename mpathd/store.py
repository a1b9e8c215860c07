"""Settings on disk: written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from .model.errors import ConfigError, MpathError
from .model.policy import Stored
from .plan import stored as form


class Store:
    """The settings file in the state folder.

    Args:
        folder: made when the first setting is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "settings.json"

    def load(self, *, mend: bool = True) -> tuple[Stored, str]:
        """Give what is stored, and what was wrong with it (empty if nothing).

        Args:
            mend: put a file that cannot be read as settings aside, as `settings.json.bad`, so that it is not lost.
        """
        try:
            text = self._path.read_text(errors="replace")
        except FileNotFoundError:
            return Stored(), ""
        except OSError as error:
            return Stored(), f"{self._path}: {error.strerror}"
        try:
            return form.load(text), ""
        except ConfigError as error:
            return Stored(), f"{self._path}: {error.text}; {self._aside() if mend else ''}defaults are in force"

    def _aside(self) -> str:
        aside = self._path.with_suffix(".json.bad")
        try:
            self._path.replace(aside)
        except OSError:
            return ""
        return f"it was put aside as {aside.name}, and "

    def save(self, stored: Stored) -> None:
        """Replace what is stored: a new file, synced, renamed over the old one, so that a crash leaves either.

        Args:
            stored: the settings.

        Raises:
            MpathError: the disk refuses; nothing has changed.
        """
        fresh = self._path.with_suffix(".json.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with fresh.open("w") as file:
                file.write(form.dump(stored))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise MpathError(
                f"cannot save settings in {self._path}: {error.strerror}", "nothing was changed; free or mend the disk"
            ) from error
