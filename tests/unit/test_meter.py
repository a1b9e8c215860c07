"""When the meter reads the kernel's counters, and when it need not; what it tells is in tests/kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from mpathd import meter
from mpathd.meter import Meter
from mpathd.model.errors import Refusal
from mpathd.model.packet import COUNTS, Chain, Load, Ruleset, Share, Table
from mpathd.model.policy import ServiceSettings
from mpathd.model.routing import Step, Verb
from mpathd.model.session import Origin, SessionSettings
from mpathd.model.statistics import Count, Counted, counter
from mpathd.model.view import Service, SessionView, View
from mpathd.model.words import ServiceState, Technology
from mpathd.model.world import World

LINK = Service(
    "cable", "", Technology.ETHERNET, ServiceState.READY, 2, "eth0", "", 1500, 257, ServiceSettings(), True, ""
)


def _names(ruleset: Ruleset) -> set[str]:
    return {*ruleset.counters, *(name for table in ruleset.tables.values() for name in table.elements.values())}


@dataclass
class Kernel:
    """Counts how often its counters are read."""

    counts: dict[str, Count] = field(default_factory=dict)
    reads: int = 0

    def heard(self) -> set[str]:
        raise NotImplementedError

    def look(self, protocol: int, *, whole: bool = True) -> World:
        raise NotImplementedError(protocol, whole)

    def apply(self, steps: Sequence[Step]) -> tuple[tuple[Step, ...], tuple[tuple[Step, Refusal], ...]]:
        for step in steps:
            assert isinstance(step.what, Load)
            what = step.what
            begin = _names(what.want) if what.have is None or what.anew else what.have.lost(what.want)
            self.counts = {n: (0, 0) if n in begin else self.counts.get(n, (0, 0)) for n in _names(what.want)}
        return tuple(steps), ()

    def read(self, packets: Ruleset) -> Ruleset | None:
        """Understand nothing."""
        return None

    def adopt(self, packets: Ruleset) -> None:
        raise NotImplementedError(packets)

    def suspects(self) -> tuple[str, ...]:
        return ()

    def make_home(self, group: str) -> None:
        raise NotImplementedError(group)

    def enter(self, group: str, pid: int, user: int) -> str:
        raise NotImplementedError(group, pid, user)

    def counters(self) -> Mapping[str, Count]:
        self.reads += 1
        return dict(self.counts)


@dataclass
class Keeper:
    """Knows which sessions there are."""

    births: dict[str, tuple[int, int]] = field(default_factory=dict)
    kept: Counted = field(default_factory=Counted)

    def numbers(self) -> Mapping[str, tuple[int, int]]:
        return self.births

    def keep(self, numbers: Mapping[str, tuple[int, int]]) -> None:
        self.births = dict(numbers)

    def counted(self) -> Counted:
        return self.kept

    def count(self, counted: Counted) -> None:
        self.kept = counted


@dataclass
class Scene:
    """A meter with a clock that stands still."""

    kernel: Kernel = field(default_factory=Kernel)
    keeper: Keeper = field(default_factory=Keeper)
    now: float = 1000.0
    have: Ruleset | None = None

    def __post_init__(self) -> None:
        self.meter = Meter(self.kernel, self.keeper)

    def write(self, *births: int, without: str = "", text: str = "add counter", link: str = "eth0") -> None:
        """Have counters for sessions of these births.

        Args:
            births: of the sessions.
            without: a counter that is to go.
            text: of the transaction.
            link: of the service.
        """
        self.keeper.births = {str(born): (born, born) for born in births}
        tables = {}
        for kind, name in (("i", "received"), ("o", "sent")):
            elements = {f"{born} . {link}": counter(kind, born, "cable") for born in births}
            kept = (Share({key: of}) for key, of in elements.items() if of != without)
            tables[name] = Table.of("set", f"type mark . ifname{COUNTS}", tuple(kept))
        lost = frozenset(counter("d", born) for born in births)
        want = Ruleset(tables, {"c": Chain((str(births), without, link))}, lost)
        step = Step(Verb.ADD, Load(want, self.have, ("add table x" if self.have is None else text,)))
        assert self.meter.apply([step]) == ((step,), ())
        self.have = want

    def sent(self, born: int, *, now: bool = False) -> int:
        """Packets that a session has sent.

        Args:
            born: of the session.
            now: as the kernel has it.
        """
        settings = SessionSettings(str(born), Origin.NAMED, "")
        views = tuple(
            SessionView(name, born, born << 16, "", "", "", "", (), "", True, settings, born=born)
            for name, (_, born) in self.keeper.births.items()
        )
        return self.meter.statistics(str(born), View((LINK,), views), now=now).sent[0]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    made = Scene()
    monkeypatch.setattr(meter, "monotonic", lambda: made.now)
    made.write(1)
    made.kernel.reads = 0
    made.now += 1
    return made


def test_a_new_session_has_sent_nothing_and_the_kernel_is_not_asked(scene: Scene) -> None:
    scene.write(1, 2)

    assert (scene.sent(2), scene.kernel.reads) == (0, 0)


def test_a_while_later_it_is_asked(scene: Scene) -> None:
    scene.write(1, 2)
    scene.kernel.counts[counter("o", 2, "cable")] = (5, 500)
    scene.now += 2 * meter.FRESH

    assert (scene.sent(2), scene.kernel.reads) == (5, 1)


def test_who_wants_it_now_hears_it_now(scene: Scene) -> None:
    scene.write(1, 2)
    scene.kernel.counts[counter("o", 2, "cable")] = (5, 500)

    assert scene.sent(2, now=True) == 5
    assert (scene.sent(2), scene.kernel.reads) == (5, 1)


def test_an_older_session_is_read_beside_a_new_one(scene: Scene) -> None:
    scene.write(1, 2)
    scene.kernel.counts[counter("o", 1, "cable")] = (7, 700)

    assert (scene.sent(1), scene.kernel.reads) == (7, 1)


def test_a_session_that_ends_takes_along_what_it_counted(scene: Scene) -> None:
    scene.write(1, 2)
    scene.kernel.counts[counter("o", 2, "cable")] = (5, 500)

    scene.write(1)

    assert scene.kernel.reads == 0
    assert scene.keeper.kept == Counted()
    scene.write(1, 2)  # the birth is given again
    assert scene.sent(2, now=True) == 0


def test_a_counter_that_goes_from_a_session_is_read_before(scene: Scene) -> None:
    scene.kernel.counts[counter("o", 1, "cable")] = (5, 500)

    scene.write(1, without=counter("o", 1, "cable"))

    assert scene.kernel.reads == 1
    assert scene.sent(1, now=True) == 5


def test_a_link_that_gets_another_name_goes_on_counting(scene: Scene) -> None:
    scene.kernel.counts[counter("o", 1, "cable")] = (5, 500)

    scene.write(1, link="wan")

    assert scene.kernel.counts[counter("o", 1, "cable")] == (0, 0)
    assert scene.sent(1, now=True) == 5
    scene.kernel.counts[counter("o", 1, "cable")] = (2, 200)
    assert scene.sent(1, now=True) == 7


def test_a_table_that_is_made_anew_is_read_before(scene: Scene) -> None:
    scene.kernel.counts[counter("o", 1, "cable")] = (5, 500)

    scene.write(1, 2, text="add table x")

    assert scene.kernel.reads == 1
    assert (scene.sent(1, now=True), scene.sent(2)) == (5, 0)


def test_what_loads_nothing_reads_nothing(scene: Scene) -> None:
    assert scene.meter.apply([]) == ((), ())
    assert scene.kernel.reads == 0
