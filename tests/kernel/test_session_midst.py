"""What is in the midst of the rules while they change: more sockets than processors send, and a change comes every few
milliseconds. One change alone lost a packet in ten, when one transaction made it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle

import pytest

from kernel.helpers_cgroup import Cgroup
from kernel.helpers_flood import PACKETS_ONLY, Taker, flood, probe, seen
from kernel.helpers_sessions import FLOW, SERVER, Case, toml
from labkit.agent import eventually

CHANGES = 12
HEALED = 5  # changes by others, at once; later ones are slowed down
RANGES = ["*-*-udp-*-6:8"], ["*-*-udp-*-5:9"]
REWRITES = {
    "single values to ranges": (["*-*-udp-*-7"], ["*-*-udp-*-5:9"]),
    "ranges to other ranges": RANGES,
    "everything to one port": (["*-*-*"], ["*-*-udp-*-7"]),
    "two addresses to all": ([f"*-{SERVER[4]}-udp-*-7", f"*-{SERVER[6]}-udp-*-7"], ["*-*-udp-*-7"]),
}


@pytest.fixture
def case() -> Iterator[Case]:
    """A lab in which nobody looks at packets: there are too many."""
    with Case(far=(), config=PACKETS_ONLY) as made:
        probe(made)
        yield made


def stray(case: Case, service: str, changes: list[Callable[[], None]], group: Cgroup | None = None) -> dict[str, int]:
    """Let things change while sockets send, and give what came by other links.

    Args:
        case: the lab.
        service: of the session.
        changes: each of them waits until mpathd has seen it.
        group: the senders' control group; their sockets are bound to each address then, else to none.
    """
    with flood(case, bound=group is not None, group=group):
        for change in changes:
            change()
    counts = seen(case)
    assert counts.pop(service, 1), "what the session may use carries what is sent"
    log = case.agent.log.read_text()
    assert "failed" not in log
    assert "refused:" not in log
    return {link: count for link, count in counts.items() if count}


@pytest.mark.parametrize("service", ["vethc2", "nosuch0"], ids=["a link", "no link"])
@pytest.mark.parametrize("flow", [FLOW, ["*-*-*"], RANGES[0]], ids=["single values", "everything", "ranges"])
def test_a_session_that_gets_another_number(case: Case, flow: list[str], service: str) -> None:
    case.session("s", flow_selectors=flow, allowed_interface=service)

    assert stray(case, service, [Taker(case)] * CHANGES) == {}


@pytest.mark.parametrize("service", ["vethc2", "nosuch0"], ids=["a link", "no link"])
def test_a_control_group_that_gets_another_number(service: str) -> None:
    """Its sockets get the new mark one after the other, while they send."""
    with Case(far=()) as case, Cgroup() as group:
        probe(case)
        case.session("s", cgroup=group.path, allowed_interface=service)

        assert stray(case, service, [Taker(case)] * CHANGES, group) == {}


@pytest.mark.parametrize("service", ["vethc2", "nosuch0"], ids=["a link", "no link"])
@pytest.mark.parametrize("how", REWRITES)
def test_a_file_that_is_written_anew(case: Case, how: str, service: str) -> None:
    case.session("s", flow_selectors=REWRITES[how][0], allowed_interface=service)

    flows = cycle(REWRITES[how][::-1])

    def write() -> None:
        before = case.nft()
        case.put("s.toml", toml("s", {"flow_selectors": next(flows), "allowed_interface": service}))
        eventually(lambda: case.nft() != before)

    assert stray(case, service, [write] * CHANGES) == {}


@pytest.fixture
def kept(case: Case) -> Case:
    """The lab, and mpathd that keeps what it has written when it is stopped."""
    assert case.agent.stop() == 0
    case.agent.args = (*case.agent.args, "--keep")
    case.agent.start()
    return case


def _killed_halfway(case: Case, take: Taker) -> None:
    take()
    case.agent.kill()
    case.agent.start()


def _stopped_halfway(case: Case, take: Taker) -> None:
    take()
    assert case.agent.stop() == 0
    case.agent.start()


def _away(case: Case, take: Taker) -> None:
    case.agent.kill()
    take(wait=False)
    case.agent.start()


def _damaged(case: Case, _take: Taker) -> None:
    case.lab.exec("client", ["nft", "add", "rule", "inet", "mpathd", "output", "counter", "comment", '"theirs"'])
    eventually(lambda: "theirs" not in case.nft())


@pytest.mark.parametrize("how", [_killed_halfway, _stopped_halfway, _away, _damaged])
@pytest.mark.parametrize("flow", [FLOW, RANGES[0]], ids=["single values", "ranges"])
def test_a_table_that_nobody_remembers(kept: Case, how: Callable[[Case, Taker], None], flow: list[str]) -> None:
    """One that was left halfway, or by another ruleset, or was changed by others."""
    kept.session("s", flow_selectors=flow, allowed_interface="nosuch0")

    take = Taker(kept)
    assert stray(kept, "nosuch0", [lambda: how(kept, take)] * HEALED) == {}
