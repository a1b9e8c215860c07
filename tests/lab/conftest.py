"""Raises labs for the tests, and proves after each test that nothing is left of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from labkit import Lab, Topology, netns

_numbers = itertools.count(1)


@pytest.fixture
def name() -> Iterator[str]:
    """A name that no other lab on this machine has."""
    fresh = f"lt{os.getpid()}x{next(_numbers)}"
    yield fresh
    assert netns.named(f"{fresh}-") == ()


@pytest.fixture
def raised(name: str) -> Iterator[Callable[[Topology | str], Lab]]:
    """Raises a topology for the length of a test."""
    with ExitStack() as stack:
        yield lambda topology: stack.enter_context(Lab(topology, name, quiet=True))
