"""What all texts share: they name what is there, and nothing of the place where they were written."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.rst")])
SHIPPED = sorted(path for path in (ROOT / "conf").rglob("*") if path.is_file())
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


@pytest.mark.parametrize("path", [*TEXTS, *SHIPPED], ids=names([*TEXTS, *SHIPPED]))
def test_it_names_no_place_of_the_authors(path: Path) -> None:
    for word in ("/work/", "/root/", "/home/"):
        assert word not in path.read_text(), word


@pytest.mark.parametrize("path", TEXTS, ids=names(TEXTS))
def test_files_that_it_names_are_there(path: Path) -> None:
    """What looks like a path of the clone is one; `kernel/...` and the like are below mpathd/."""
    folders = "docs|conf|tests|netns-lab|mpathd|plan|kernel|model|sources|bus|ctl"
    named = re.findall(rf"[`*]((?:{folders})/[\w./-]+)", path.read_text())
    for name in named:
        assert (ROOT / name).exists() or (ROOT / "mpathd" / name).exists(), name


def test_readme_is_one_screen() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()

    assert len(lines) <= 60
    assert max(map(len, lines)) <= 120


def test_readme_shows_rules_as_the_kernel_does() -> None:
    """The rules in the picture are those that mpathd makes, in their order, for each of its addresses."""
    from mpathd.model.numbers import Numbers
    from mpathd.model.words import Address, Family, host
    from mpathd.plan.services import service_rules

    text = (ROOT / "README.md").read_text()
    shown = [re.sub(r"\s+#.*", "", line) for line in re.findall(r"^2\d{4}:.*$", text, re.MULTILINE)]
    wanted = []
    for index, address in ((24, "10.0.1.2"), (26, "10.0.2.2")):
        for rule in service_rules(Numbers(), Numbers().table(index), host(Address(address)), Family.INET):
            wanted.append((rule.priority, rule.words().removeprefix(f"pref {rule.priority} ")))

    assert [re.sub(r":\s+", " ", line) for line in shown] == [f"{p} {words}" for p, words in sorted(wanted)]


def test_decisions_are_numbered_without_a_gap() -> None:
    assert [path.name[:4] for path in DECISIONS] == [f"{n:03}-" for n in range(1, len(DECISIONS) + 1)]


@pytest.mark.parametrize("path", DECISIONS, ids=names(DECISIONS))
def test_a_decision_has_its_four_parts_on_a_page(path: Path) -> None:
    text = path.read_text()

    assert text.startswith(f"# {path.name[:3]}: ")
    places = [text.find(f"**{part}") for part in ("Question.**", "Facts", "Decision.**", "Consequences.**")]
    assert -1 not in places
    assert places == sorted(places)
    assert len(text.splitlines()) <= 60


def test_architecture_has_the_table_of_floors() -> None:
    """The table of tests/unit/test_floors.py, read as a literal, since tests are no package."""
    tree = ast.parse((ROOT / "tests/unit/test_floors.py").read_text())
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "FLOORS"
    )
    floors = {name: set(allowed) for name, (allowed, _) in ast.literal_eval(value).items()}
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)

    assert {name: set(re.findall(r"`(\w+)`", allowed)) for name, allowed in rows} == floors
    assert all("`" in allowed or allowed == "nothing of ours" for _, allowed in rows)


def test_laws_are_numbered_as_they_are_cited() -> None:
    """Docstrings say "law 5": mpathd(8) has it."""
    text = (ROOT / "docs/man/mpathd.8.rst").read_text()
    laws = text[text.index("Laws\n----\n") : text.index("Order of writing\n")]
    cited = {n for path in (ROOT / "mpathd").rglob("*.py") for n in re.findall(r"\blaw (\d)", path.read_text())}

    assert cited <= set(re.findall(r"^(\d)\. ", laws, re.MULTILINE))
