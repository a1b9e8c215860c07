"""mpathd's main program: arguments, wiring, signals, goodbye."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from . import disk, systemd
from .agent import LiveAgent
from .alarm import Alarm
from .book import Book
from .endpoints import Endpoints
from .kernel import lock
from .kernel.inotify import Inotify
from .kernel.machine import Machine
from .kernel.mptcp import Backend, Diag, Events
from .mender import Mender
from .meter import Meter
from .model.config import Config
from .model.errors import ConfigError
from .model.packet import Load
from .model.view import Finding
from .model.words import Severity
from .model.world import Link
from .mptcpview import Eye
from .options import Options, options, parser
from .plan import config as form
from .plan.desire import desire
from .plan.diff import diff
from .plan.membership import matches
from .plan.naming import identifiers
from .plan.show import show
from .plan.tables import gateways_of_main
from .plan.whose import forbids
from .plan.wishes import Limits
from .policies import CONNMAN_FOLDER, FOLDERS, GRACE, Policies
from .ports import Setup
from .runtime import Bonds, Runtime, lasting
from .sources import Source
from .sources.leases import Dhclient, Networkd
from .sources.main import Main
from .sources.static import Static
from .store import Store

__all__ = ["main", "options", "parser"]

if TYPE_CHECKING:
    from .bus.face import Face

DONE, FAILED = 0, 1
YOUNG = 50_000  # new objects until the youngest are looked through
SEAL = 0.02  # seconds from our last write to nft until it is sealed
LONGEST = 1 << 20  # bytes of a configuration
BUS_PATIENCE = 1.0  # seconds that READY waits for the name on the bus


def read_config(opts: Options) -> Config:
    """Read mpathd.conf; none at all is a configuration too, unless it was named.

    Args:
        opts: the command line.

    Raises:
        ConfigError: it cannot be used.
    """
    try:
        config = form.parse(disk.text(opts.config, LONGEST), str(opts.config))
    except FileNotFoundError:
        if opts.explicit:
            raise ConfigError(f"{opts.config}: no such file", "name one that is there, or leave --config out") from None
        config = Config()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{opts.config}: {disk.reason(error)}", "mpathd must be able to read it as text") from None
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


def reconciler(opts: Options, made: Setup, machine: Machine, folders: Inotify | None = None) -> LiveAgent:
    """Wire the loop.

    Args:
        opts: the command line.
        made: the configuration.
        machine: the hands.
        folders: what watches the sources' folders; None where nothing is watched, nor mended.
    """
    store = Store(opts.state)
    stored, trouble = store.load(mend=folders is not None)
    troubles = (Finding("settings", Severity.HIGH, trouble, "set them again with mpathctl config"),) if trouble else ()

    ours = opts.policies or FOLDERS
    every = (CONNMAN_FOLDER, *ours) if made.config.connman else ours
    policies = Policies(every, folders.writing if folders is not None else frozenset)
    file = lasting(opts.runtime)
    book = Book(policies, opts.state, file)

    def obey(fresh: Setup) -> None:
        logging(fresh.config)
        book.limits = Limits(fresh.config.max_per_user, fresh.config.max_selectors)
        if folders is not None:
            folders.watch([*policies.folders, *(folder for source in fresh.sources for folder in source.folders)])

    obey(made)
    runtime = Runtime(file)
    meter = Meter(machine, runtime)
    endpoints = Endpoints(machine.paths, Bonds(file))
    return LiveAgent(meter, store, stored, made, partial(setup, opts), troubles, book, runtime, obey, meter, endpoints)


def dry_run(loop: LiveAgent, machine: Machine) -> int:
    """Print what would be done.

    Args:
        loop: the loop, which does not run.
        machine: the hands.
    """
    world = loop.look()
    policy = loop.asked(world)
    wanted = desire(world, policy)
    view = show(world, policy, wanted)
    assert loop.endpoints is not None, "reconciler wires them"
    changes, findings = loop.endpoints.intend(view.services, wanted.kernel, policy, world.links)
    for service in view.services:
        print(f"# {service.letters} {service.id} ({service.interface}): {service.because}")
    for finding in (*view.findings, *findings):
        print(f"# {finding.code}: {finding.text}; cure: {finding.cure}")
    have = replace(loop.known(world, wanted.kernel), sockets=machine.recognise(wanted.kernel.sockets))
    for step in diff(wanted.kernel, have, world.rules, world.foreign):
        print("".join(step.what.texts) if isinstance(step.what, Load) else step)
    for change in changes:
        print(change)
    sys.stdout.flush()
    return DONE


def release(loop: LiveAgent) -> int:
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


def goodbye(loop: LiveAgent) -> int:
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


async def serve(loop: LiveAgent, machine: Machine, folders: Inotify, *, keep: bool) -> None:
    """Run until told to stop.

    Args:
        loop: the loop.
        machine: the hands.
        folders: watches the folders of sources and policies.
        keep: the kernel is left as it is, and another mpathd comes: sessions of clients go on.
    """
    stop, hup = asyncio.Event(), asyncio.Event()
    events = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        events.add_signal_handler(number, stop.set)
    events.add_signal_handler(signal.SIGHUP, hup.set)

    seal = Alarm(machine.seal_nft)

    def nft() -> None:
        if machine.nft_moved() and loop.view.sessions:
            loop.poke("nft")
        seal.set(SEAL if machine.nft_unsealed else None)  # it takes longer than the next call should wait

    def read() -> None:
        loop.read_policies()
        loop.poke("file")
        if folders.news:  # came while the files were read, and may be newer than what was read
            events.call_soon(moved)

    def moved() -> None:
        if folders.drain():
            read()
            events.call_later(GRACE * 1.2, read)  # for a file that was only on its way, or is gone for good

    def finished() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has just been closed
            events.call_soon_threadsafe(loop.poke, "endpoints")

    machine.finished = finished
    if loop.endpoints is not None and machine.paths.support.backend is Backend.UPSTREAM:
        mender = Mender(
            loop.endpoints,
            lambda: loop.policy.numbers,
            Events,
            Diag,
            events,
            lambda: forbids(loop.view, loop.policy.numbers),
        )
        loop.endpoints.listen = mender.listen
    events.add_reader(machine.watch.fileno(), loop.hear)
    events.add_reader(folders.fileno(), moved)
    events.add_reader(machine.nft_events.fileno(), nft)
    eye = loop.seeing = Eye(lambda: (loop.view, loop.policy.numbers.mark_mask), loop.heard)
    eye.attend()
    loop.poke("start")
    loop.pass_()  # whoever sees us sees a finished house: first the kernel, then the name, then READY
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop.run())]
        faces = tuple(_faces(loop))
        loop.notes = lambda: {face.name: face.trouble for face in faces if face.trouble}
        tasks.extend(group.create_task(face.serve()) for face in faces)
        tasks.append(group.create_task(_reloads(loop, hup)))
        tasks.append(group.create_task(loop.count()))
        with contextlib.suppress(TimeoutError):  # a bus that does not answer must not hold up the boot
            async with asyncio.timeout(BUS_PATIENCE):
                for face in faces:
                    await face.tried()
        systemd.notify(f"READY=1\nSTATUS={len(loop.view.services)} services")
        _rarely_collect()
        await stop.wait()
        systemd.notify("STOPPING=1")
        for face in faces:
            await face.stop(release=not keep)
        for task in tasks:
            task.cancel()
    eye.close()


def _rarely_collect() -> None:
    """Look for cycles seldom, and never again through what was there at the start: what a pass makes goes by itself,
    and a look through everything takes 3 ms, mostly in the midst of a pass (measured: a quarter of its time).
    """
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)


def _faces(loop: LiveAgent) -> Iterator[Face]:
    from .bus.native import native_face

    config = loop.config
    yield native_face(loop, config.address, config.group)
    if config.connman:
        from .bus.connman.face import connman_face

        yield connman_face(loop, config.address, config.group)


async def _reloads(loop: LiveAgent, hup: asyncio.Event) -> None:
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
    except BrokenPipeError:  # --dry-run | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(opts: Options) -> int:
    """Do what the command line says and give the exit status.

    Args:
        opts: the command line.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    try:
        made = setup(opts)
    except ConfigError as error:
        if not opts.release:
            raise
        print(f"mpathd: {error}\n  going on with the built-in numbers", file=sys.stderr)
        made = Setup(Config(), ())
    logging(made.config)
    if opts.dry_run:
        machine = Machine(idle=True)
        return dry_run(reconciler(opts, made, machine), machine)
    ours = lock.take()
    if ours is None:
        pid, user = lock.other()
        text = f"another mpathd runs in this network namespace (pid {pid}); stop it first"
        if user not in {0, os.geteuid()}:
            text = f"a process of user {user} (pid {pid}) has taken mpathd's place in this network namespace; end it"
        print(f"mpathd: {text}", file=sys.stderr)
        return FAILED
    machine, folders = Machine(), Inotify()
    loop = reconciler(opts, made, machine, folders)
    if opts.release:
        return release(loop)
    asyncio.run(serve(loop, machine, folders, keep=opts.keep or made.config.keep))
    status = DONE
    if not (opts.keep or loop.config.keep):
        status = goodbye(loop)
    folders.close()
    machine.close()
    ours.close()
    return status
