"""The world that tests of a module share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from connman.programs import World


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """The post's lab with mpathd as ConnMan; every service is multipath-routed."""
    with World() as made:
        yield made


@pytest.fixture
def world(shared: World) -> Iterator[World]:
    """The same, with all services in use and in their first order again afterwards."""
    case = shared.case
    case.reset()
    yield shared
    assert case.agent.running, case.agent.log.read_text()[-2000:]
    shared.end_programs()
    case.drop()
    shared.restore()
