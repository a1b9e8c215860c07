"""The verbs of `netns-lab/lab`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from . import rootless, scenario, state
from .errors import LabError, WordsError
from .lab import Lab
from .rootless import Holder
from .shell import Shell
from .state import State
from .topology import Topology, load, names

INSIDE = "MPATHD_LAB_INSIDE"  # set in the user namespace, where the state is the caller's affair
HOLDER = "MPATHD_LAB_HOLDER"  # there, pid of the process that holds the namespace
SCRIPT = Path(__file__).resolve().parent.parent / "lab"
VENV = SCRIPT.parent.parent / ".venv" / "bin" / "python"
WIDTH, COLUMN = 79, 22  # of a list; its second column
LOOKS = ("-br addr", "rule", "-6 rule", "route", "-6 route")


def main(argv: list[str]) -> int:
    """Runs one verb.

    Args:
        argv: the words after `lab`.

    Returns:
        0 done, 1 failed, 2 wrong words; of `exec`, `shell` and `run` what they ran.
    """
    args = _parse(argv)
    verbs = {"up": _up, "down": _down, "shell": _shell, "exec": _exec, "show": _show, "list": _list, "run": _run}
    try:
        code = verbs[args.verb](args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has seen enough; Python would complain once more when it closes the output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2 if isinstance(error, WordsError) else 1
    except KeyboardInterrupt:
        return 130
    return code


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    args = parser.parse_args(argv)
    args.name, args.quiet = getattr(args, "name", None), getattr(args, "quiet", False)
    if args.verb in ("list", "run") and (args.name or args.quiet):
        parser.error(f"{args.verb} takes no --name and no -q; what a scenario takes: lab run SCENARIO --help")
    args.name = args.name or "lab"
    return args


def _parser() -> argparse.ArgumentParser:
    # Before the verb and behind it; without a default here, since that of the verb would undo what stands before it.
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--name", help="which lab, when several stand side by side (default: lab)")
    common.add_argument("-q", "--quiet", action="store_true", help="do not print the commands")
    parser = argparse.ArgumentParser(
        prog="lab",
        parents=[common],
        description="Networks of namespaces to try mpathd in. Every command is printed as one would type it. "
        "Works as root, and as an ordinary user in a user namespace.",
        epilog="exit status: 0 done, 1 failed, 2 wrong words; of exec, shell and run: what they ran",
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    up = verbs.add_parser("up", parents=[common], help="raise a topology")
    up.add_argument("topology", help="name, uplinks-N, or file.toml; see lab list")
    shell = verbs.add_parser("shell", parents=[common], help="a shell in a host")
    shell.add_argument("host")
    run_in = verbs.add_parser(
        "exec", parents=[common], help="run a command in a host", usage="lab exec [--name NAME] [-q] HOST -- CMD..."
    )
    run_in.add_argument("host")
    run_in.add_argument("command", nargs="+")
    verbs.add_parser("show", parents=[common], help="drawing, addresses, rules and routes as they are now")
    verbs.add_parser("down", parents=[common], help="take it down without a trace")
    verbs.add_parser("list", help="topologies, scenarios, and labs that are up")
    run = verbs.add_parser("run", help="run a scenario", usage="lab run SCENARIO [ARG...]")
    run.add_argument("scenario")
    run.add_argument("args", nargs=argparse.REMAINDER)
    return parser


def _up(args: argparse.Namespace) -> int:
    topology = load(args.topology)
    lab = Lab(topology, args.name, quiet=args.quiet, owner=int(os.environ.get(HOLDER, "0")))
    if INSIDE in os.environ:
        lab.up()
        return 0
    if known := state.find(args.name):
        if _stands(known):
            raise LabError(
                f"lab {args.name} is up already",
                f"topology {known.topology}",
                f"take it down first: lab down{_named(args.name)}",
            )
        known.forget()
    given = str(Path(args.topology).resolve()) if args.topology.endswith(".toml") else args.topology
    if not rootless.is_root():
        return _up_in_holder(args, given)
    now = State(args.name, given)
    now.save()
    try:
        lab.up()
    except BaseException:
        now.forget()
        raise
    _say_next(args, topology)
    return 0


def _up_in_holder(args: argparse.Namespace, given: str) -> int:
    now = State(args.name, given, Holder.start(quiet=args.quiet))
    status = 1
    try:
        now.save()
        status = _again(now, ["up", given, *_common(args)])
    finally:
        if status:
            _end(now)
    if not status:
        _say_next(args, load(given))
    return status


def _say_next(args: argparse.Namespace, topology: Topology) -> None:
    if not args.quiet:
        name = _named(args.name)
        print(
            f"\n{topology.drawing}\nnext: lab shell{name} {topology.hosts[0].name} | lab show{name} | lab down{name}",
            file=sys.stderr,
        )


def _named(name: str) -> str:
    return "" if name == "lab" else f" --name {name}"


def _down(args: argparse.Namespace) -> int:
    if INSIDE in os.environ:
        Lab(load(os.environ[INSIDE]), args.name, quiet=args.quiet).down()
        return 0
    known = _known(args.name)
    status = 0
    if known.holder is None:
        lab = Lab(known.topology, args.name, quiet=args.quiet)
        for ns, pids in lab.pids().items():
            print(
                f"lab: still running in {ns}: pid {' '.join(map(str, pids))}; it keeps its network until it ends",
                file=sys.stderr,
            )
        lab.down()
        known.forget()
    else:
        if known.holder.alive():
            status = _again(known, ["down", *_common(args)])
        _end(known)
    return status


def _end(known: State) -> None:
    if known.holder:
        known.holder.end()
    known.forget()


def _shell(args: argparse.Namespace) -> int:
    prompt = f"[{args.host}] \\w# "
    return _replace(args, ["env", f"PS1={prompt}", "bash", "--norc", "--noprofile"])


def _exec(args: argparse.Namespace) -> int:
    return _replace(args, args.command)


def _replace(args: argparse.Namespace, command: Sequence[str]) -> int:
    known = _known(args.name)
    ns = Lab(known.topology, args.name).ns(args.host)
    argv = _inside(known, ["ip", "netns", "exec", ns, *command])
    Shell(quiet=args.quiet).say(argv)
    sys.stdout.flush()
    os.execvpe(argv[0], argv, os.environ if known.holder is None else rootless.inside_env())  # noqa: S606  what was asked for


def _show(args: argparse.Namespace) -> int:
    known = _known(args.name)
    lab = Lab(known.topology, args.name)
    print(f"{lab.topology.name}: {lab.topology.description}\n\n{lab.topology.drawing}")
    for host in lab.topology.hosts:
        for look in LOOKS:
            words = ["ip", "-n", lab.ns(host.name), *look.split()]
            print(f"[#] {' '.join(words)}")
            done = subprocess.run(_inside(known, words), text=True, capture_output=True, check=False, timeout=30)
            print(done.stdout or done.stderr, end="")
            if done.returncode:
                raise LabError(f"cannot look at {host.name}", done.stderr.strip(), _again_by_hand(known))
        print()
    return 0


def _list(args: argparse.Namespace) -> int:
    del args
    print("topologies:")
    for name in names():
        _item(name, load(name).description)
    _item("uplinks-N", "a client with N uplinks to one far host")
    _item("bond-N[-RATE]", "a client with N uplinks that have a rate, a router and a server")
    print("scenarios:" if scenario.names() else "scenarios: none yet")
    for name in scenario.names():
        _item(name, scenario.description(name))
    for known in state.every():
        print(
            f"up: {known.name} ({known.topology})"
            if _stands(known)
            else f"gone: {known.name} (lab down{_named(known.name)} forgets it)"
        )
    return 0


def _item(name: str, text: str) -> None:
    first, rest = f"{'  ' + name:<{COLUMN}}", " " * COLUMN
    print(textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False))


def _run(args: argparse.Namespace) -> int:
    try:
        run = scenario.load(args.scenario)
    except ModuleNotFoundError as error:
        if not VENV.exists() or Path(sys.prefix) == VENV.parent.parent:
            raise LabError(
                f"scenario {args.scenario} needs the Python package {error.name}",
                f"this is {sys.executable}",
                "netns-lab/demo and tests/run make a .venv with all of them; it is used from then on",
            ) from error
        sys.stdout.flush()
        os.execv(VENV, [str(VENV), str(SCRIPT), "run", args.scenario, *args.args])  # noqa: S606  this program, once more
    rootless.enter()
    return run(args.args)


def _known(name: str) -> State:
    known = state.find(name)
    if known is None:
        raise LabError(
            f"lab {name} is not up", "", f"raise one: lab up three-uplinks{_named(name)} (lab list shows all)"
        )
    return known


def _stands(known: State) -> bool:
    if known.holder:
        return known.holder.alive()
    return bool(Lab(known.topology, known.name).there())


def _inside(known: State, argv: Sequence[str]) -> list[str]:
    if known.holder is None:
        return list(argv)
    if not known.holder.alive():
        ended = f"its process {known.holder.pid} has ended"
        raise LabError(f"lab {known.name} is gone", ended, _again_by_hand(known))
    return known.holder.inside(argv)


def _again_by_hand(known: State) -> str:
    name = _named(known.name)
    return f"lab down{name}, then lab up {known.topology}{name}"


def _again(known: State, words: Sequence[str]) -> int:
    argv = _inside(known, [sys.executable, str(SCRIPT), *words])
    more = {INSIDE: known.topology, HOLDER: str(known.holder.pid if known.holder else 0)}
    return subprocess.run(argv, env=rootless.inside_env(more), check=False).returncode


def _common(args: argparse.Namespace) -> list[str]:
    return ["--name", args.name, *(["--quiet"] if args.quiet else [])]
