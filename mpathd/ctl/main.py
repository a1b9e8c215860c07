"""The program: words in, an exit status out, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from mpathd.model.errors import MpathError

from .errors import DONE, FAILED, USAGE, status
from .parse import Order, parse

# What shells call for completion; not in help.
COMPLETE = "--complete"

INTERRUPTED = 130  # what shells expect: 128 + SIGINT


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says and give the exit status.

    Args:
        words: all after the program's name; by default those that it was started with.
    """
    given = list(sys.argv[1:] if words is None else words)
    try:
        if given[:1] == [COMPLETE]:
            return _complete(given[1:])
        code = _obey(parse(given))
        sys.stdout.flush()
    except MpathError as error:
        print(f"mpathctl: {error}", file=sys.stderr)
        return status(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough. Python would complain once more when it closes the output: give it another.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        print(f"mpathctl: cannot write the result: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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

    try:
        complete.run(words)
        sys.stdout.flush()
    except (MpathError, OSError):
        pass
    return DONE
