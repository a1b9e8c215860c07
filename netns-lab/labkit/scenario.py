"""Scenarios: Python files with a docstring and `run(args) -> int`."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

from .errors import LabError, WordsError

FOLDER = Path(__file__).resolve().parent.parent / "scenarios"


def names() -> tuple[str, ...]:
    """The scenarios there are, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_")))


def description(name: str) -> str:
    """The first line of its docstring, without running it."""
    text = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text())) or ""
    return text.partition("\n")[0]


def find(name: str) -> Path:
    """Its file.

    Raises:
        WordsError: there is no such scenario.
    """
    if name not in names():
        raise WordsError("no such scenario", name, f"there are: {' '.join(names()) or 'none yet'}")
    return FOLDER / f"{name}.py"


def load(name: str) -> Callable[[list[str]], int]:
    """Its `run`.

    Raises:
        WordsError: there is no such scenario.
        LabError: it has no `run`.
    """
    path = find(name)
    spec = importlib.util.spec_from_file_location(f"scenario_{name.replace('-', '_')}", path)
    if not spec or not spec.loader:
        raise LabError("cannot load scenario", str(path))
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))  # scenarios may share modules: _NAME.py beside them
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run: Callable[[list[str]], int] | None = getattr(module, "run", None)
    if run is None:
        raise LabError("a scenario needs: def run(args: list[str]) -> int", str(path))
    return run
