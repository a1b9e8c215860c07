"""Policy files to sessions: TOML of our own, and ConnMan's `.policy` files.

Every trouble names file, line, column, what was given and what was expected; a file with one is refused whole.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

from ..model.errors import ConfigError, MpathError
from ..model.session import BEARERS, PRIORITY_LAST, ConnectionType, Nat, Origin, SessionSettings, Without
from .config import Unfit, no_key, read, unfit, written, wrong
from .place import Place, find, find_item
from .selectors import parse_all

ENDINGS = (".toml", ".policy")  # of files that mpathd reads in its folders
LONGEST = 16 * 1024 * 1024  # bytes of one; ten thousand selectors of the longest form have 1,300,000
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
NOBODY = 0xFFFFFFFF  # (uid_t)-1, which is no user
LINK_NAME = 15  # bytes of an interface's name
CONNMAN_NOTHING = {
    "selinux": "security contexts are not matched; use users, groups or cgroup",
    "RoamingPolicy": "mpathd does not know whether a link roams",
    "EmergencyCall": "sessions of others are not stopped for a call",
    "Priority": "ConnMan itself never used it",
}
CONNMAN_KEYS = ("uid", "gid", "AllowedBearers", "ConnectionType", *CONNMAN_NOTHING)
LOCAL_TYPES = {"online": "internet"}  # ConnMan's document once calls it so


@dataclass(frozen=True, slots=True)
class Names:
    """Who knows the machine's users and groups.

    Args:
        user: name to user id, None if there is none.
        group: name to group id, None if there is none.
    """

    user: Callable[[str], int | None]
    group: Callable[[str], int | None]


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A policy file, read.

    Args:
        path: where it is.
        sessions: what it asks for.
        notes: what it says that has no meaning here.
    """

    path: str
    sessions: tuple[SessionSettings, ...]
    notes: tuple[str, ...] = ()


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Unfit('expected a list of texts, for example ["ethernet", "wifi"]')
    return tuple(value)


def _bearers(value: object) -> tuple[str, ...]:
    found = _texts(value)
    for bearer in found:
        if bearer and bearer not in BEARERS:
            raise Unfit(f"'{bearer}' is no bearer, expected some of: {', '.join(BEARERS)}")
    return tuple(dict.fromkeys(bearer for bearer in found if bearer))


def _one_of(kind: type[ConnectionType | Without | Nat]) -> Callable[[object], object]:
    def check(value: object) -> object:
        if not isinstance(value, str) or value not in list(kind):
            raise Unfit(f"expected one of: {', '.join(kind)}")
        return kind(value)

    return check


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Unfit("expected a text in quotes")
    return value


def _interface(value: object) -> str:
    text = _text(value)
    if text in {"", "*"}:
        return text
    # The kernel's own rule (dev_valid_name): a name that no link can have is a slip, not a link that is still to come.
    if (
        len(text.encode()) > LINK_NAME
        or text in {".", ".."}
        or any(c in "/:" or c.isspace() or c == "\0" for c in text)
    ):
        raise Unfit(f"'{text}' is no interface, expected at most {LINK_NAME} letters without spaces, / and :")
    return text


def _services(value: object) -> tuple[str, ...] | None:
    if value == "auto":
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise Unfit('expected "auto", or a list of services, for example ["eth0", "wlan0"]')
    return tuple(value)


def _priority(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= PRIORITY_LAST:
        raise Unfit(f"expected a number from 0 to {PRIORITY_LAST}")
    return value


def _cgroup(value: object) -> str:
    text = _text(value).strip("/")
    if {"\0", "\n"} & set(text) or {"", ".", ".."} & set(text.split("/")):  # one group has one name, in one line
        raise Unfit('expected a control group below the root, for example "/system.slice/backup.service"')
    return text


def _ids(kind: str, known: Callable[[str], int | None]) -> Callable[[object], object]:
    def check(value: object) -> object:
        out = []
        for item in value if isinstance(value, list) else [value]:
            number = _id(item, known) if isinstance(item, str) else item
            if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < NOBODY:
                out.append(number)
            else:
                raise Unfit(
                    f'{written(item)} is no {kind} here, expected names or numbers, for example ["backup", 1000]'
                )
        return tuple(dict.fromkeys(out))

    return check


def _id(text: str, known: Callable[[str], int | None]) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(NOBODY)) else known(text)


def keys(names: Names) -> Mapping[str, tuple[str, Callable[[object], object], str]]:
    """Give the keys of a [session.NAME] section: field of SessionSettings, check, what it does.

    Args:
        names: who knows users and groups.
    """
    return {
        "allowed_bearers": ("allowed_bearers", _bearers, "technologies in order of preference"),
        "connection_type": ("connection_type", _one_of(ConnectionType), "what a service must offer"),
        "allowed_interface": ("allowed_interface", _interface, "the one interface it may use"),
        "flow_selectors": ("selectors", lambda value: parse_all(_texts(value)), "packets that are its own"),
        "users": ("users", _ids("user", names.user), "users whose sockets are its own"),
        "groups": ("groups", _ids("group", names.group), "groups whose sockets are its own"),
        "cgroup": ("cgroup", _cgroup, "control group whose sockets are its own"),
        "multipath_routed_services": ("services", _services, 'services beside the default one, or "auto"'),
        "without_service": ("without_service", _one_of(Without), "what becomes of it without a service"),
        "priority": ("priority", _priority, "which of two equally specific sessions wins"),
        "nat": ("nat", _one_of(Nat), "whether other links' sources are translated"),
        "description": ("description", _text, "for people"),
    }


def parse(text: str, path: str, names: Names) -> PolicyFile:
    """Read a policy file of ours, or of ConnMan's by its ending.

    Args:
        text: the file's text.
        path: its name.
        names: who knows users and groups.

    Raises:
        ConfigError: something in it does not fit.
    """
    return _connman(text, path, names) if path.endswith(".policy") else _toml(text, path, names)


def _toml(text: str, path: str, names: Names) -> PolicyFile:
    data = read(text, path)
    known = keys(names)
    for section in data:
        if section != "session":
            raise wrong(path, find(text, (section,)), f"no section [{section}]", "expected [session.NAME]")
    sections = data.get("session", {})
    if not isinstance(sections, dict) or not sections:
        raise wrong(path, Place(), "no session in it", "expected [session.NAME] with at least flow_selectors or users")
    out = []
    for name, content in sections.items():
        here = find(text, ("session", name))
        if isinstance(content, list):
            raise wrong(path, here, f"[[session.{name}]] is a list of sections", f"expected [session.{name}]")
        if not isinstance(content, dict):
            raise wrong(path, here, f"'{name}' stands in no session", "expected [session.NAME], its keys below that")
        if not NAME.fullmatch(name):
            raise wrong(path, here, f"'{name}' is no name", "expected letters, digits, _ . and -, at most 64")
        values: dict[str, object] = {}
        for key, value in content.items():
            place = find(text, ("session", name, key))
            if key not in known:
                raise no_key(path, place, key, f"session.{name}", known)
            field, check, _ = known[key]
            try:
                values[field] = check(value)
            except (Unfit, MpathError) as error:
                if (item := _culprit(value, check)) is not None:
                    place = find_item(text, place, item)
                raise wrong(path, place, unfit(key, value), str(error)) from None
        out.append(_settings(name, path, values, here))
    return PolicyFile(path, tuple(out))


def _culprit(value: object, check: Callable[[object], object]) -> str | None:
    """The first text in a list that does not fit; None if there is none."""
    for item in value if isinstance(value, list) else ():
        try:
            check([item])
        except (Unfit, MpathError):
            return item if isinstance(item, str) else None
    return None


def _settings(name: str, path: str, values: Mapping[str, object], place: Place) -> SessionSettings:
    if not any(values.get(field) for field in ("selectors", "users", "groups", "cgroup")):
        hint = "expected at least one of flow_selectors, users, groups, cgroup"
        raise wrong(path, place, f"session '{name}' catches no traffic", hint)
    assert set(values) <= {field.name for field in fields(SessionSettings)}
    # The table of keys makes what SessionSettings takes.
    return SessionSettings(name, Origin.POLICY, path, **values)  # type: ignore[arg-type]


def _connman(text: str, path: str, names: Names) -> PolicyFile:
    reader = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=("#",), strict=True)
    reader.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        reader.read_string(text, path)
    except configparser.Error as error:
        place = Place(getattr(error, "lineno", 0) or 0, 1)
        raise wrong(
            path, place, error.message.replace("\n", " "), "expected ConnMan's form: [policy_x], uid = ..."
        ) from None
    out, notes = [], []
    for section in reader.sections():
        found = dict(reader.items(section))
        here = find(text, (section,))
        values: dict[str, object] = {}
        for key, value in found.items():
            place = find(text, (section, key))
            if key in CONNMAN_NOTHING:
                notes.append(f"{path}{place}: {key} has no meaning here: {CONNMAN_NOTHING[key]}")
                continue
            if key not in CONNMAN_KEYS:
                raise no_key(path, place, key, section, CONNMAN_KEYS)
            try:
                values.update(_connman_key(key, value, names))
            except Unfit as error:
                raise wrong(path, place, unfit(key, value), str(error)) from None
        out.append(_settings(re.sub(r"[^A-Za-z0-9_.-]", "_", section), path, values, here))
    if not out:
        raise ConfigError(f"{path}: no policy in it", "expected ConnMan's form: [policy_x], uid = ...")
    return PolicyFile(path, tuple(out), tuple(notes))


def _connman_key(key: str, value: str, names: Names) -> Mapping[str, object]:
    match key:
        case "uid":
            return {"users": _ids("user", names.user)(value.strip())}
        case "gid":
            return {"groups": _ids("group", names.group)(value.strip())}
        case "AllowedBearers":
            return {"allowed_bearers": _bearers(value.split())}
        case _:
            return {"connection_type": _one_of(ConnectionType)(LOCAL_TYPES.get(value.strip(), value.strip()))}
