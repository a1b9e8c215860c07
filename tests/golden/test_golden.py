"""Every golden file holds; `pytest --bless` rewrites them for review."""

from __future__ import annotations

from pathlib import Path

import pytest

from golden.reader import Scene

CASES = sorted((Path(__file__).parent / "cases").glob("*.txt"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path, request: pytest.FixtureRequest) -> None:
    scene = Scene(path)
    outcome = scene.outcome()
    if request.config.getoption("--bless"):
        path.write_text("\n".join(scene.given) + "\n=====\n" + outcome)

    assert outcome == Scene(path).wanted


def test_there_are_cases() -> None:
    assert len(CASES) >= 10
