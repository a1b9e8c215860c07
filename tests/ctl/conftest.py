"""The scene that most tests play in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bus.harness import Scene
from ctl.carried import Carried


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A private bus with mpathd's face, served by an agent in memory."""
    with Scene() as running:
        yield running


@pytest.fixture
def carried(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Carried:
    """Counters of the scene's sessions, and who has entered them."""
    found = Carried(scene.address)
    monkeypatch.setattr("mpathd.bus.sessions.SESSION", found.interface())
    return found
