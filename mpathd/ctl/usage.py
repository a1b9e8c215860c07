"""Help, made from the table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from .table import COMMANDS, COMMON, GLOBAL, Command, Option

WIDTH = 79
INTRO = "mpathctl asks and tells mpathd, which makes several uplinks work at once."
OUTRO = "Exit status: 0 done, 1 failed, 2 usage, 3 mpathd or the bus is not there, 4 saved but not applied."


def _names(option: Option) -> str:
    """An option as the first column of help shows it; other spellings of the same letters are left out."""
    shown = {name.replace("-", "_"): name for name in reversed(option.names)}
    return ", ".join(reversed(shown.values())) + (f" {option.value}" if option.value else "")


def _rows(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns, the second wrapped."""
    lines = []
    for left, right in rows:
        start = f"  {left:<20} "
        if len(left) > 20:
            lines.append(f"  {left}")
            start = " " * 23
        lines.append(textwrap.fill(right, WIDTH, initial_indent=start, subsequent_indent=" " * 23))
    return "\n".join(lines)


def synopsis(command: Command) -> str:
    """Give a command's line of usage.

    Args:
        command: its row.
    """
    parts = ["mpathctl", command.name]
    for argument in command.takes:
        name = argument.name + ("..." if argument.several else "")
        if not argument.many:
            parts.append(name if argument.required else f"[{name}]")
    for option in (*command.options, *COMMON[:1]):
        value = f" {option.value}" if option.value else ""
        parts.append(f"[{option.names[0]}{value}]" + ("..." if option.many else ""))
    parts += [f"-- {argument.name}..." for argument in command.takes if argument.many]
    return " ".join(parts)


def one(command: Command) -> str:
    """Give the help of a command.

    Args:
        command: its row.
    """
    # One line, also a long one: terminals wrap it, and it can be copied whole.
    usage = f"usage: {synopsis(command)}"
    rows = [(argument.name, argument.help) for argument in command.takes]
    rows += [(_names(option), option.help) for option in (*command.options, *COMMON)]
    parts = [usage, textwrap.fill(command.help, WIDTH), _rows(rows)]
    if command.more:
        parts.append(textwrap.fill(command.more, WIDTH))
    return "\n\n".join(parts)


def whole(group: Sequence[str] = (), commands: Sequence[Command] = COMMANDS) -> str:
    """Give the help of mpathctl, or of a group of commands.

    Args:
        group: the words that the group's commands begin with.
        commands: the rows.
    """
    within = [row for row in commands if row.words[: len(group)] == tuple(group)]
    options = () if group else GLOBAL
    parts = [
        f"usage: {' '.join(('mpathctl', *group, 'COMMAND'))} [ARGUMENTS]",
        *((INTRO,) if not group else ()),
        "commands:\n" + _rows((row.name, row.help) for row in within),
        "options:\n" + _rows((_names(option), option.help) for option in options or COMMON),
        f"More on each: {' '.join(('mpathctl', *group, 'COMMAND'))} --help, and mpathctl(1).",
        *((textwrap.fill(OUTRO, WIDTH),) if not group else ()),
    ]
    return "\n\n".join(parts)
