"""10,000 selectors loaded, one more, one less: passes beside the very same nft transactions alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import sleep, thread_time
from typing import TypeVar

from labkit import Lab, LabError, uplinks
from mpathd import app
from mpathd.agent import LiveAgent
from mpathd.kernel.machine import Machine
from mpathd.kernel.nftables.library import Library
from mpathd.model.packet import Load
from mpathd.plan.bridge import GRACE

from .flows import KINDS, policy
from .inside import Inside
from .stats import number, ratio, table

T = TypeVar("T")
NAME = "load"
COUNT, ROUNDS = 10_000, 5
MOST = 5  # passes to what is wanted; two are enough
ONE = ["*-*-tcp-*-1"]
ALONE, PASS, READ = "the transaction alone", "mpathd's pass", "mpathd reading the file"


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Some work's result, and its milliseconds of processor time: nothing waits here but for a processor.

    Args:
        work: what to do.
    """
    start = thread_time()
    found = work()
    return found, (thread_time() - start) * 1000


@dataclass(slots=True)
class Player:
    """mpathd in one namespace, and in a twin of it libnftables, which gets the same transactions.

    Args:
        loop: of mpathd.
        machine: its hands.
        here: the thread in its namespace.
        there: the thread in the twin's.
        library: the twin's.
        file: the policy file.
        times: milliseconds by what was done and by whom.
    """

    loop: LiveAgent
    machine: Machine
    here: Inside
    there: Inside
    library: Library
    file: Path
    times: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def step(self, what: str, selectors: list[str]) -> None:
        """Let mpathd and then the twin have these selectors.

        Args:
            what: is measured.
            selectors: of the only session.

        Raises:
            LabError: mpathd wrote nothing to nft, or one of both was refused, or others wrote.
        """
        self.file.write_text(policy(selectors))
        _, reading = self.here.do(lambda: timed(self.loop.read_policies))
        alone = passing = 0.0
        for load, took in self._passes(what):
            passing += took
            (_, error), more = self.there.do(partial(timed, partial(self._replay, load)))
            alone += more
            if error:
                raise LabError(f"{what}: nft refuses in the twin what it took before", error[:500])
            self.here.do(self.machine.seal_nft)  # what the daemon does when it has heard of its own write
            if self.here.do(self.machine.nft_moved):
                raise LabError(f"{what}: somebody else writes to nft here", "")
            sleep(GRACE)  # a change of selectors waits halfway: what it goes on with is part of it
        if not alone:
            raise LabError(f"{what}: nothing was written", "")
        for who, value in ((ALONE, alone), (PASS, passing), (READ, reading)):
            self.times.setdefault((what, who), []).append(value)

    def _replay(self, load: Load) -> tuple[str, str]:
        return [self.library.run(text) for text in load.texts][-1]

    def _passes(self, what: str) -> Iterator[tuple[Load, float]]:
        """Passes until one writes nothing: the transactions and milliseconds of each."""
        for _ in range(MOST):
            done, passing = self.here.do(lambda: timed(self.loop.pass_))
            loads = [step.what for step in done.steps if isinstance(step.what, Load)]
            if len(loads) > 1 or done.refused:
                raise LabError(f"{what}: not one load but {len(loads)}", str(done.refused)[:500])
            if not loads:
                return
            yield loads[0], passing
        raise LabError(f"{what}: it still writes after {MOST} passes", "")


def player(stack: ExitStack, turn: int) -> Player:
    """Raise mpathd and the twin.

    Args:
        stack: takes everything down again.
        turn: makes the labs' names.
    """
    folder = Path(stack.enter_context(TemporaryDirectory(prefix="mpathd-")))
    (folder / "policy.d").mkdir()
    (folder / "conf").write_text('[log]\nlevel = "error"\n')
    here, there = (
        stack.enter_context(
            Inside(stack.enter_context(Lab(uplinks(1), f"bn-load{turn}{end}", quiet=True)).ns("client"))
        )
        for end in "ab"
    )
    argv = ["--config", str(folder / "conf"), "--policy-dir", str(folder / "policy.d")]
    argv += ["--state-dir", str(folder / "state"), "--runtime-dir", str(folder / "run")]

    def raised() -> tuple[LiveAgent, Machine]:
        opts, machine = app.options(argv), Machine()
        return app.reconciler(opts, app.setup(opts), machine), machine

    loop, machine = here.do(raised)
    library = there.do(Library)
    stack.callback(lambda: here.do(machine.close))
    stack.callback(lambda: there.do(library.close))
    return Player(loop, machine, here, there, library, folder / "policy.d" / "many.toml")


def run() -> None:
    """Print the table."""
    print(f"{NAME}: {COUNT} selectors of one session, {ROUNDS} times; milliseconds of processor time", flush=True)
    rows = []
    for turn, (kind, make) in enumerate(KINDS.items()):
        flows = make(COUNT + 1)
        with ExitStack() as stack:
            one = player(stack, turn)
            one.step("", ONE)
            one.times.clear()
            for _ in range(ROUNDS):
                one.step(f"all but one loaded, {kind}", flows[1:])
                one.step(f"one more, {kind}", flows)
                one.step(f"one less, {kind}", flows[1:])
                one.step(f"all but one taken away, {kind}", ONE)
        for what in dict.fromkeys(what for what, _ in one.times):
            alone, passing, reading = (median(one.times[what, who]) for who in (ALONE, PASS, READ))
            cells = (number(value) for value in (alone, passing, reading))
            rows.append([what, *cells, ratio(passing, alone), ratio(passing + reading, alone), "2x"])
    print(table(["", ALONE, PASS, READ, "pass of alone", "both of alone", "bar"], rows))
