"""The program but for its door: words in, an exit status out, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper

from mpathd.model.errors import MpathError

from .errors import DONE, FAILED, USAGE, status
from .parse import Order, parse
from .show import complain

# What shells call for completion; not in help.
COMPLETE = "--complete"


def work(words: Sequence[str] | None = None) -> int:
    """Do what the command line says and give the exit status.

    Args:
        words: all after the program's name; by default those that it was started with.
    """
    given = list(sys.argv[1:] if words is None else words)
    _prepare()
    try:
        code = _complete(given[1:]) if given[:1] == [COMPLETE] else _obey(parse(given))
        sys.stdout.flush()
    except MpathError as error:
        complain(str(error))
        return status(error)
    except BrokenPipeError:
        _give_up_output()  # the reader has seen enough
        return DONE
    except OSError as error:
        complain(f"cannot write the result: {error.strerror or error}")
        _give_up_output()
        return FAILED
    except Exception as error:
        version = "report it, with: mpathctl --version; mpathctl status --json"
        complain(f"this should not have happened: {type(error).__name__}: {error}\n  {version}")
        return FAILED
    return code


def _obey(order: Order) -> int:
    from importlib import import_module

    command = order.command
    if order.has("version"):
        from mpathd import __version__

        print(f"mpathctl {__version__}")
    elif command is not None and not order.has("help"):
        module, _, function = command.run.partition(":")
        result = getattr(import_module(f".{module}", __package__), function)(order)
        return DONE if result is None else int(result)
    else:
        from . import usage

        asked = order.has("help")
        text = usage.one(command) if command is not None else usage.whole(order.group)
        print(text, file=sys.stdout if asked else sys.stderr)
        return DONE if asked else USAGE
    return DONE


def _complete(words: list[str]) -> int:
    """Say what fits, or nothing: an error would land in the middle of somebody's typing."""
    from . import complete

    with suppress(MpathError):
        complete.run(words)
    return DONE


def _prepare() -> None:
    """Make output that always works: closed by the caller, or of a locale that cannot write every name."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # lasts as long as we do
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _give_up_output() -> None:
    """Let what is left go nowhere: Python would complain once more when it closes the output."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
