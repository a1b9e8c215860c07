"""What happens, again and again, while a session's sockets send."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from kernel.helpers_flood import Taker
from kernel.helpers_sessions import BITS, FAMILIES, GATEWAY, OF, PORT, Case, toml

PAUSE = 0.1  # seconds; longer than a switch takes, and than what is halfway waits
OTHER = {"flow_selectors": [f"*-*-udp-*-{PORT}", "*-*-tcp-*-9"], "allowed_interface": "vethc2", "priority": 0}


class Scene:
    """A lab with one session.

    Args:
        case: the lab.
        settings: of the session.
    """

    def __init__(self, case: Case, settings: Mapping[str, Any]) -> None:
        self.case, self.settings = case, settings
        self._take = Taker(case)

    def start(self) -> None:
        """Have the session."""
        self.case.session("s", **self.settings)

    def kill(self, _turn: int) -> None:
        """Kill mpathd, and start it."""
        self.case.agent.kill()
        self.case.agent.start()

    def restart(self, _turn: int) -> None:
        """Stop mpathd, which keeps what it has written, and start it."""
        assert self.case.agent.stop() == 0
        self.case.agent.start()

    def number(self, _turn: int) -> None:
        """Take the session's mark, so that it gets another one."""
        self._take()

    def away(self, turn: int) -> None:
        """Kill mpathd right behind that."""
        self.number(turn)
        self.kill(turn)

    def rewrite(self, turn: int) -> None:
        """Write the session's file anew, with another priority."""
        self.case.put("s.toml", toml("s", {**self.settings, "priority": turn % 2 + 1}))
        time.sleep(PAUSE)

    def another(self, turn: int) -> None:
        """A session that has some of the same traffic comes, or goes."""
        if turn % 2:
            (self.case.policies / "o.toml").unlink()
        else:
            self.case.put("o.toml", toml("o", OTHER))
        time.sleep(PAUSE)

    def carrier(self, turn: int) -> None:
        """Take the carrier of the session's link, or give it back."""
        self.case.lab.ip("r2", f"link set vethr2 {'up' if turn % 2 else 'down'}")
        time.sleep(PAUSE)

    def neighbour(self, turn: int) -> None:
        """The same of another link."""
        self.case.lab.ip("r1", f"link set vethr1 {'up' if turn % 2 else 'down'}")
        time.sleep(PAUSE)

    def link(self, _turn: int) -> None:
        """Set the session's link down and up."""
        self.case.lab.ip("client", "link set vethc2 down")
        time.sleep(PAUSE)
        self.case.lab.ip("client", "link set vethc2 up")
        self._back()

    def address(self, _turn: int) -> None:
        """Take the addresses of the session's link, and give them back."""
        for family in FAMILIES:
            self.case.lab.ip("client", f"-{family} addr del {OF[family][1]}/{BITS[family]} dev vethc2")
        time.sleep(PAUSE)
        self._back()

    def _back(self) -> None:
        for family in FAMILIES:
            address, gateway = f"{OF[family][1]}/{BITS[family]}", GATEWAY[family].format(2)
            self.case.lab.ip("client", f"-{family} addr replace {address} dev vethc2{' nodad' if family == 6 else ''}")
            self.case.lab.ip("client", f"-{family} route replace default via {gateway} dev vethc2 metric 200")
        time.sleep(PAUSE)


Event = Callable[[Scene, int], None]
EVENTS: Mapping[str, Event] = {
    event.__name__: event
    for event in (
        *(Scene.kill, Scene.restart, Scene.number, Scene.away, Scene.rewrite, Scene.another),
        *(Scene.carrier, Scene.neighbour, Scene.link, Scene.address),
    )
}
OWN = frozenset({"carrier", "link", "address"})  # they mean a session's link, so there must be one
