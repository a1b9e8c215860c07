"""What may stand next on the command line, for the shells; never an error, and nothing when mpathd is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from .parse import find
from .table import COMMANDS, COMMON, GLOBAL, Command, Option

# Candidate and what it is.
Candidate = tuple[str, str]

# Offers the candidates of a kind of argument ("service").
Live = Callable[[str], Iterable[Candidate]]

# Asks the shell to offer files, which it does better.
FILES: Candidate = ("", "FILE")

# What stands before a command that is to be run.
AFTER: Candidate = ("--", "the command follows")


def candidates(words: Sequence[str], live: Live, commands: Sequence[Command] = COMMANDS) -> list[Candidate]:
    """Give what may stand in place of the last word.

    Args:
        words: all after the program's name, up to the one that is being typed, which may be empty.
        live: asks for what only the daemon knows.
        commands: the rows.
    """
    *before, typed = joined(words) or [""]
    return [found for found in _offered(before, typed, live, commands) if found == FILES or found[0].startswith(typed)]


def joined(words: Sequence[str]) -> list[str]:
    """Undo that bash takes "=" for a word of its own: --option = value.

    Args:
        words: as the shell has them.
    """
    out: list[str] = []
    for word in words:
        if out and word == "=" and out[-1].startswith("--"):
            out[-1] += "="
        elif out and out[-1].startswith("--") and out[-1].endswith("="):
            out[-1] += word
        else:
            out.append(word)
    return out


def _offered(before: list[str], typed: str, live: Live, commands: Sequence[Command]) -> Iterator[Candidate]:
    while before and before[0].startswith("-"):
        before = before[1:]
    command, count = find(before, commands)
    if len(before) == count:  # the command itself is still being typed, or could go on
        if typed.startswith("-") and command is None:
            yield from _names(GLOBAL if not before else COMMON, (), typed)
        yield from _words(before, commands)
    if command is None:
        return
    options = (*command.options, *COMMON)
    rest = before[count:]
    run = _run(command, rest, typed)
    if run is not None:
        yield from live("command") if not run and "/" not in typed else (FILES,)
        return
    name, equals, _ = typed.partition("=")
    owner = _option(name, options) if equals else _option(rest[-1], options) if rest else None
    if owner is not None and owner.value and (equals or "=" not in rest[-1]):
        offers = live(owner.kind) if owner.kind else ((choice, "") for choice in owner.choices)
        yield from ((f"{name}{equals}{choice}" if equals else choice, text) for choice, text in offers)
        return
    places = len(_places(rest, options))
    here = [*command.takes[places : places + 1], *(row for row in command.takes[-1:] if row.several)][:1]
    if not typed.startswith("-"):
        for argument in here:
            yield from live(argument.kind)
    if typed.startswith("-") or not here:
        yield from _names(options, rest, typed)
        yield from ((AFTER,) if any(row.many for row in command.takes) else ())


def _words(before: list[str], commands: Sequence[Command]) -> Iterator[Candidate]:
    """The words that commands go on with; the first word of a group has no explanation."""
    at = len(before)
    told = set()
    for row in commands:
        if len(row.words) > at and list(row.words[:at]) == before and row.words[at] not in told:
            told.add(row.words[at])
            yield row.words[at], row.help if len(row.words) == at + 1 else ""


def _option(word: str, options: Iterable[Option]) -> Option | None:
    return next((row for row in options if word.partition("=")[0] in row.names), None)


def _places(rest: list[str], options: Sequence[Option]) -> list[int]:
    """Which words stand in places, options and their values taken away."""
    found, value = [], False
    for at, word in enumerate(rest):
        if value:
            value = False
        elif word.startswith("-"):
            row = _option(word, options)
            value = row is not None and bool(row.value) and "=" not in word
        else:
            found.append(at)
    return found


def _run(command: Command, rest: list[str], typed: str) -> list[str] | None:
    """The words so far of the command that is to be run; None as long as mpathctl's own go on."""
    own = [row for row in command.takes if not row.many]
    if len(own) == len(command.takes):
        return None
    places = _places(rest, (*command.options, *COMMON))
    starts = [*places[len(own) : len(own) + 1], *([rest.index("--") + 1] if "--" in rest else [])]
    if starts:
        return rest[min(starts) :]
    return [] if len(places) == len(own) and not typed.startswith("-") else None


def _names(options: Iterable[Option], rest: Iterable[str], typed: str) -> Iterator[Candidate]:
    """Each option once, by the first of its names that goes on with what is typed."""
    given = {word.partition("=")[0] for word in rest}
    for row in options:
        if row.many or not given & set(row.names):
            yield next((name for name in row.names if name.startswith(typed)), row.names[0]), row.help


def live(kind: str) -> Iterator[Candidate]:
    """Give what only the machine or the daemon knows, with what each is.

    Args:
        kind: of an argument, or of an option's value.
    """
    match kind:
        case "file":
            yield FILES
        case "user" | "group":
            yield from _accounts(kind)
        case "command":
            yield from _programs()
        case "session":
            yield from _sessions()
        case "service" | "identifier" | "interface":
            yield from _services(kind)
        case _:
            pass


def _services(kind: str) -> Iterator[Candidate]:
    """Services: identifiers, and interfaces, each explained by the other."""
    from .client import Client
    from .words import clean

    found = Client.open().services(patience=1.0)
    if kind != "interface":
        yield from ((row.id, clean(f"{row.values.get('Name', '')} on {row.interface}")) for row in found)
    if kind != "identifier":
        yield from ((row.interface, row.id) for row in found if row.interface.isprintable())


def _sessions() -> Iterator[Candidate]:
    from .client import Client
    from .words import clean

    for row in Client.open().sessions(patience=1.0):
        if row.id.isprintable():
            yield row.id, clean(str(row.values.get("Description") or row.values.get("Origin", "")))


def _programs() -> Iterator[Candidate]:
    """What can be run by its name alone."""
    import os

    seen = set()
    for folder in os.get_exec_path():
        with suppress(OSError), os.scandir(folder or ".") as found:
            seen |= {entry.name for entry in found if os.access(entry.path, os.X_OK) and not entry.is_dir()}
    yield from ((name, "") for name in sorted(seen) if name.isprintable())


def _accounts(kind: str) -> Iterator[Candidate]:
    """Users or groups by name."""
    import grp
    import pwd

    if kind == "user":
        yield from ((row.pw_name, str(row.pw_uid)) for row in pwd.getpwall())
    else:
        yield from ((row.gr_name, str(row.gr_gid)) for row in grp.getgrall())


def run(words: Sequence[str]) -> None:
    """Answer a shell: one line a candidate, a tabulator before what it is.

    Args:
        words: all after the program's name, up to the one that is being typed.
    """
    for candidate, text in candidates(words, live):
        print(f"{candidate}\t{text}")
