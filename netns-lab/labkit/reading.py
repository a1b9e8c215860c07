"""Reads a topology from a TOML file; every error names the file and the key."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import TopologyError
from .topology import Advert, Bridge, End, Host, Kind, Link, Topology

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
DEVICE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
RATE = re.compile(r"\d+(\.\d+)?[kmg]?bit")


@dataclass(frozen=True, slots=True)
class Table:
    """A TOML table that knows where it stands.

    Args:
        file: file that it comes from.
        key: path of keys that leads to it.
        values: what it holds.
    """

    file: Path
    key: str
    values: Mapping[str, object]

    def at(self, key: str) -> str:
        """The path of one of its keys."""
        return f"{self.key}.{key}" if self.key else key

    def error(self, key: str, what: str, todo: str = "") -> TopologyError:
        """The error for one of its keys."""
        given = f"given: {self.values[key]!r}" if key in self.values else "it is not there"
        return TopologyError(f"{self.file}: {self.at(key)}: {what}", given, todo)

    def only(self, *known: str) -> None:
        """Refuses keys that nobody reads."""
        for key in self.values:
            if key not in known:
                raise self.error(key, "unknown key", f"known here: {' '.join(known)}")

    def text(self, key: str, default: str | None = None, form: re.Pattern[str] | None = None) -> str:
        """A string; without default it must be there."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or (value != default and form and not form.fullmatch(value)):
            raise self.error(key, f"must be a string{f' of the form {form.pattern}' if form else ''}")
        return value

    def number(self, key: str, default: int) -> int:
        """A number that is not negative."""
        value = self.values.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.error(key, "must be a number, 0 or more")
        return value

    def flag(self, key: str) -> bool:
        """A boolean, false when absent."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings, empty when absent."""
        value = self.values.get(key, [])
        if not isinstance(value, list):
            raise self.error(key, "must be a list of strings")
        found = tuple(item for item in value if isinstance(item, str))
        if len(found) != len(value):
            raise self.error(key, "must be a list of strings")
        return found

    def table(self, key: str) -> Table:
        """A table, empty when absent."""
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, "must be a table")
        return Table(self.file, self.at(key), value)

    def tables(self, key: str) -> tuple[Table, ...]:
        """A list of tables, empty when absent."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.error(key, "must be a list of tables")
        return tuple(Table(self.file, f"{self.at(key)}[{index}]", item) for index, item in enumerate(value))


def read(path: Path) -> Topology:
    """Reads the file.

    Raises:
        TopologyError: it is not TOML, or not a topology.
    """
    try:
        values = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise TopologyError(f"{path}: cannot be read as TOML", str(error)) from error
    table = Table(path, "", values)
    table.only("description", "drawing", "sysctl", "host", "link", "bridge", "advert")
    hosts = _hosts(table)
    links = tuple(_link(entry, hosts) for entry in table.tables("link"))
    bridges = tuple(_bridge(entry, hosts) for entry in table.tables("bridge"))
    topology = Topology(
        name=path.stem,
        description=table.text("description"),
        drawing=table.text("drawing").strip("\n") + "\n",
        hosts=tuple(hosts.values()),
        links=links,
        bridges=bridges,
        adverts=tuple(_advert(entry, hosts) for entry in table.tables("advert")),
    )
    _coherent(table, topology)
    return topology


def _hosts(table: Table) -> dict[str, Host]:
    common = _sysctls(table.table("sysctl"))
    hosts: dict[str, Host] = {}
    every = table.table("host")
    if not every.values:
        raise table.error("host", "a topology needs hosts", "write [host.NAME]")
    for name in every.values:
        if not NAME.fullmatch(name):
            raise every.error(name, f"a host's name must have the form {NAME.pattern}")
        entry = every.table(name)
        entry.only("addresses", "routes", "sysctl")
        hosts[name] = Host(
            name,
            _addresses(entry),
            tuple(_route(entry, words) for words in entry.texts("routes")),
            common + _sysctls(entry.table("sysctl")),
        )
    return hosts


def _sysctls(table: Table) -> tuple[tuple[str, str], ...]:
    for key, value in table.values.items():
        if not isinstance(value, int | str):
            raise table.error(key, "must be a number or a string", 'quote the key: "net.ipv4.ip_forward" = 1')
        if not key.startswith("net."):
            raise table.error(key, "must start with net.: others belong to the machine, not to a host of the lab")
    return tuple((key, str(value)) for key, value in table.values.items())


def _addresses(table: Table) -> tuple[str, ...]:
    for words in table.texts("addresses"):
        for word in words.split():
            if word not in {"peer", "nodad"}:
                _address(table, "addresses", word)
    return table.texts("addresses")


def _address(table: Table, key: str, text: str) -> None:
    try:
        ipaddress.ip_interface(text)
    except ValueError as error:
        raise table.error(key, f"{text!r} is no IP address") from error


def _route(table: Table, text: str) -> str:
    words = text.split()
    if not words:
        raise table.error("routes", "a route is empty")
    if words[0] != "default":
        _address(table, "routes", words[0])
    elif "via" not in words[:-1]:
        raise table.error("routes", f"{text!r} does not say of which family it is", "write 0.0.0.0/0 or ::/0")
    if "via" in words[:-1]:
        _address(table, "routes", words[words.index("via") + 1])
    return " ".join(words)


def _known(table: Table, hosts: Mapping[str, Host]) -> str:
    host = table.text("host")
    if host not in hosts:
        raise table.error("host", "no such host", f"hosts here: {' '.join(hosts)}")
    return host


def _link(table: Table, hosts: Mapping[str, Host]) -> Link:
    table.only("kind", "ends")
    kind: Kind = "tun" if table.text("kind", "veth", re.compile("veth|tun")) == "tun" else "veth"
    ends = tuple(_end(entry, hosts, kind) for entry in table.tables("ends"))
    if len(ends) != 2:
        raise table.error("ends", "a link has two ends")
    return Link(ends[0], ends[1], kind)


def _end(table: Table, hosts: Mapping[str, Host], kind: Kind) -> End:
    table.only("host", "dev", "mac", "addresses", "index", "mtu", "rate", "slaac")
    if kind == "tun" and "mac" in table.values:
        raise table.error("mac", "a point-to-point link has no Ethernet addresses")
    return End(
        _known(table, hosts),
        table.text("dev", None, DEVICE),
        table.text("mac", "", MAC),
        _addresses(table),
        table.number("index", 0),
        table.number("mtu", 0),
        table.text("rate", "", RATE),
        table.flag("slaac"),
    )


def _bridge(table: Table, hosts: Mapping[str, Host]) -> Bridge:
    table.only("host", "dev", "ports", "addresses", "mac")
    return Bridge(
        _known(table, hosts),
        table.text("dev", None, DEVICE),
        table.texts("ports"),
        _addresses(table),
        table.text("mac", "", MAC),
    )


def _advert(table: Table, hosts: Mapping[str, Host]) -> Advert:
    table.only("host", "dev", "prefix", "lifetime", "valid", "preferred", "preference")
    prefix = table.text("prefix", "")
    if prefix:
        try:
            ipaddress.IPv6Network(prefix)
        except ValueError as error:
            raise table.error("prefix", f"must be an IPv6 prefix ({error})") from error
    return Advert(
        _known(table, hosts),
        table.text("dev", None, DEVICE),
        prefix,
        table.number("lifetime", 1800),
        table.number("valid", 86400),
        table.number("preferred", 14400),
        table.text("preference", "medium", re.compile("low|medium|high")),
    )


def _coherent(table: Table, topology: Topology) -> None:
    devices: set[tuple[str, str]] = set()
    here = [(end.host, end.dev) for end in topology.ends()] + [(b.host, b.dev) for b in topology.bridges]
    for host, dev in here:
        if (host, dev) in devices:
            raise TopologyError(f"{table.file}: host {host} has two interfaces of one name", f"given: {dev}")
        devices.add((host, dev))
    for index, bridge in enumerate(topology.bridges):
        for port in bridge.ports:
            if (bridge.host, port) not in devices:
                raise table.tables("bridge")[index].error("ports", f"host {bridge.host} has no interface {port}")
    for index, advert in enumerate(topology.adverts):
        if (advert.host, advert.dev) not in devices:
            raise table.tables("advert")[index].error("dev", f"host {advert.host} has no such interface")
