"""From the words of the command line to an order, by the table; whatever does not fit is a Usage error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..model.near import guess
from .errors import Usage
from .table import COMMANDS, COMMON, GLOBAL, Argument, Command, Option


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done.

    Args:
        command: the row; None when only a global option was given, or nothing.
        options: key of an option to its values; a flag has none.
        words: the words by place.
        group: the words that did not make a whole command ("session").
        tail: the command that is to be run, of commands that take one; the words by place are without it.
    """

    command: Command | None
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    words: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()

    def has(self, key: str) -> bool:
        """Whether an option was given.

        Args:
            key: the option's.
        """
        return key in self.options


def find(words: Sequence[str], commands: Sequence[Command] = COMMANDS) -> tuple[Command | None, int]:
    """Find the command that words begin with, and how many of them name it; or how many name a group.

    Args:
        words: the command line, global options taken away.
        commands: the rows.
    """
    count = 0
    while count < len(words):
        taken = tuple(words[: count + 1])
        below = [row for row in commands if row.words[: count + 1] == taken]
        if not below:
            break
        count += 1
        whole = [row for row in below if row.words == taken]
        if whole and len(below) == 1:
            return whole[0], count
    return next((row for row in commands if row.words == tuple(words[:count])), None), count


def parse(words: Sequence[str], commands: Sequence[Command] = COMMANDS) -> Order:
    """Read a command line.

    Args:
        words: all of it after the program's name.
        commands: the rows.

    Raises:
        Usage: it does not fit the table.
    """
    rest = list(words)
    given: dict[str, tuple[str, ...]] = {}
    while rest and rest[0].startswith("-") and rest[0] != "--":
        _take_option(rest, GLOBAL, given, "mpathctl")
    command, count = find(rest, commands)
    group = tuple(rest[:count])
    if command is None:
        unknown = next((word for word in rest[count:] if not word.startswith("-")), None)
        if unknown is None:
            rest = rest[count:]
            while rest:
                _take_option(rest, COMMON, given, " ".join(("mpathctl", *group)))
            return Order(None, given, group=group)
        within = [row.words[count] for row in commands if row.words[:count] == group]
        label = " ".join((*group, unknown))
        known = dict.fromkeys(within)
        raise Usage(f"no command called '{label}'", f"{guess(unknown, known)}commands: {', '.join(known)}")
    rest = rest[count:]
    takes = tuple(argument for argument in command.takes if not argument.many)
    takes_all = takes != command.takes
    places: list[str] = []
    tail: list[str] = []
    only_places = False
    while rest:
        if rest[0] == "--" and not only_places:
            rest.pop(0)
            only_places = True
            if takes_all:
                tail, rest = rest, []
        elif only_places or rest[0] == "-" or not rest[0].startswith("-"):
            if takes_all and len(places) == len(takes):
                tail, rest = rest, []
            else:
                places.append(rest.pop(0))
        else:
            _take_option(rest, (*command.options, *COMMON), given, f"mpathctl {command.name}")
    if not given.keys() & {"help"}:
        if places and not command.takes:
            _check_below(command, places[0], commands)
        _check_places(command, takes, places)
        _check_places(command, tuple(row for row in command.takes if row.many), tail)
    return Order(command, given, tuple(places), tail=tuple(tail))


def _check_below(command: Command, word: str, commands: Sequence[Command]) -> None:
    """Take it that a word behind a command that takes none was to be a command below it, if there are such."""
    count = len(command.words)
    below = {row.words[count]: row.name for row in commands if row.words[:count] == command.words != row.words}
    if not below:
        return
    options = [row.names[0] for row in (*command.options, *COMMON)]
    known = f"commands: {', '.join((command.name, *below.values()))}; options of {command.name}: {', '.join(options)}"
    hint = guess(word, (*below, *options), command.name)
    raise Usage(f"no command called '{command.name} {word}'", f"{hint}{known}")


def _check_places(command: Command, takes: Sequence[Argument], places: list[str]) -> None:
    usage = f"see: mpathctl {command.name} --help"
    further = [argument for argument in takes if argument.several] * (len(places) - len(takes))
    for argument, word in zip((*takes, *further), places, strict=False):
        if not word:
            raise Usage(f"{command.name}: {argument.name} is empty", usage)
    if len(places) > len(takes) and not any(row.many or row.several for row in takes):
        word = places[len(takes)]
        hint = guess(word, [name for option in command.options for name in option.names])
        raise Usage(f"{command.name}: '{word}' is one word too many", f"{hint}{usage}")
    missing = [argument.name for argument in takes[len(places) :] if argument.required]
    if missing:
        raise Usage(f"{command.name}: {' '.join(missing)} is missing", usage)


def _take_option(rest: list[str], options: Sequence[Option], given: dict[str, tuple[str, ...]], program: str) -> None:
    """Take one option, and its value, from the front of the line."""
    word = rest.pop(0)
    name, equals, value = word.partition("=")
    option = next((row for row in options if name in row.names), None)
    if option is None:
        known = ", ".join(row.names[0] for row in options)
        hint = guess(name, [name for row in options for name in row.names])
        raise Usage(f"{program} has no option '{name}'", f"{hint}options: {known}")
    if not option.value:
        if equals:
            raise Usage(f"option {name} takes no value, given was '{value}'", f"write it as: {name}")
        given[option.key] = ()
        return
    if not equals:
        if not rest or rest[0].startswith("--"):
            raise Usage(f"option {name} has no value", f"expected: {name} {option.value}")
        value = rest.pop(0)
    value = _choice(option, name, value)
    given[option.key] = (*given.get(option.key, ()), value) if option.many else (value,)


def _choice(option: Option, name: str, value: str) -> str:
    """The value in the table's own spelling."""
    if not option.choices or (option.clears and not value):
        return value
    plain = value.lower()
    if plain in option.choices:
        return plain
    for choice, spellings in option.also:
        if plain in spellings:
            return choice
    raise Usage(f"option {name} cannot be '{value}'", f"expected one of: {', '.join(option.choices)}")
