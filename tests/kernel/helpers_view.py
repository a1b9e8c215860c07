"""A real mpathd in a lab of two links, where the test has the endpoints in its own hand."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kernel.conftest import fresh_name
from labkit import Lab
from labkit.agent import Agent, Bus

A2 = "10.81.2.2"
# The endpoints are the test's, and say what it wants.
CONFIG = '[defaults]\nmultipath_routing = true\nmpath_tcp_link = "off"\n'


@contextmanager
def running(host: str = "client", *, before: bool = False) -> Iterator[Agent]:
    """Mpathd in a lab of two links with a bus, once its endpoints are there.

    Args:
        host: where it runs.
        before: leave it to the test to start it.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="view-")))
        bus = stack.enter_context(Bus(folder))
        lab = stack.enter_context(Lab("bond-2", fresh_name(), quiet=True))
        agent = Agent(lab, host, bus=bus, config=CONFIG)
        if before:
            stack.callback(lambda: agent.stop() if agent.running else None)
        else:
            stack.enter_context(agent)
        lab.ip("client", f"mptcp endpoint add {A2} dev up2 id 7 subflow backup")
        if host == "client" and not before:
            assert lab.ip("client", f"route get 192.0.2.9 from {A2}").count("up2"), "the routing stands"
        yield agent
