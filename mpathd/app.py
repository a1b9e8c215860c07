"""mpathd's main program: arguments, wiring, signals, goodbye."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__, systemd
from .kernel import lock
from .kernel.inotify import Inotify
from .kernel.machine import Machine
from .model.config import Config
from .model.errors import ConfigError
from .model.view import Finding
from .model.words import Severity
from .model.world import Link
from .plan import config as form
from .plan.desire import desire
from .plan.diff import diff
from .plan.membership import matches
from .plan.naming import identifiers
from .plan.tables import gateways_of_main
from .reconcile import Reconciler, Setup
from .sources import Source
from .sources.leases import Dhclient, Networkd
from .sources.main import Main
from .sources.static import Static
from .store import Store

if TYPE_CHECKING:
    from .bus.face import Face

DONE, FAILED = 0, 1
BUS_PATIENCE = 1.0  # seconds that READY waits for the name on the bus


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
    out.add_argument("--release", action="store_true", help="remove what a dead mpathd left behind, and end")
    out.add_argument("--dry-run", action="store_true", help="print what would be done, as ip commands, and end")
    out.add_argument("--version", action="version", version=f"mpathd {__version__}")
    return out


def options(argv: Sequence[str]) -> Options:
    """Read the command line.

    Args:
        argv: without the program's name.
    """
    given = parser().parse_args(argv)
    # systemd gives services their folders by name (systemd.exec(5), RuntimeDirectory=, StateDirectory=).
    state = given.state_dir or Path(os.environ.get("STATE_DIRECTORY", "/var/lib/mpathd"))
    runtime = given.runtime_dir or Path(os.environ.get("RUNTIME_DIRECTORY", "/run/mpathd"))
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


def read_config(opts: Options) -> Config:
    """Read mpathd.conf; none at all is a configuration too, unless it was named.

    Args:
        opts: the command line.

    Raises:
        ConfigError: it cannot be used.
    """
    try:
        config = form.parse(opts.config.read_text(), str(opts.config))
    except FileNotFoundError:
        if opts.explicit:
            raise ConfigError(f"{opts.config}: no such file", "name one that is there, or leave --config out") from None
        config = Config()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{opts.config}: {error}", "mpathd must be able to read it as text") from None
    if opts.mpathrouting:
        policy = config.policy
        config = replace(config, policy=replace(policy, defaults=replace(policy.defaults, multipath_routing=True)))
    return config


def _matches(link: Link, name: str) -> bool:
    return matches(link, next(iter(identifiers([link]).values())), name)


def setup(opts: Options) -> Setup:
    """Make what a configuration asks for.

    Args:
        opts: the command line.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    config = read_config(opts)
    every: dict[str, Source] = {
        source.name: source
        for source in (Static(config.policy.static, _matches), Main(gateways_of_main), Networkd(), Dhclient())
    }
    return Setup(config, tuple(every[name] for name in config.policy.source_order))


def logging(config: Config) -> None:
    """Make structlog write for people on a terminal, and JSON otherwise.

    Args:
        config: level and format.
    """
    import structlog

    text = config.format == "text" or (config.format == "auto" and sys.stderr.isatty())
    levels = {"debug": 10, "info": 20, "warning": 30, "error": 40}
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if text else "iso", utc=not text),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=False) if text else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(levels[config.level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def reconciler(opts: Options, made: Setup, machine: Machine) -> Reconciler:
    """Wire the loop.

    Args:
        opts: the command line.
        made: the configuration.
        machine: the hands.
    """
    store = Store(opts.state)
    stored, trouble = store.load()
    lasting = (Finding("settings", Severity.HIGH, trouble, "set them again with mpathctl config"),) if trouble else ()
    return Reconciler(machine, store, stored, made, partial(setup, opts), lasting)


def dry_run(loop: Reconciler) -> int:
    """Print what would be done.

    Args:
        loop: the loop, which does not run.
    """
    world = loop.look()
    wanted = desire(world, loop.policy)
    for service in wanted.view.services:
        print(f"# {service.letters} {service.id} ({service.interface}): {service.because}")
    for finding in wanted.view.findings:
        print(f"# {finding.code}: {finding.text}; cure: {finding.cure}")
    for step in diff(wanted.kernel, world.have, world.rules):
        print(step)
    return DONE


def release(loop: Reconciler) -> int:
    """Take away what is ours.

    Args:
        loop: the loop, which does not run.
    """
    done, refused = loop.release()
    for step in done:
        print(f"[#] {step}")
    for _, refusal in refused:
        print(f"mpathd: {refusal}", file=sys.stderr)
    return FAILED if refused else DONE


def goodbye(loop: Reconciler) -> int:
    """Take away what is ours at stop, and log it.

    Args:
        loop: the loop, which has ended.
    """
    import structlog

    done, refused = loop.release()
    log = structlog.get_logger("mpathd")
    log.info("stopped", removed=len(done), refused=len(refused))
    for _, refusal in refused:
        log.error("refused", command=refusal.command, reason=refusal.text)
    return FAILED if refused else DONE


async def serve(opts: Options, loop: Reconciler, machine: Machine) -> None:
    """Run until told to stop.

    Args:
        opts: the command line.
        loop: the loop.
        machine: the hands.
    """
    stop = asyncio.Event()
    events = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        events.add_signal_handler(number, stop.set)

    def heard() -> None:
        if kinds := machine.watch.drain():
            loop.poke(", ".join(sorted(kinds)))

    folders = Inotify()

    def moved() -> None:
        if folders.drain():
            loop.poke("lease")

    events.add_reader(machine.watch.fileno(), heard)
    events.add_reader(folders.fileno(), moved)
    folders.watch(folder for source in setup(opts).sources for folder in source.folders)
    loop.poke("start")
    loop.pass_()  # whoever sees us sees a finished house: first the kernel, then the name, then READY
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop.run())]
        face = _face(loop)
        tasks.append(group.create_task(face.serve()))
        hup = asyncio.Event()
        events.add_signal_handler(signal.SIGHUP, hup.set)
        tasks.append(group.create_task(_reloads(loop, hup)))
        with contextlib.suppress(TimeoutError):  # a bus that does not answer must not hold up the boot
            await asyncio.wait_for(face.tried(), BUS_PATIENCE)
        systemd.notify(f"READY=1\nSTATUS={len(loop.view.services)} services")
        await stop.wait()
        systemd.notify("STOPPING=1")
        await face.stop()
        for task in tasks:
            task.cancel()
    folders.close()


def _face(loop: Reconciler) -> Face:
    from .bus.native import native_face

    return native_face(loop, loop.config.address, loop.config.group)


async def _reloads(loop: Reconciler, hup: asyncio.Event) -> None:
    import structlog

    while True:
        await hup.wait()
        hup.clear()
        systemd.notify("RELOADING=1")
        with contextlib.suppress(ConfigError):
            await loop.reload()
        structlog.get_logger("mpathd").info("reload", config=loop.config.path)
        systemd.notify("READY=1")


def main() -> None:
    """Be mpathd."""
    opts = options(sys.argv[1:])
    try:
        sys.exit(run(opts))
    except ConfigError as error:
        print(f"mpathd: {error}", file=sys.stderr)
        sys.exit(FAILED)


def run(opts: Options) -> int:
    """Do what the command line says and give the exit status.

    Args:
        opts: the command line.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    made = setup(opts)
    logging(made.config)
    if opts.dry_run:
        return dry_run(reconciler(opts, made, Machine()))
    ours = lock.take()
    if ours is None:
        pid = lock.other()
        print(f"mpathd: another mpathd runs in this network namespace (pid {pid}); stop it first", file=sys.stderr)
        return FAILED
    machine = Machine()
    loop = reconciler(opts, made, machine)
    if opts.release:
        return release(loop)
    asyncio.run(serve(opts, loop, machine))
    status = DONE
    if not (opts.keep or loop.config.keep):
        status = goodbye(loop)
    machine.close()
    ours.close()
    return status
