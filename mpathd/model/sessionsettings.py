"""The one table of session settings: policy keys, D-Bus properties, command line options and checks come from it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SessionSetting:
    """A setting that a session has.

    Args:
        field: its name in SessionSettings.
        key: its name in policy files.
        property: its name on D-Bus.
        option: its name on the command line, without dashes.
        signature: its D-Bus type: "as", "s", "u" or "b"; users and groups are texts, names or numbers.
        repeat: the command line option may be given several times.
        help: what it is, one clause.
    """

    field: str
    key: str
    property: str
    option: str
    signature: str
    repeat: bool
    help: str


def _row(field: str, key: str, name: str, option: str, signature: str, text: str) -> SessionSetting:
    return SessionSetting(field, key, name, option, signature, signature == "as", text)


SESSION_SETTINGS = (
    _row("allowed_bearers", "allowed_bearers", "AllowedBearers", "bearer", "as", "technologies in order of preference"),
    _row("connection_type", "connection_type", "ConnectionType", "type", "s", "what a service must offer"),
    _row(
        "allowed_interface", "allowed_interface", "AllowedInterface", "interface", "s", "the one interface it may use"
    ),
    _row("selectors", "flow_selectors", "FlowSelectors", "flow", "as", "packets that are its own"),
    _row("users", "users", "Users", "user", "as", "users whose sockets are its own"),
    _row("groups", "groups", "Groups", "group", "as", "groups whose sockets are its own"),
    _row("cgroup", "cgroup", "Cgroup", "cgroup", "s", "control group whose sockets are its own"),
    _row(
        "services",
        "multipath_routed_services",
        "MultipathRoutedServices",
        "service",
        "as",
        'services beside the default one; "*" lets mpathd choose',
    ),
    _row(
        "without_service", "without_service", "WithoutService", "without-service", "s", "what becomes of it without one"
    ),
    _row("priority", "priority", "Priority", "priority", "u", "which of two equally specific sessions wins"),
    _row("nat", "nat", "Nat", "nat", "s", "whether other links' sources are translated"),
    _row("description", "description", "Description", "description", "s", "for people"),
)

# ConnMan's, which mean nothing here, but are kept and told again; policy files and the command line do not have them.
KEPT = (
    _row("context_identifier", "", "ContextIdentifier", "", "s", "what ConnMan's clients know the session by"),
    _row("source_ip_rule", "", "SourceIPRule", "", "b", "whether the client binds its sockets to addresses"),
)

CLIENT_SETTINGS = (*SESSION_SETTINGS, *KEPT)

BY_PROPERTY = {row.property: row for row in SESSION_SETTINGS}
BY_OPTION = {row.option: row for row in SESSION_SETTINGS}
