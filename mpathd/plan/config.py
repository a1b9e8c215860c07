"""Text of mpathd.conf to a Config; every trouble names file, line, what was given and what was expected."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace

from ..model.busaddress import places
from ..model.config import Config
from ..model.errors import ConfigError
from ..model.mptcp import Options
from ..model.near import guess
from ..model.numbers import Numbers
from ..model.policy import Policy, ServiceSettings
from ..model.settings import SETTINGS
from ..model.words import Address, MptcpMode
from .place import Place, find

ON_LINK = "on-link"
SOURCES = ("static", "main", "networkd", "dhclient")
PRIORITY_LAST = 32766 - 5000  # our priorities end 5,000 after their base, before main's 32766
SHOWN = 80  # letters of a value that does not fit

BYTE_ORDER_MARK = "\ufeff"  # some editors put it in front

Check = Callable[[object], object]


class Unfit(Exception):
    """A value that does not fit; its text says what was expected."""


def written(value: object) -> str:
    """Give a value as TOML writes it, nearly.

    Args:
        value: of a file.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            return f"[{', '.join(map(written, value))}]"
        case _:
            return repr(value)


def unfit(name: str, value: object) -> str:
    """Say that a value does not fit; of a long one the beginning, or what is wrong with it would not be seen.

    Args:
        name: of the key or property.
        value: as given.
    """
    text = written(value)
    return f"{name} = {text if len(text) <= SHOWN else text[:SHOWN] + '...'} does not fit"


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the file.

    Args:
        section, name: where it stands.
        check: value to the right type, or Unfit.
        help: what it does.
    """

    section: str
    name: str
    check: Check
    help: str


def _boolean(value: object) -> object:
    if not isinstance(value, bool):
        raise Unfit("expected true or false")
    return value


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise Unfit("expected a text in quotes")
    return value


def _bus(value: object) -> object:
    if text := _text(value):
        try:
            places(str(text))
        except ConfigError as error:
            raise Unfit(error.hint) from None
    return text


def _texts(value: object) -> object:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise Unfit('expected a list of texts, for example ["eth*", "wwan0"]')
    return tuple(value)


def _among(*choices: str) -> Check:
    def check(value: object) -> object:
        if value not in choices:
            raise Unfit(f"expected one of: {', '.join(choices)}")
        return value

    return check


def _between(low: int, high: int) -> Check:
    def check(value: object) -> object:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Unfit(f"expected a number from {low} to {high}")
        return value

    return check


def _sources(value: object) -> object:
    names = _texts(value)
    if not isinstance(names, tuple) or any(name not in SOURCES for name in names) or len(set(names)) != len(names):
        raise Unfit(f"expected some of these, each once: {', '.join(SOURCES)}")
    return names


def _address(text: object) -> Address | None:
    if text == ON_LINK:
        return None
    expected = f'expected for example "10.1.0.1", "fe80::1" or "{ON_LINK}"'
    try:
        found = ipaddress.ip_address(text if isinstance(text, str) else "")
    except ValueError:
        raise Unfit(f"{text!r} is no address; {expected}") from None
    if found.is_unspecified or found.is_multicast or found.is_loopback or "%" in str(found):
        raise Unfit(f"{text!r} is no address of a gateway; {expected}")
    return Address(str(found))


def _static(value: object) -> object:
    if not isinstance(value, dict):
        raise Unfit('expected gateways by interface or service, for example { eth1 = "10.1.0.1" }')
    out = {}
    for name, given in value.items():
        out[name] = tuple(_address(item) for item in (given if isinstance(given, list) else [given]))
    return out


def _mask(value: object) -> object:
    number = _between(1, 0x7FFFFFFF)(value)
    if not isinstance(number, int) or number & 0xFFFF or (number >> 16) & ((number >> 16) + 1):
        raise Unfit("expected bits 16 and up without a gap, for example 0x7fff0000")
    return number


def _ids(value: object) -> object:
    match value:
        case [first, last] if type(first) is type(last) is int and 1 <= first <= last <= 255:  # true is no number
            return first, last
        case _:
            raise Unfit("expected first and last id from 1 to 255, for example [200, 254]")


KEYS = (
    Key("uplinks", "include", _texts, "which interfaces may be services; empty means all"),
    Key("uplinks", "exclude", _texts, "which interfaces are never services"),
    Key("uplinks", "allow_borrowed", _boolean, "route a service although main's default borrows its address"),
    *(
        Key("defaults", s.field, _boolean if s.signature == "b" else _among(*s.choices), s.help)
        for s in SETTINGS
        if s.conf
    ),
    Key("numbers", "protocol", _between(5, 255), "protocol of our routes and rules"),
    Key("numbers", "mark_base", _between(1 << 16, 0x7FFFFFFF), "mark of the first session"),
    Key("numbers", "mark_mask", _mask, "bits of a mark that are ours"),
    Key("numbers", "table_base", _between(255, 60000), "added to an interface's index to make its table"),
    Key("numbers", "priority_base", _between(1, PRIORITY_LAST), "priority of our first rule"),
    Key("numbers", "endpoint_ids", _ids, "first and last MPTCP endpoint id that is ours"),
    Key("sources", "order", _sources, "where gateways are learned, most trusted first"),
    Key("sources", "static", _static, "gateways that nobody else knows"),
    Key("dbus", "connman", _boolean, "own net.connman too, for programs that were written for ConnMan"),
    Key("dbus", "group", _text, "group whose members may change settings"),
    Key("dbus", "address", _bus, "D-Bus address instead of the system bus"),
    Key("sessions", "max_per_user", _between(0, 10000), "sessions that one user without privileges may have"),
    Key("sessions", "max_selectors", _between(1, 1000000), "flow selectors that a session of such a user may have"),
    Key("sessions", "stats_interval", _between(0, 86400), "seconds between signals of statistics, 0 for none"),
    Key("sessions", "early_rules", _between(0, 300), "rules that catch a session's unbound sockets, in each family"),
    Key("sessions", "socket_engine", _boolean, "mark the sockets of control groups, by BPF programs"),
    Key("mptcp", "fullmesh", _boolean, "subflows to every address of the far side, not only to its first one"),
    Key("mptcp", "signal", _boolean, "announce the links' addresses to the far side"),
    Key("mptcp", "laminar", _boolean, "answer each announced address of the far side by one link alone"),
    Key("mptcp", "limits", _boolean, "raise the kernel's limits to what the links need"),
    Key("log", "level", _among("debug", "info", "warning", "error"), "least level that is written"),
    Key("log", "format", _among("auto", "text", "json"), "auto: people on a terminal, JSON elsewhere"),
    Key("stop", "keep", _boolean, "leave routes and rules in place at stop"),
)

BY_PLACE = {(key.section, key.name): key for key in KEYS}
POLICY_NAMES = {"include": "include", "exclude": "exclude", "order": "source_order", "static": "static"}


def wrong(path: str, place: Place, text: str, hint: str) -> ConfigError:
    """Make an error that names its place.

    Args:
        path: the file.
        place: where in it.
        text: what is wrong and what was given.
        hint: what was expected.
    """
    return ConfigError(f"{path}{place}: {text}", hint)


def no_key(path: str, place: Place, key: str, section: str, known: Collection[str]) -> ConfigError:
    """Make the error about a key that nobody knows.

    Args:
        path: the file.
        place: where in it.
        key: as written.
        section: in which it stands.
        known: the keys that could stand there.
    """
    hint = f"{guess(key, known)}keys: {', '.join(known)}"
    return wrong(path, place, f"no key '{key}' in [{section}]", hint)


def read(text: str, path: str) -> dict[str, object]:
    """Read TOML.

    Args:
        text: the file's text.
        path: its name, for errors.

    Raises:
        ConfigError: it is none.
    """
    hint = "the file is TOML: [section], then key = value; texts stand in quotes, true and false in small letters"
    try:
        return tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"^(.*) \(at line (\d+), column (\d+)\)$", str(error))
        lines = text.splitlines() or [""]
        end = Place(len(lines), len(lines[-1]) + 1)  # tomllib says "(at end of document)"
        place = Place(int(found[2]), int(found[3])) if found else end
        raise wrong(path, place, found[1] if found else str(error), hint) from None
    except ValueError:  # of an integer with more than 4,300 digits
        raise wrong(path, Place(), "a number in it is too long", hint) from None
    except RecursionError:
        raise wrong(path, Place(), "brackets nest too deep", hint) from None


def _sections(name: str, content: object) -> str:
    """Say what may stand outside of all sections, instead of something else.

    Args:
        name: what stands there.
        content: what it holds.
    """
    sections = tuple(dict.fromkeys(key.section for key in KEYS))
    if name in sections:  # and it is none: name = 1, or [[name]]
        return f"write [{name}] on a line of its own, and its keys below that"
    if not isinstance(content, Mapping) and (owners := [key.section for key in KEYS if key.name == name]):
        return f"'{name}' is a key: write it below [{owners[0]}]"
    known = tuple(f"[{section}]" for section in sections)
    return f"{guess(f'[{name}]', known)}sections: {', '.join(known)}"


def parse(text: str, path: str) -> Config:
    """Read a configuration.

    Args:
        text: the file's text.
        path: its name, for errors.

    Raises:
        ConfigError: it is not TOML, or a key or value does not fit.
    """
    data = read(text, path)
    values: dict[tuple[str, str], object] = {}
    for section, content in data.items():
        known = [key.name for key in KEYS if key.section == section]
        if not known or not isinstance(content, Mapping):
            raise wrong(path, find(text, (section,)), f"no section [{section}]", _sections(section, content))
        for name, value in content.items():
            key = BY_PLACE.get((section, name))
            place = find(text, (section, name))
            if key is None:
                raise no_key(path, place, name, section, known)
            try:
                values[section, name] = key.check(value)
            except Unfit as error:
                raise wrong(path, place, unfit(name, value), str(error)) from None
    if clash := _options(values).clash:
        place = find(text, ("mptcp", "fullmesh"))
        raise wrong(path, place, clash, "set signal or fullmesh in [mptcp] to false, or leave it out")
    return _build(values, path)


def _options(values: Mapping[tuple[str, str], object]) -> Options:
    given = {name: bool(value) for (section, name), value in values.items() if section == "mptcp"}
    return Options(**given)


def _build(values: Mapping[tuple[str, str], object], path: str) -> Config:
    def section(name: str) -> dict[str, object]:
        return {key: value for (where, key), value in values.items() if where == name}

    numbers = section("numbers")
    chosen = section("defaults")
    if "mpath_tcp_link" in chosen:
        chosen["mpath_tcp_link"] = MptcpMode(str(chosen["mpath_tcp_link"]))
    sources = {POLICY_NAMES[key]: value for key, value in section("sources").items()}
    # ServiceSettings, Numbers and Policy take what their keys' checks made; the table above is the contract.
    policy = Policy(
        defaults=ServiceSettings(**chosen),  # type: ignore[arg-type]
        numbers=Numbers(**numbers),  # type: ignore[arg-type]
        mptcp=_options(values),
        **section("uplinks"),  # type: ignore[arg-type]
        **sources,  # type: ignore[arg-type]
    )
    sessions = section("sessions")
    routing = {key: sessions.pop(key) for key in ("early_rules", "socket_engine") if key in sessions}
    policy = replace(policy, **routing)  # type: ignore[arg-type]
    made = policy.numbers
    if made.mark_base & ~made.mark_mask:
        text = f"[numbers] mark_base {made.mark_base:#x} has bits outside mark_mask {made.mark_mask:#x}"
        raise ConfigError(f"{path}: {text}", "set both, for example mark_base = 0x10000 and mark_mask = 0x7fff0000")
    rest = {**section("dbus"), **sessions, **section("log"), **section("stop")}
    known = {field.name for field in fields(Config)}
    return replace(Config(policy=policy, path=path), **{k: v for k, v in rest.items() if k in known})  # type: ignore[arg-type]
