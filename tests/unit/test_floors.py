"""The floors of the house (docs/architecture.md): who may import whom, and what pure floors may not touch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "mpathd"

# Each floor: what it may import of ours, and the sentence that a wrong import gets to hear.
FLOORS = {
    "model": ((), "model holds values: it imports nothing of ours"),
    "plan": (("model",), "plan is pure thought: it imports model alone"),
    "kernel": (("model",), "the hands import model, and do not know each other"),
    "sources": (("model",), "sources import model alone"),
    "store": (("model", "plan"), "the store knows settings and their form"),
    "systemd": ((), "a datagram to the service manager"),
    "ports": (("model", "sources"), "what the loop needs, as Protocols"),
    "endpoints": (("model", "plan", "ports"), "the part of a pass that is about MPTCP"),
    "mender": (("model", "plan", "endpoints"), "brings lost subflows back"),
    "alarm": ((), "a clock that rings once"),
    "reconcile": (("model", "plan", "ports", "endpoints", "alarm"), "the loop knows hands only as Protocols"),
    "codec": ((), "D-Bus messages as bytes and back: it imports nothing of ours"),
    "bus": (("model", "codec"), "the bus face sees the agent as model.agent"),
    "ctl": (
        ("model", "plan", "accounts", "disk", "codec"),
        "mpathctl talks D-Bus, and reads policies as mpathd does",
    ),
    "agent": (("model", "plan", "ports", "reconcile"), "the loop, as its doors use it"),
    "book": (("model", "plan", "policies", "accounts", "disk"), "the sessions that are asked for"),
    "policies": (("model", "plan", "accounts", "disk"), "policy files on disk"),
    "accounts": (("plan",), "users and groups of the machine"),
    "disk": ((), "files that are read and replaced whole"),
    "runtime": (("model", "disk"), "numbers and counts on disk"),
    "meter": (("model", "ports"), "the hands, with an eye on counters"),
    "mptcpview": (("model", "plan", "kernel"), "the eye on MPTCP"),
    "options": ((), "the command line"),
    "app": (
        (
            "model",
            "plan",
            "kernel",
            "sources",
            "store",
            "meter",
            "endpoints",
            "mender",
            "systemd",
            "options",
            "policies",
            "ports",
            "runtime",
            "mptcpview",
            "agent",
            "alarm",
            "book",
            "bus",
            "disk",
        ),
        "app wires everything",
    ),
    "__main__": (("app",), "the way in"),
}
JOINERS = {"kernel/machine.py"}  # joins the hands into one pair
IMPURE = {
    "asyncio", "socket", "os", "time", "subprocess", "threading", "structlog", "logging", "pathlib", "random",
    "dbus_next", "pyroute2", "io", "shutil", "tempfile", "select", "signal", "ctypes",
}  # fmt: skip
PURE_NAMES = {"socket": {"AF_INET", "AF_INET6", "inet_pton", "inet_ntop"}}  # arithmetic on addresses
HEAVY = {"ctl": {"pyroute2", "structlog"}}  # docs/decisions/008: mpathctl starts fast


def _modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def _imports(path: Path) -> list[tuple[str, tuple[str, ...], int]]:
    """Every import as (absolute module, names, line)."""
    package = ("mpathd", *path.relative_to(ROOT).parent.parts)
    out: list[tuple[str, tuple[str, ...], int]] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            out.extend((alias.name, (), node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *((node.module,) if node.module else ())))
            names = tuple(alias.name for alias in node.names)
            if node.module == "mpathd" or (node.level and not node.module):
                out.extend((f"{module}.{name}", (), node.lineno) for name in names)
            else:
                out.append((module, names, node.lineno))
    return out


def _floor(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_keep_to_their_floor(path: Path) -> None:
    floor = _floor(path)
    if floor == "__init__":
        assert not [m for m, _, _ in _imports(path) if m.startswith("mpathd.")]
        return
    allowed, sentence = FLOORS[floor]
    for module, _, line in _imports(path):
        if not module.startswith("mpathd"):
            continue
        target = module.split(".")[1] if "." in module else ""
        if target in {"", floor} or target == "__version__":
            continue
        assert target in allowed, f"{path}:{line} imports {module}: {sentence}"


FRAMING = {
    "mpathd.kernel.netlink",
    "mpathd.kernel.sockdiag",
}  # bytes of netlink messages; they open nothing, and know no hand


@pytest.mark.parametrize(
    "path", [p for p in _modules() if _floor(p) == "kernel"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_hands_do_not_know_each_other(path: Path) -> None:
    if str(path.relative_to(ROOT)) in JOINERS:
        return
    mine = path.relative_to(ROOT).parts[1].removesuffix(".py")
    for module, _, line in _imports(path):
        if module.startswith("mpathd.kernel.") and module not in FRAMING:
            assert module.split(".")[2] == mine, f"{path}:{line}: hands do not know each other"


@pytest.mark.parametrize(
    "path", [p for p in _modules() if _floor(p) in {"model", "plan"}], ids=lambda p: str(p.relative_to(ROOT))
)
def test_pure_floors_do_no_io(path: Path) -> None:
    for module, names, line in _imports(path):
        top = module.split(".")[0]
        if top in PURE_NAMES and names and set(names) <= PURE_NAMES[top]:
            continue
        assert top not in IMPURE, f"{path}:{line} imports {module}: pure thought has no I/O, clock or logger"
    calls = {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"open", "print", "input"}, f"{path} does I/O"


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_imports_stay_out_of_fast_places(path: Path) -> None:
    for module, _, line in _imports(path):
        assert module.split(".")[0] not in HEAVY.get(_floor(path), set()), f"{path}:{line} imports {module}"


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400, f"{path}: one noun a file, most under 350 lines"


def test_tasks_have_an_owner() -> None:
    """Tasks are made by a TaskGroup, nowhere else (trio's law)."""
    for path in _modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                assert not (node.func.attr in {"create_task", "ensure_future"} and owner in {"asyncio", "loop"}), path


def test_the_table_of_floors_is_the_house() -> None:
    found = {_floor(path) for path in _modules()} - {"__init__"}
    assert found == set(FLOORS)
