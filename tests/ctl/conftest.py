"""The scene that most tests play in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bus.harness import Scene


@pytest.fixture
def scene() -> Iterator[Scene]:
    """A private bus with mpathd's face, served by an agent in memory."""
    with Scene() as running:
        yield running
