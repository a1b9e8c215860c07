"""What all tests share: the --bless switch, and the certainty that kernel tests run as root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LONG = ("trouble", "lab", "conf", "kernel")  # whose files last longest: whoever gets one at the end is waited for


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --bless, which rewrites golden files for review."""
    parser.addoption("--bless", action="store_true", help="rewrite the golden files with what comes out now")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what lasts long first."""
    rank = {folder: place for place, folder in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.relative_to(HERE).parts[0], len(LONG)))


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    # No silent skips: without root the kernel tests could not run at all.
    assert os.geteuid() == 0, "the tests make network namespaces: run them as root (the demo needs no root)"
