"""From words to orders; and a table with groups, as later commands will be."""

from __future__ import annotations

import importlib

import pytest

from mpathd.ctl import usage
from mpathd.ctl.errors import Usage
from mpathd.ctl.parse import Order, parse
from mpathd.ctl.table import COMMANDS, JSON, Argument, Command
from mpathd.model.sessionsettings import SESSION_SETTINGS
from mpathd.model.settings import NO, SETTINGS, YES

LATER = (
    *COMMANDS,
    Command(("run",), "Run.", "run:run", takes=(Argument("CMD", "a command", required=True, many=True),)),
)


def told(*words: str) -> tuple[str, dict[str, tuple[str, ...]], tuple[str, ...]]:
    """A command line in short: command, options, words."""
    order = parse(words, LATER)
    return order.command.name if order.command else "", dict(order.options), order.words


def complaint(*words: str) -> str:
    with pytest.raises(Usage) as caught:
        parse(words, LATER)
    return str(caught.value)


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_every_row_names_a_function(row: Command) -> None:
    module, _, function = row.run.partition(":")
    assert callable(getattr(importlib.import_module(f"mpathd.ctl.{module}"), function))


def test_every_setting_is_an_option_of_config() -> None:
    (config,) = (row for row in COMMANDS if row.name == "config")
    assert [option.key for option in config.options] == [row.option for row in SETTINGS]


@pytest.mark.parametrize("name", ["session create", "session change", "session exec"])
def test_every_setting_of_sessions_is_an_option(name: str) -> None:
    (command,) = (row for row in COMMANDS if row.name == name)
    assert [(option.key, option.many) for option in command.options] == [
        (row.option, row.repeat) for row in SESSION_SETTINGS
    ]


def test_a_command_with_everything() -> None:
    wanted = ("config", {"json": (), "mpath_routing": ("yes",), "mpath_tcp_link": ("backup",)}, ("eth0",))

    assert told("config", "eth0", "--mpath_routing", "yes", "--mpath_tcp_link", "backup", "--json") == wanted
    assert told("--json", "config", "--mpath_routing=yes", "eth0", "--mpath_tcp_link=backup") == wanted
    assert told("config", "--json", "--mpath-routing", "Yes", "--mpath-tcp-link=BACKUP", "--", "eth0") == wanted


@pytest.mark.parametrize(("words", "wanted"), [(YES, "yes"), (NO, "no")], ids=["yes", "no"])
def test_every_word_for_yes_and_no_is_taken_in_any_case(words: tuple[str, ...], wanted: str) -> None:
    for word in words:
        for spelling in (word, word.upper(), word.title()):
            assert told("config", f"--autoconnect={spelling}")[1] == {"autoconnect": (wanted,)}


def test_the_last_of_two_counts_unless_many_are_wanted() -> None:
    assert told("config", "--autoconnect", "yes", "--autoconnect", "no")[1] == {"autoconnect": ("no",)}
    bearers = ("session", "create", "x", "--bearer", "wifi", "--bearer", "ethernet")
    assert told(*bearers)[1] == {"bearer": ("wifi", "ethernet")}


def test_groups_are_rows_whose_words_begin_alike() -> None:
    assert told("session", "list") == ("session list", {}, ())
    assert told("mptcp") == ("mptcp", {}, ())
    assert told("mptcp", "--watch") == ("mptcp", {"watch": ()}, ())
    assert told("mptcp", "monitor") == ("mptcp monitor", {}, ())
    assert parse(["session"], LATER) == Order(None, group=("session",))
    assert parse(["session", "--help"], LATER) == Order(None, {"help": ()}, group=("session",))


@pytest.mark.parametrize(
    ("words", "options", "places", "tail"),
    [
        (("run", "--json", "ls", "-l", "--help", "--"), {"json": ()}, (), ("ls", "-l", "--help", "--")),
        (("run", "--", "--odd-name", "--json"), {}, (), ("--odd-name", "--json")),
        (("session", "exec", "video", "ls", "--json"), {}, ("video",), ("ls", "--json")),
        (("session", "exec", "video", "--", "ls", "--", ""), {}, ("video",), ("ls", "--", "")),
        (("session", "exec", "--json", "video", "--", "ls"), {"json": ()}, ("video",), ("ls",)),
        (("session", "exec", "--bearer", "wifi", "--", "ls", "-l"), {"bearer": ("wifi",)}, (), ("ls", "-l")),
        (("session", "exec", "--bearer=wifi", "video", "ls"), {"bearer": ("wifi",)}, ("video",), ("ls",)),
    ],
)
def test_a_command_that_takes_a_command_takes_it_with_its_options(
    words: tuple[str, ...], options: dict[str, tuple[str, ...]], places: tuple[str, ...], tail: tuple[str, ...]
) -> None:
    order = parse(words, LATER)

    assert (order.options, order.words, order.tail) == (options, places, tail)


def test_a_command_that_is_to_be_run_is_missed() -> None:
    for words in (("run",), ("run", "--")):
        assert complaint(*words) == "run: CMD is missing\n  see: mpathctl run --help"
    assert complaint("run", "") == "run: CMD is empty\n  see: mpathctl run --help"
    assert complaint("session", "exec", "video") == (
        "session exec: COMMAND is missing\n  see: mpathctl session exec --help"
    )


def test_a_place_that_several_take_has_options_between() -> None:
    assert told("policy", "check", "a", "--json", "b") == ("policy check", {"json": ()}, ("a", "b"))
    assert complaint("policy", "check", "a", "") == ("policy check: FILE is empty\n  see: mpathctl policy check --help")
    assert complaint("policy", "check").startswith("policy check: FILE is missing\n")


def test_an_empty_value_clears_where_that_makes_sense() -> None:
    given = told("session", "change", "x", "--type=", "--flow=", "--nat", "never", "--priority=")[1]

    assert given == {"type": ("",), "flow": ("",), "nat": ("never",), "priority": ("",)}
    assert complaint("session", "change", "x", "--type=best") == (
        "option --type cannot be 'best'\n  expected one of: any, local, internet"
    )
    assert complaint("session", "create", "x", "--bearer", "ether").startswith("option --bearer cannot be 'ether'")


def test_help_asks_for_nothing_else() -> None:
    assert told("session", "create", "--help") == ("session create", {"help": ()}, ())
    assert told("--help") == ("", {"help": ()}, ())
    assert told("--version", "services")[1] == {"version": ()}


def test_a_word_behind_a_command_that_has_others_below_it_names_them() -> None:
    known = "commands: mptcp, mptcp monitor, mptcp exec; options of mptcp: --watch, --interval, --json, --help"

    assert complaint("mptcp", "frobnicate") == f"no command called 'mptcp frobnicate'\n  {known}"
    assert complaint("mptcp", "moniter") == (
        f"no command called 'mptcp moniter'\n  did you mean 'mptcp monitor'? {known}"
    )
    for word in ("wach", "watch", "Watch"):
        assert complaint("mptcp", word) == (
            f"no command called 'mptcp {word}'\n  did you mean 'mptcp --watch'? {known}"
        )


def test_what_is_nearly_right_is_named() -> None:
    assert complaint("config", "--mpath-rooting", "yes").startswith(
        "mpathctl config has no option '--mpath-rooting'\n  did you mean '--mpath-routing'? options: --mpath_routing, "
    )
    assert complaint("session", "stats", "a", "watch") == (
        "session stats: 'watch' is one word too many\n  did you mean '--watch'? see: mpathctl session stats --help"
    )


def test_whatever_does_not_fit_is_named_with_what_would() -> None:
    assert complaint("servces") == (
        "no command called 'servces'\n  did you mean 'services'? "
        "commands: services, config, session, mptcp, policy, status, monitor, run"
    )
    assert complaint("session", "lst") == (
        "no command called 'session lst'\n  did you mean 'list'? commands: list, show, create, change, destroy, "
        "connect, disconnect, monitor, stats, exec"
    )
    assert complaint("frobnicate").startswith("no command called 'frobnicate'\n  commands: services, config, ")
    assert complaint("--colour") == "mpathctl has no option '--colour'\n  options: --json, --help, --version"
    assert complaint("status", "-l") == "mpathctl status has no option '-l'\n  options: --json, --help"
    assert complaint("config", "--mpath_routing") == (
        "option --mpath_routing has no value\n  expected: --mpath_routing yes|no"
    )
    assert complaint("config", "--mpath-tcp-link", "--json") == (
        "option --mpath-tcp-link has no value\n  expected: --mpath-tcp-link on|backup|off"
    )
    assert complaint("config", "x", "--mpath_tcp_link", "yes") == (
        "option --mpath_tcp_link cannot be 'yes'\n  expected one of: on, backup, off"
    )
    assert complaint("config", "--autoconnect=") == "option --autoconnect cannot be ''\n  expected one of: yes, no"
    assert complaint("services", "--json=yes") == "option --json takes no value, given was 'yes'\n  write it as: --json"
    assert complaint("services", "a", "b") == "services: 'b' is one word too many\n  see: mpathctl services --help"
    assert complaint("services", "") == "services: SERVICE is empty\n  see: mpathctl services --help"
    assert complaint("session", "create") == "session create: NAME is missing\n  see: mpathctl session create --help"


def test_help_of_a_command() -> None:
    (row,) = (row for row in LATER if row.name == "services")

    assert (
        usage.one(row)
        == """\
usage: mpathctl services [SERVICE] [-l] [--before ID] [--after ID] [--json]

List the services, or show all about one, or put one elsewhere in the order.

  SERVICE              a service's identifier, its interface, or a beginning of
                       either that fits no other
  -l, --long           a wide table: addresses, gateways and why it is routed
                       or not
  --before ID          put SERVICE directly before this one, and list them
  --after ID           put SERVICE directly behind this one, and list them
  --json               print JSON, for programs; fields are added, never
                       changed
  --help, -h           show this help

Letters: * managed, A AutoConnect, M MultipathRouting; state: R ready, O
online, c configuration. The order is kept; among those that are connected, a
session takes the first of its best bearer."""
    )


def test_help_of_a_group() -> None:
    assert (
        usage.whole(("mptcp",), LATER)
        == """\
usage: mpathctl mptcp COMMAND [ARGUMENTS]

commands:
  mptcp                Show live MPTCP connections and their subflows: by which
                       link, how much, how fast.
  mptcp monitor        Tell what the kernel tells of MPTCP connections, until
                       Ctrl-C.
  mptcp exec           Run a program that speaks plain TCP with MPTCP; mpathd
                       need not run.

options:
  --json               print JSON, for programs; fields are added, never
                       changed
  --help, -h           show this help

More on each: mpathctl mptcp COMMAND --help, and mpathctl(1)."""
    )


def test_usage_shows_where_a_command_stands() -> None:
    (row,) = (row for row in LATER if row.name == "session exec")

    assert usage.synopsis(row).startswith("mpathctl session exec [NAME] [--bearer B]... [--type ")
    assert usage.synopsis(row).endswith(" [--json] -- COMMAND...")


@pytest.mark.parametrize("row", LATER, ids=lambda row: row.name)
def test_help_has_everything_that_the_row_has(row: Command) -> None:
    text = usage.one(row)
    for option in (*row.options, JSON):
        assert option.names[0] in text
        assert option.help.split()[0] in text
    for argument in row.takes:
        assert argument.name in text
    assert row.name in usage.whole((), LATER)
