"""The one table of commands: parsing, help, completion and the manual's test come from it.

A new command is a row here and a function that it names; a group ("session create") is rows whose words begin alike.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """

    names: tuple[str, ...]
    help: str
    value: str = ""
    choices: tuple[str, ...] = ()
    also: tuple[tuple[str, tuple[str, ...]], ...] = ()
    many: bool = False

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
    """

    name: str
    help: str
    required: bool = False
    kind: str = ""
    many: bool = False


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


COMMANDS = (
    Command(
        ("services",),
        "List the services, or show all about one.",
        "services:show",
        takes=(SERVICE,),
        options=(Option(("-l", "--long"), "a wide table: addresses, gateways and why it is routed or not"),),
        more="Letters: * managed, A AutoConnect, M MultipathRouting; state: R ready, O online, c configuration.",
    ),
    Command(
        ("config",),
        "Change settings of one service, or of every service and the default; without options, show them.",
        "services:config",
        takes=(SERVICE,),
        options=tuple(_option(row) for row in SETTINGS),
        more="Answers when the kernel has it. Without SERVICE, what single services have stored of it is forgotten.",
    ),
    Command(("status",), "Say whether all is well, and what to do if not.", "agent:status"),
    Command(("monitor",), "Tell what mpathd does, one line a fact, until Ctrl-C.", "agent:monitor"),
)
