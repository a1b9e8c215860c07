"""The loop: poke, look, desire, diff, apply, publish. The only writer.

Rule 1: events only say "look again", and at what. Nothing is inferred from one: the kernel drops IPv4 routes of a link
that is set down without telling anybody (seen on 6.18).
Rule 2: start, event, setting, retry and goodbye are the same road.
A pass runs without a pause inside: between its look and its last write nobody of this process gets in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from time import monotonic

import structlog

from .alarm import Alarm
from .endpoints import Endpoints, nothing
from .model.agent import Pass
from .model.config import Config
from .model.errors import MpathError, Refusal
from .model.policy import Policy, Stored
from .model.renew import renew
from .model.routing import KernelState, Step
from .model.session import SessionSettings
from .model.view import Finding, View
from .model.world import Gateway, World
from .plan.bridge import GRACE, Bridge
from .plan.contest import Contest
from .plan.desire import desire
from .plan.diff import Phase, diff, held_back, phase, tables_of, turned
from .plan.numbering import number
from .plan.outcome import Refused, confirmed, fault, in_force, troubles
from .plan.recall import Recall
from .plan.show import listed, show
from .ports import Bookkeeping, Keeper, Kernel, Memory, Metering, Setup

log = structlog.get_logger("mpathd")

RETRY, RETRY_LONGEST = 0.1, 60.0  # seconds until a refused step is tried again, doubling
BURST = 8  # passes back to back before floods are paced
PACE = 0.02  # seconds between passes of a flood: at most half of a processor at 20 ms a pass
REVIEW = GRACE  # seconds from our last write until it is looked at: what waits on the bridge goes on with it
EXPIRY_SLACK = 0.03  # seconds behind a route's end, of which the kernel tells hundredths
NEWS = 256  # passes that a slow listener may be behind before it loses the oldest


class Loop:
    """Keeps the kernel as it should be.

    Args:
        kernel: the hands.
        memory: where settings are kept.
        stored: what was kept.
        setup: the configuration in force.
        load: reads the configuration anew, or raises ConfigError.
        lasting: findings that hold until the next start (a settings file that could not be read).
        book: the sessions that are asked for.
        keeper: what lasts over a restart.
        obey: does what a new configuration asks for outside the loop (log level, folders to watch).
        meter: what knows of statistics.
        endpoints: the part of a pass that is about MPTCP.
    """

    def __init__(
        self,
        kernel: Kernel,
        memory: Memory,
        stored: Stored,
        setup: Setup,
        load: Callable[[], Setup],
        lasting: tuple[Finding, ...] = (),
        book: Bookkeeping | None = None,
        keeper: Keeper | None = None,
        obey: Callable[[Setup], None] = lambda _setup: None,
        meter: Metering | None = None,
        endpoints: Endpoints | None = None,
    ) -> None:
        self._kernel = kernel
        self._memory = memory
        self._stored = stored
        self._setup = setup
        self._policy = replace(setup.config.policy, stored=stored)
        self._load = load
        self._lasting = lasting
        self._book, self._keeper = book, keeper
        self._sessions: tuple[SessionSettings, ...] = ()
        self._markless: tuple[str, ...] = ()
        self._session_troubles: tuple[Finding, ...] = ()
        self.read_policies()
        self._obey, self._meter, self.endpoints = obey, meter, endpoints
        self._reload_trouble: tuple[Finding, ...] = ()
        self._poked, self._paced = asyncio.Event(), asyncio.Event()
        self._reasons: dict[str, None] = {}
        self._asked, self._whole, self._paths = 0, True, True
        self._waiting: list[tuple[int, asyncio.Future[Pass]]] = []
        self._news: set[asyncio.Queue[Pass]] = set()
        self._contest, self._recall, self._bridge = Contest(), Recall(), Bridge()
        self._suspects: tuple[str, ...] = ()
        self._wanted = KernelState()
        self._have = KernelState()
        self._view = View()
        self._refused: Refused = ()
        self._number = 0
        self._last = monotonic()
        self._retry = RETRY
        self._alarm = Alarm(self._ring)
        self._review = Alarm(partial(self.poke, "written", whole=False, paths=False))
        self._seen = World({})
        self._expiry: float | None = None

    @property
    def policy(self) -> Policy:
        """Everything wished for."""
        return self._policy

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._setup.config

    @property
    def view(self) -> View:
        """The picture after the last pass."""
        return self._view

    async def passes(self) -> AsyncIterator[Pass]:
        """Every pass from now on that changed or wrote something."""
        queue: asyncio.Queue[Pass] = asyncio.Queue(NEWS)
        self._news.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._news.discard(queue)

    # The loop.

    def poke(self, reason: str, *, whole: bool = True, paths: bool = True) -> None:
        """Say "look again".

        Args:
            reason: what happened, for people.
            whole: look at all of the kernel; else only at what was written or heard to move since the last look.
            paths: look at MPTCP too; else only if what it depends on has changed.
        """
        self._reasons[reason] = None
        self._whole, self._paths = self._whole or whole, self._paths or paths
        self._asked += 1
        self._poked.set()

    def hear(self) -> None:
        """Take what the kernel has told: a look at it is due, if it was anything."""
        if kinds := self._kernel.heard():
            self.poke(", ".join(sorted(kinds)), whole=False)

    async def run(self) -> None:
        """Run passes as they are asked for: the first poke acts at once, those during a pass make the next."""
        streak = 0
        while True:
            streak = streak + 1 if self._poked.is_set() else 0
            await self._poked.wait()
            if streak >= BURST:
                await asyncio.sleep(PACE)
            self._try_pass()
            await asyncio.sleep(0)  # let events and callers in, also in a flood

    def _try_pass(self) -> None:
        """Run a pass; what goes wrong in mpathd itself is said, told to who waits, and tried again."""
        try:
            self.pass_()
        except Exception as error:
            log.exception("pass.failed", number=self._number)
            found = fault(self._number, error)
            others = tuple(finding for finding in self._view.findings if finding.code != found.code)
            self._view = replace(self._view, findings=(found, *others))
            waiting, self._waiting = self._waiting, []
            for _, future in waiting:
                if not future.done():
                    future.set_exception(MpathError(found.text, found.cure))
            self._alarm.set(self._retry)
            self._retry = min(self._retry * 2, RETRY_LONGEST)

    def pass_(self) -> Pass:
        """Run one pass."""
        self.hear()  # what this pass is going to see has its reason, whoever asked for it
        asked, reasons = self._asked, tuple(self._reasons)
        self._poked.clear()
        self._reasons.clear()
        whole, paths, self._whole, self._paths = self._whole, self._paths, False, False
        start = monotonic()
        self._number += 1
        self._recall.turn()
        world = self.look(whole=whole)
        policy = self.asked(world, keep=True)
        desired = desire(world, policy, self._recall)
        sure = self.known(world, desired.kernel)
        have = self._found(sure, desired.kernel)
        want = self._bridge.towards(desired.kernel, have, start)
        turns = turned(want.packets, sure.packets, policy.numbers, world.links.values())
        due = (*diff(want, have, world.rules, world.foreign), *turns)
        moved = any(word in reason for reason in reasons for word in ("link", "address"))
        steps, later = self._contest.judge(due, self._wanted, start, moved=moved, aim=desired.kernel.packets)
        done, refused, held = self._write(steps, have)
        self._have = want if not refused and len(steps) == len(due) else have
        self._wanted = confirmed(want, (*(step for step, _ in refused), *held))
        services = listed(desired, self._recall)
        if refused:
            services = tuple(in_force(service, refused) for service in services)
        waiting = () if len(steps) == len(due) else set(due) - set(steps)
        there = confirmed(self._wanted, waiting)
        bring = self.endpoints.bring if self.endpoints is not None else nothing
        more = bring(services, there, policy, world.links, self._contest, start, look=paths)
        done, refused = done + more.done, refused + more.refused
        later = min((t for t in (later, more.later) if t is not None), default=None)
        self._refused = refused
        shown = show(world, policy, desired, self._recall)
        findings = (*self._troubles(), *shown.findings, *more.findings)
        view = View(services, shown.sessions, findings)
        took = (monotonic() - start) * 1000
        result = Pass(self._number, reasons, self._view, view, done, tuple(r for _, r in refused), round(took, 3))
        self._view = view
        self._last = monotonic()
        self._set_alarm(later, wrote=bool(done))
        self._publish(result, asked)
        return result

    def read_policies(self) -> None:
        """Read what sessions are asked for; the next pass obeys."""
        if self._book is not None:
            self._sessions, self._session_troubles = self._book.load()

    def sessions_asked(self) -> None:
        """Take what the book says now; the next pass obeys."""
        if self._book is not None:
            self._sessions, self._session_troubles = self._book.asked()

    def asked(self, world: World, *, keep: bool = False) -> Policy:
        """Give everything wished for, with the sessions' numbers.

        Args:
            world: what was found; numbers avoid the marks of others.
            keep: write the numbers down, before the kernel gets to know them.
        """
        if not self._sessions and not keep:
            return self.policy
        kept = self._keeper.numbers() if self._keeper is not None and self._sessions else {}
        asleep = self._book.inactive() if self._book is not None else frozenset()
        numbers = self.policy.numbers
        sessions = self._recall.of("numbers", number, self._sessions, kept, world.rules, numbers, asleep)
        if keep:
            named = {session.settings.name for session in sessions}
            self._markless = tuple(s.name for s in self._sessions if s.name not in named)
        if keep and self._keeper is not None:
            self._keeper.keep({session.settings.name: (session.number, session.born) for session in sessions})
        return renew(self.policy, sessions=sessions)

    def look(self, *, whole: bool = True) -> World:
        """Read the kernel and ask the sources.

        Args:
            whole: all of the kernel; else what was written or heard to move since the last look.
        """
        world = self._kernel.look(self.policy.numbers.protocol, whole=whole)
        if world is not self._seen:  # else its times are those of when it was seen
            self._seen = world
            self._expiry = None if world.next_expiry is None else monotonic() + world.next_expiry + EXPIRY_SLACK
        gateways: dict[int, tuple[Gateway, ...]] = {}
        for source in self._setup.sources:
            for index, found in source.look(world).items():
                gateways[index] = gateways.get(index, ()) + found
        return renew(world, gateways=gateways, had=self._wanted.rules)

    def release(self) -> tuple[tuple[Step, ...], tuple[tuple[Step, Refusal], ...]]:
        """Take everything of ours away: the same road, towards nothing."""
        numbers = self.policy.numbers
        have = self._kernel.look(numbers.protocol).have
        gone, kept = self.endpoints.release(numbers, have) if self.endpoints is not None else ((), ())
        done, refused = self._kernel.apply(diff(KernelState(), have))
        return gone + done, kept + refused

    # Parts of a pass.

    def known(self, world: World, want: KernelState) -> KernelState:
        """Give what is ours; after a restart our nft table is known again by its digest.

        Args:
            world: what was found.
            want: what should be there.
        """
        have = world.have
        if have.packets is None and want.packets is not None and world.digest == want.packets.digest():
            self._kernel.adopt(want.packets)
            return replace(have, packets=want.packets)
        return have

    def _found(self, sure: KernelState, want: KernelState) -> KernelState:
        """Give what is ours; an nft table that was left halfway, or damaged, as it is found."""
        if sure.packets is not None or want.packets is None or want.packets.empty:
            return sure
        return replace(sure, packets=self._kernel.read(want.packets))

    def _write(self, steps: tuple[Step, ...], have: KernelState) -> tuple[tuple[Step, ...], Refused, frozenset[Step]]:
        """Write steps; those that a refused route makes senseless are held back, and come again with the retry."""
        routes = [step for step in steps if phase(step) is Phase.ROUTE_ADD]
        rest = steps[len(routes) :]
        if not routes:
            return (*(self._kernel.apply(rest) if rest else ((), ())), frozenset())
        done, refused = self._kernel.apply(routes)
        held = held_back(rest, tables_of(step for step, _ in refused), have)
        more, worse = self._kernel.apply([step for step in rest if step not in held])
        return done + more, refused + worse, held

    def _troubles(self) -> tuple[Finding, ...]:
        out = [*self._lasting, *self._reload_trouble, *self._session_troubles]
        if self._contest.next_settle is not None:
            self._suspects = self._suspects or self._kernel.suspects()
            out.extend(self._contest.findings(self._suspects))
        else:
            self._suspects = ()
        return (*out, *troubles(self._refused, self._markless))

    def _set_alarm(self, later: float | None, *, wrote: bool) -> None:
        """Ask for a pass at the time when something is due that makes no event."""
        times = [] if later is None else [later]
        if self._refused:
            times.append(self._retry)
            self._retry = min(self._retry * 2, RETRY_LONGEST)
        else:
            self._retry = RETRY
        if self._expiry is not None:
            times.append(max(EXPIRY_SLACK, self._expiry - monotonic()))
        if (settle := self._contest.next_settle) is not None:
            times.append(max(0.0, settle - monotonic()) + 0.01)
        self._alarm.set(min(times) if times else None)
        if wrote:  # our own writes are not told to us, and the next call should find them looked at
            self._review.set(REVIEW)

    def _ring(self) -> None:
        self._contest.settle(monotonic())
        self.poke("time")

    async def _passed(self, reason: str, *, whole: bool = True, paths: bool = True) -> Pass:
        """Poke, and wait for the pass that saw it."""
        self.poke(reason, whole=whole, paths=paths)
        future: asyncio.Future[Pass] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._asked, future))
        return await future

    def _publish(self, result: Pass, asked: int) -> None:
        ready = [future for number, future in self._waiting if number <= asked]
        self._waiting = [(number, future) for number, future in self._waiting if number > asked]
        for future in ready:
            if not future.done():
                future.set_result(result)
        if ready:  # nobody waits for the log
            asyncio.get_running_loop().call_soon(self._log, result)
        else:
            self._log(result)
        if result.steps or result.refused or result.before != result.after:
            self.tell(result)

    def _log(self, result: Pass) -> None:
        if result.steps or result.refused:
            log.info(
                "pass",
                number=result.number,
                because=", ".join(result.reasons),
                written=len(result.steps),
                refused=len(result.refused),
                ms=result.milliseconds,
            )
        if self.config.level == "debug":  # to write a step as a command takes longer than to write it into the kernel
            for step in result.steps:
                log.debug("wrote", command=str(step))
        for refusal in result.refused:
            log.warning("refused", command=refusal.command, reason=refusal.text)
        for finding in set(result.after.findings) - set(result.before.findings):
            log.warning("finding", code=finding.code, text=finding.text, cure=finding.cure)

    def tell(self, result: Pass) -> None:
        """Tell those who listen to passes.

        Args:
            result: the pass.
        """
        for queue in self._news:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(result)
