"""`python -m tests.stress [EVENT...]`: not one packet of a session by another link, whatever happens meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT), str(ROOT / "netns-lab")]

from kernel.helpers_cgroup import Cgroup  # noqa: E402 - the path comes first
from kernel.helpers_flood import KINDS, PACKETS_ONLY, flood, probe, seen  # noqa: E402
from kernel.helpers_sessions import FLOW, Case  # noqa: E402
from labkit.errors import LabError  # noqa: E402

from .events import EVENTS, OWN, Scene  # noqa: E402

TURNS = 20
NO_LINK = "nosuch0"
# How a session's traffic is known: by maps of nft, by those and by rules, by its control group's sockets.
ENGINES = {"packets": PACKETS_ONLY, "early": "[sessions]\nsocket_engine = false\n", "sockets": ""}
Trial = tuple[str, str, str, bool, str]  # event, engine, kind of sockets, whether they are bound, the session's link


def trials(events: tuple[str, ...]) -> Iterator[Trial]:
    """Give all that is to be tried.

    Args:
        events: their names.
    """
    for trial in product(events, ENGINES, KINDS, (False, True), ("vethc2", NO_LINK)):
        if trial[0] not in OWN or trial[-1] != NO_LINK:
            yield trial


def tried(event: str, engine: str, kind: str, bound: bool, service: str) -> str:
    """Give what went wrong, empty if nothing did.

    Args:
        event: what happens meanwhile.
        engine: how the session's traffic is known.
        kind: of sockets.
        bound: to addresses.
        service: the session's link.
    """
    with ExitStack() as stack:
        case = stack.enter_context(Case(far=(), config=ENGINES[engine], args=("--mpathrouting", "--keep")))
        case.lab.sysctl("client", {"net.ipv6.conf.all.keep_addr_on_down": 1})
        group = stack.enter_context(Cgroup()) if engine == "sockets" else None
        own: dict[str, object] = {"cgroup": group.path} if group else {"flow_selectors": FLOW}
        scene = Scene(case, {**own, "allowed_interface": service})
        probe(case)
        scene.start()
        with flood(case, kind, bound=bound, group=group):
            for turn in range(TURNS):
                EVENTS[event](scene, turn)
        counts = seen(case)
        some = counts.pop(service, 1)
        stray = [f"{count} by {link}" for link, count in counts.items() if count]
        log = case.agent.log.read_text()
        said = [line for line in log.splitlines() if "pass.failed" in line or '"event": "refused"' in line]
        return "; ".join([*stray, *([] if some else ["nothing by its own link"]), *said[:1]])


def main(words: list[str]) -> int:
    """Try, tell, and give the exit status.

    Args:
        words: names of events; all if there are none.
    """
    if unknown := set(words) - EVENTS.keys():
        print(f"no event {', '.join(sorted(unknown))}\n  events: {', '.join(EVENTS)}", file=sys.stderr)
        return 2
    wrong = 0
    for trial in trials(tuple(words) or tuple(EVENTS)):
        event, engine, kind, bound, service = trial
        try:
            told = tried(*trial)
        except LabError as error:
            told = " ".join(str(error).split())
        wrong += bool(told)
        name = f"{event:9} {engine:7} {kind:3} {'bound' if bound else 'unbound':7} {service:7}"
        print(f"{name} {told or 'not one stray packet'}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
