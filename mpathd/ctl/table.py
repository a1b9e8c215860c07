"""The one table of commands: parsing, help, completion and the manual's test come from it.

A new command is a row here and a function that it names; a group ("session create") is rows whose words begin alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mpathd.model.session import BEARERS, ConnectionType, Nat, Without
from mpathd.model.sessionsettings import SESSION_SETTINGS, SessionSetting
from mpathd.model.settings import NO, SETTINGS, YES, Setting


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command.

    Args:
        names: its spellings, the one that help shows first, dashes included.
        help: what it does, one clause.
        value: what its value is called in help; empty for an option that has none.
        choices: what the value may be; empty for anything.
        also: further spellings of a choice.
        many: may be given several times.
        clears: may be given without a value (`--type=`), which means the default again.
        kind: what completion offers as its value ("service"); empty for its choices.
    """

    names: tuple[str, ...]
    help: str
    value: str = ""
    choices: tuple[str, ...] = ()
    also: tuple[tuple[str, tuple[str, ...]], ...] = ()
    many: bool = False
    clears: bool = False
    kind: str = ""

    @property
    def key(self) -> str:
        """The name under which a command finds it: the first one without dashes."""
        return self.names[0].lstrip("-")


@dataclass(frozen=True, slots=True)
class Argument:
    """A word that a command takes by its place.

    Args:
        name: what it is called in help.
        help: what it is, one clause.
        required: must be given.
        kind: what completion offers ("service"); empty for nothing.
        many: takes all the rest, options of others included (for `exec -- CMD`).
        several: may be repeated; options may stand between.
    """

    name: str
    help: str
    required: bool = False
    kind: str = ""
    many: bool = False
    several: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    Args:
        words: what a person types, "services" or "session", "create".
        help: what it does, one sentence.
        run: "module:function" below mpathd.ctl, loaded when it is needed; takes an Order.
        takes: words by their place.
        options: its own options, besides those of all commands.
        more: what help says further.
    """

    words: tuple[str, ...]
    help: str
    run: str
    takes: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    more: str = ""

    @property
    def name(self) -> str:
        """Its words as one text."""
        return " ".join(self.words)


JSON = Option(("--json",), "print JSON, for programs; fields are added, never changed")
HELP = Option(("--help", "-h"), "show this help")
VERSION = Option(("--version",), "show the version")

# Before any command, and after each.
GLOBAL = (JSON, HELP, VERSION)
COMMON = (JSON, HELP)

SERVICE = Argument(
    "SERVICE", "a service's identifier, its interface, or a beginning of either that fits no other", kind="service"
)


def _option(row: Setting) -> Option:
    """The option of a setting; the post's spelling first, dashes as most tools have them second."""
    return Option(
        tuple(dict.fromkeys((f"--{row.option}", f"--{row.option.replace('_', '-')}"))),
        row.help,
        value="|".join(row.choices),
        choices=row.choices,
        also=(("yes", YES), ("no", NO)) if row.signature == "b" else (),
    )


# What the value of a session's option is called in help, what it may be, and what completion offers.
SESSION_VALUES = {
    "bearer": "B",
    "interface": "IF",
    "flow": "SEL",
    "user": "U",
    "group": "G",
    "cgroup": "PATH",
    "service": "ID",
    "priority": "N",
    "description": "TEXT",
}
SESSION_CHOICES = {
    "bearer": BEARERS,
    "type": tuple(ConnectionType),
    "without-service": tuple(Without),
    "nat": tuple(Nat),
}
SESSION_KINDS = {"interface": "interface", "user": "user", "group": "group", "service": "identifier"}


def _session_option(row: SessionSetting) -> Option:
    """The option of a session's setting."""
    choices = tuple(map(str, SESSION_CHOICES.get(row.option, ())))
    value = SESSION_VALUES.get(row.option) or "|".join(choices)
    kind = SESSION_KINDS.get(row.option, "")
    return Option((f"--{row.option}",), row.help, value, choices, many=row.repeat, clears=True, kind=kind)


SESSION = Argument("NAME", "a session's name, or its path on D-Bus", required=True, kind="session")
ANY_SESSION = replace(SESSION, required=False)
WATCH = (
    Option(("--watch",), "again every second until Ctrl-C, with bytes per second"),
    Option(("--interval",), "time between two readings of --watch, in seconds", value="SECONDS"),
)
COMMAND = Argument("COMMAND", "a program and its arguments, as they are", required=True, kind="command", many=True)
SESSION_OPTIONS = tuple(_session_option(row) for row in SESSION_SETTINGS)

OWN = "Its traffic is what any --flow, --user, --group or --cgroup matches; without these it has none."

COMMANDS = (
    Command(
        ("services",),
        "List the services, or show all about one, or put one elsewhere in the order.",
        "services:show",
        takes=(SERVICE,),
        options=(
            Option(("-l", "--long"), "a wide table: addresses, gateways and why it is routed or not"),
            Option(("--before",), "put SERVICE directly before this one, and list them", "ID", kind="service"),
            Option(("--after",), "put SERVICE directly behind this one, and list them", "ID", kind="service"),
        ),
        more="Letters: * managed, A AutoConnect, M MultipathRouting; state: R ready, O online, c configuration. "
        "The order is kept; among those that are connected, a session takes the first of its best bearer.",
    ),
    Command(
        ("config",),
        "Change settings of one service, or of every service and the default; without options, show them.",
        "services:config",
        takes=(SERVICE,),
        options=tuple(_option(row) for row in SETTINGS),
        more="Answers when the kernel has it. Without SERVICE, what single services have stored of it is forgotten.",
    ),
    Command(
        ("session", "list"),
        "List the sessions.",
        "sessions:listing",
        options=(Option(("-l", "--long"), "a wide table: state, mark, services, where it is from and why"),),
        more="Letters: * active, a space after Disconnect; state: O online, C connected, a space for disconnected.",
    ),
    Command(("session", "show"), "Show all about a session.", "sessions:show", takes=(SESSION,)),
    Command(
        ("session", "create"),
        "Make a session that stays until it is destroyed, and wait until the kernel has it.",
        "sessions:create",
        takes=(Argument("NAME", "its name: letters, digits, _ . and -", required=True),),
        options=SESSION_OPTIONS,
        more=f"{OWN} B is one of {', '.join(BEARERS)}. SEL is source-destination-protocol-sport-dport, * for any, "
        "fields at the end may be left out: *-*-tcp-*-443 is what goes to port 443.",
    ),
    Command(
        ("session", "change"),
        "Change settings of a session, all those given or none; an empty one (--flow=) is its default again.",
        "sessions:change",
        takes=(SESSION,),
        options=SESSION_OPTIONS,
        more="A list that is given replaces the one before. Sessions of policy files are changed in their file.",
    ),
    Command(("session", "destroy"), "End a session.", "sessions:destroy", takes=(SESSION,)),
    Command(("session", "connect"), "Let a session's traffic use its services.", "sessions:connect", takes=(SESSION,)),
    Command(
        ("session", "disconnect"),
        "Treat a session's traffic as without a service (refuse it, by default), until it is connected again.",
        "sessions:disconnect",
        takes=(SESSION,),
    ),
    Command(
        ("session", "monitor"),
        "Tell what becomes of sessions, first whole, then what changes, until Ctrl-C.",
        "sessions:monitor",
        takes=(ANY_SESSION,),
    ),
    Command(
        ("session", "stats"),
        "Show what sessions have carried, in all and by each service, and what was dropped.",
        "sessionstats:show",
        takes=(ANY_SESSION,),
        options=WATCH,
        more="Numbers are exact with --json.",
    ),
    Command(
        ("session", "exec"),
        "Run a command whose traffic is a session's: that called NAME, or a new one that ends with the command.",
        "sessionexec:run",
        takes=(ANY_SESSION, COMMAND),
        options=SESSION_OPTIONS,
        more="Give NAME, or at least one option, and -- before the command. The exit status is the command's.",
    ),
    Command(
        ("mptcp",),
        "Show live MPTCP connections and their subflows: by which link, how much, how fast.",
        "mptcp:show",
        options=(replace(WATCH[0], help="again every second until Ctrl-C"), WATCH[1]),
        more="Rates are bits per second. A backup is estab/b if this end asked for it, /B if the far end did. Further: "
        "mpathctl mptcp monitor, mpathctl mptcp exec.",
    ),
    Command(("mptcp", "monitor"), "Tell what the kernel tells of MPTCP connections, until Ctrl-C.", "mptcp:monitor"),
    Command(
        ("mptcp", "exec"),
        "Run a program that speaks plain TCP with MPTCP; mpathd need not run.",
        "mptcpexec:run",
        takes=(COMMAND,),
        more="Write -- before the command. It needs libmptcpwrap (Debian: mptcpize). The exit status is the command's.",
    ),
    Command(
        ("policy", "check"),
        "Say what mpathd would make of policy files; it need not run.",
        "policy:check",
        takes=(Argument("FILE", "a policy file, NAME.toml or NAME.policy", required=True, kind="file", several=True),),
    ),
    Command(("status",), "Say whether all is well, and what to do if not.", "agent:status"),
    Command(("monitor",), "Tell what mpathd does, one line a fact, until Ctrl-C.", "agent:monitor"),
)
