"""What all tests share: the --bless switch, and the certainty that kernel tests run as root."""

from __future__ import annotations

import os

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --bless, which rewrites golden files for review."""
    parser.addoption("--bless", action="store_true", help="rewrite the golden files with what comes out now")


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    # No silent skips: without root the kernel tests could not run at all.
    assert os.geteuid() == 0, "the tests make network namespaces: run them as root (the demo needs no root)"
