"""What tests of MPTCP with the running daemon share: mpathd in a bonding lab, and what can be seen of it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from kernel.conftest import settled
from kernel.helpers_mptcp import Bond, wait
from labkit.agent import MEMORY, Agent, Bus
from mpathd.model.connections import TcpState
from mpathd.model.mptcp import Limits

PASS_ON = ("--mpathrouting",)
MARKER = "10.254.254."  # what `settled` puts on an uplink, and takes away again


class Bonded(Bond):
    """A client with uplinks in which mpathd runs; nobody else makes passes.

    Args:
        links: number of uplinks.
        config: text of mpathd.conf.
        args: of mpathd.
        start: start it at once.
    """

    def __init__(self, links: int = 2, config: str = "", args: Sequence[str] = PASS_ON, *, start: bool = True) -> None:
        super().__init__(links)
        self._config, self._args, self._start = config, tuple(args), start
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        super().__enter__()
        with ExitStack() as stack:
            stack.callback(super().__exit__)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mpathd-", dir=MEMORY)))
            bus = stack.enter_context(Bus(folder))
            self.agent = Agent(self.lab, "client", self._args, bus=bus, config=self._config, folder=folder)
            stack.callback(lambda: self.agent.running and self.agent.stop())
            if self._start:
                self.agent.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def config(self, link: int, mode: str) -> None:
        """Set MultipathTcpLink of an uplink.

        Args:
            link: its number.
            mode: on, backup or off.
        """
        done = self.agent.ctl("config", f"up{link}", "--mpath_tcp_link", mode)
        assert (done.returncode, done.stderr) == (0, ""), done

    def status(self) -> dict[str, Any]:
        """What `mpathctl status` shows, as JSON."""
        done = self.agent.ctl("status", "--json")
        assert done.stdout, done
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def codes(self) -> list[str]:
        """The codes of the findings that there are now."""
        return [finding["Code"] for finding in self.status()["Findings"]]

    def settle(self, dev: str = "up1") -> None:
        """Wait until mpathd has seen everything that was done before, and its thread has taken away what had to go.

        Args:
            dev: an uplink that is routed.
        """
        settled(self.lab, "client", dev)
        wait(lambda: not any(line.startswith(MARKER) for line in self.words()), "the marker's endpoint is gone")

    def sources(self) -> list[str]:
        """The addresses of the client's subflows that carry; one whose link is gone waits long for its last answer."""
        return [one.source for one in self.subflows() if one.established and one.state is TcpState.ESTABLISHED]

    def words(self) -> list[str]:
        """The endpoints in the kernel as `ip` shows them, without their ids: those of all."""
        told = json.loads(self.lab.ip("client", "-j mptcp endpoint show"))
        flags = ("signal", "subflow", "backup", "fullmesh", "implicit")
        return sorted(
            " ".join([one["address"], one.get("dev", "-"), *(flag for flag in flags if one.get(flag))]) for one in told
        )

    def homes(self) -> set[str]:
        """Address and device of each endpoint."""
        return {" ".join(line.split()[:2]) for line in self.words()}

    def until(self, *wanted: str) -> None:
        """Wait until these endpoints are there, and no others.

        Args:
            wanted: lines of `words`.
        """
        wait(lambda: self.words() == sorted(wanted), f"{wanted}; there are {self.words()}")

    def limits(self) -> Limits:
        """The limits in the kernel as `ip` shows them."""
        words = self.lab.ip("client", "mptcp limits show").split()
        told = dict(zip(words[::2], words[1::2], strict=True))
        return Limits(int(told["subflows"]), int(told["add_addr_accepted"]))
