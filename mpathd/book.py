"""The book of sessions: policy files, stored ones, and those of D-Bus clients; and where each kind is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from . import disk
from .accounts import NAMES, primary
from .model.agent import SessionWish
from .model.errors import ConfigError, MpathError, NotFound, NotSupported
from .model.session import Origin, SessionSettings
from .model.view import Finding
from .model.words import Severity
from .plan.bounds import Bounds
from .plan.wishes import Limits, Wished, admitted, dump, load, settings_of, values
from .policies import Policies

CLIENTS = "clients"  # part of the file that lasts over a restart


class Book:
    """All sessions that are asked for.

    Args:
        policies: the policy files.
        state: folder of stored sessions, which outlive a boot.
        lasting: has clients' sessions, which outlive a restart of mpathd.

    Attributes:
        limits: those in force, for users without privileges.
    """

    def __init__(self, policies: Policies, state: Path, lasting: disk.Parts) -> None:
        self._policies = policies
        self._stored, self._runtime = state / "sessions.json", lasting
        self.limits = Limits()
        self._bounds = Bounds(primary)
        self._policy: tuple[SessionSettings, ...] = ()
        self._troubles: tuple[Finding, ...] = ()
        self._wished: dict[str, Wished] = {}
        self._lost: dict[str, Finding] = {}  # by the session's name, or the file's
        self._load(self._stored, self._stored.read_text)
        self._load(lasting.path, lambda: lasting.text(CLIENTS))

    def _load(self, path: Path, read: Callable[[], str | None]) -> None:
        try:
            if (text := read()) is None:
                return
            found, bad = load(text, NAMES)
        except FileNotFoundError:
            return
        except (ConfigError, OSError, ValueError) as error:
            why = disk.reason(error).replace("\n  ", "; ")
            self._warn(str(path), f"{path} cannot be used: {why}; its sessions are gone", "make them again")
            return
        self._wished.update({item.settings.name: item for item in found})
        for name, why in bad.items():
            text = f"{path}: session '{name}' cannot be used: {why}; it is gone, others go on"
            self._warn(name, text, "make it again")

    def _warn(self, key: str, text: str, todo: str) -> None:
        self._lost[key] = Finding("sessions", Severity.HIGH, text, f"{todo} with mpathctl session create")

    def load(self) -> tuple[tuple[SessionSettings, ...], tuple[Finding, ...]]:
        """Read policy files again and give all sessions that are asked for, and what is wrong with the asking."""
        self._policy, self._troubles = self._policies.load()
        return self.asked()

    def asked(self) -> tuple[tuple[SessionSettings, ...], tuple[Finding, ...]]:
        """Give all sessions that are asked for, each within its bounds; a file that comes with a taken name waits."""
        clashes = [
            Finding(
                "policy-name",
                Severity.HIGH,
                f"session '{s.name}' of {s.owner} waits: {self._wished[s.name].settings.owner} has one of that name",
                "give one of them another name",
            )
            for s in self._policy
            if s.name in self._wished
        ]
        policy = tuple(s for s in self._policy if s.name not in self._wished)
        wished = self._bounds.bind((item.settings for item in self._wished.values()), policy)
        return (*policy, *wished), (*self._lost.values(), *self._troubles, *clashes)

    def inactive(self) -> frozenset[str]:
        """Give the names of sessions that are disconnected."""
        return frozenset(name for name, item in self._wished.items() if not item.active)

    def create(self, wish: SessionWish) -> None:
        """Enter a session.

        Args:
            wish: what it is to be.

        Raises:
            MpathError: it does not fit, or the name is taken, or there are too many; nothing has changed.
        """
        item = Wished(settings_of(wish, NAMES), wish.user)
        admitted(item, self._wished.values(), self._policy, self.limits)
        self._save({**self._wished, item.settings.name: item}, wish.origin)

    def change(self, name: str, given: Mapping[str, object]) -> None:
        """Change settings of a session, all or none.

        Args:
            name: the session.
            given: field to value.

        Raises:
            MpathError: no such session, or a value does not fit; nothing has changed.
        """
        item = self._find(name)
        fresh = replace(item, settings=replace(item.settings, **values(given, NAMES)))  # type: ignore[arg-type]
        others = [other for other in self._wished.values() if other is not item]
        admitted(fresh, others, self._policy, self.limits)
        self._save({**self._wished, name: fresh}, item.settings.origin)

    def connect(self, name: str, *, active: bool) -> None:
        """Make a session active or not.

        Args:
            name: the session.
            active: whether its traffic is routed.
        """
        item = self._find(name)
        self._save({**self._wished, name: replace(item, active=active)}, item.settings.origin)

    def destroy(self, name: str) -> None:
        """Strike a session out.

        Args:
            name: the session.
        """
        item = self._find(name)
        self._save({key: other for key, other in self._wished.items() if key != name}, item.settings.origin)

    def end(self, gone: Callable[[str, str], bool]) -> bool:
        """Strike out clients' sessions whose owners are gone, and tell whether there were any.

        Args:
            gone: tells of a unique bus name and of its bus's GUID whether its owner is gone.
        """
        kept = {
            name: item
            for name, item in self._wished.items()
            if item.settings.origin is not Origin.DBUS
            or ((client := item.settings.client) is not None and not gone(item.settings.owner, client.bus))
        }
        if len(kept) == len(self._wished):
            return False
        self._save(kept, Origin.DBUS)
        return True

    def _find(self, name: str) -> Wished:
        if (item := self._wished.get(name)) is not None:
            return item
        for settings in self._policy:
            if settings.name == name:
                raise NotSupported(f"session '{name}' is made by {settings.owner}", "edit that file; mpathd watches it")
        names = ", ".join(sorted((*self._wished, *(s.name for s in self._policy)))) or "none"
        raise NotFound(f"no session called '{name}'", f"sessions here: {names}")

    def _save(self, wished: dict[str, Wished], origin: Origin) -> None:
        """Write the kind of session that has changed, whole or not at all, before it is in force."""
        text = dump(item for item in wished.values() if item.settings.origin is origin)
        path = self._stored if origin is Origin.NAMED else self._runtime.path
        try:
            if origin is Origin.NAMED:
                disk.put(path, text)
            else:
                self._runtime.put(CLIENTS, text)
        except OSError as error:
            text = f"cannot save sessions in {path}: {error.strerror}"
            raise MpathError(text, "nothing was changed; free or mend the disk") from error
        self._wished = wished
        for name in self._lost.keys() & wished.keys():  # made again
            del self._lost[name]
