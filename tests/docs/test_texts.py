"""What all texts share: they name what is there, and nothing of the place where they were written."""

from __future__ import annotations

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
    from mpathd.plan.desire import service_rules

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
