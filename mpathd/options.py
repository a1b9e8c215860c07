"""mpathd's command line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import __version__


@dataclass(frozen=True, slots=True)
class Options:
    """The command line.

    Args:
        config: path of mpathd.conf.
        explicit: it was named, so it must be there.
        state: folder of what lasts.
        runtime: folder of what lasts until the next boot.
        mpathrouting: MultipathRouting is on by default.
        keep: leave routes and rules in place at stop.
        release: clean up after a dead daemon, and end.
        dry_run: print what would be done, and end.
    """

    config: Path
    explicit: bool
    state: Path
    runtime: Path
    policies: tuple[Path, ...]
    mpathrouting: bool
    keep: bool
    release: bool
    dry_run: bool


def parser() -> argparse.ArgumentParser:
    """Build the command line's parser; its texts are checked against mpathd(8)."""
    out = argparse.ArgumentParser(
        prog="mpathd",
        description="Makes several uplinks work at once: one routing table and source rule for each.",
        epilog="See mpathd(8), mpathd.conf(5), mpathctl(1).",
    )
    out.add_argument("--config", metavar="FILE", type=Path, help="configuration (default /etc/mpathd/mpathd.conf)")
    out.add_argument("--state-dir", metavar="DIR", type=Path, help="where settings are kept (default /var/lib/mpathd)")
    out.add_argument("--runtime-dir", metavar="DIR", type=Path, help="what lasts until boot (default /run/mpathd)")
    out.add_argument(
        "--policy-dir", metavar="DIR", type=Path, action="append", default=[], help="policy files; may be repeated"
    )
    out.add_argument("--mpathrouting", action="store_true", help="MultipathRouting is on unless a service says no")
    out.add_argument("--keep", action="store_true", help="leave routes and rules in place when stopped")
    once = out.add_mutually_exclusive_group()
    once.add_argument("--release", action="store_true", help="remove what a dead mpathd left behind, and end")
    once.add_argument("--dry-run", action="store_true", help="print what would be done, as ip commands, and end")
    out.add_argument("--version", action="version", version=f"mpathd {__version__}")
    return out


def options(argv: Sequence[str]) -> Options:
    """Read the command line.

    Args:
        argv: without the program's name.

    Raises:
        SystemExit: it cannot be used; the reason has been written to standard error.
    """
    reader = parser()
    given = reader.parse_args(argv)
    # systemd gives services their folders by name (systemd.exec(5), RuntimeDirectory=, StateDirectory=).
    state = given.state_dir or Path(os.environ.get("STATE_DIRECTORY", "/var/lib/mpathd"))
    runtime = given.runtime_dir or Path(os.environ.get("RUNTIME_DIRECTORY", "/run/mpathd"))
    if state.resolve() == runtime.resolve():
        reader.error(
            f"{state} is both state and runtime folder, and each has a sessions.json of its own; "
            "name two: --state-dir DIR --runtime-dir DIR"
        )
    return Options(
        config=given.config or Path("/etc/mpathd/mpathd.conf"),
        explicit=given.config is not None,
        state=state,
        runtime=runtime,
        policies=tuple(given.policy_dir),
        mpathrouting=given.mpathrouting,
        keep=given.keep,
        release=given.release,
        dry_run=given.dry_run,
    )
