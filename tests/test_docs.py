"""Every Python block in README.md and docs/ runs, each file's blocks in order and in one namespace."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from trustseg.attacks import ATTACKS, OBJECTIVES, PRESETS, UNCERTAINTY_ATTACKS, backward_passes
from trustseg.calibration import MAPS
from trustseg.evaluation.suspicions import CHECKS
from trustseg.uncertainty import AGGREGATIONS, MEASURES

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = BLOCK.findall(page.read_text())
    if not blocks:
        pytest.skip("no Python block on this page")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "docs"}
    for block in blocks:
        exec(compile(block, str(page), "exec"), namespace)
    assert len(namespace) > 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(CODE.sub("", page.read_text())) if not (page.parent / link).exists()]
    assert missing == []


def rows_under(page: str, heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading, without its header."""
    section = (ROOT / "docs" / page).read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.parametrize(
    ("page", "heading", "names"),
    [
        ("attacks.md", "The attacks", ATTACKS),
        ("attacks.md", "The objectives", OBJECTIVES),
        ("attacks.md", "The ensemble", PRESETS),
        ("attacks.md", "Attacks on uncertainty", UNCERTAINTY_ATTACKS),
        ("attacks.md", "Signs of gradient masking", CHECKS),
        ("uncertainty.md", "The measures", MEASURES),
        ("uncertainty.md", "From map to image score", AGGREGATIONS),
        ("uncertainty.md", "Calibration after training", MAPS),
    ],
)
def test_tables_name_every_entry_of_a_dictionary(page: str, heading: str, names: Iterable[str]) -> None:
    assert [row[0].strip("` ") for row in rows_under(page, heading)] == list(names)


def test_published_budgets_are_those_of_the_presets() -> None:
    for name, _, *passes in rows_under("attacks.md", "The ensemble"):
        preset = name.strip("`")
        assert passes == [str(backward_passes(preset, evidential=evidential)) for evidential in (False, True)]
