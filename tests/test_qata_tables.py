"""The tables of QaTa in README and docs/results are those of the published tables."""

import re
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "docs" / "results" / "qata_cpu"
VARIANTS = {
    "classical, no adversarial training": ("bernoulli, none", "bernoulli-none"),
    "evidential, no adversarial training": ("beta, none", "beta-none"),
    "classical, random": ("bernoulli, random", "bernoulli-random"),
    "classical, uncertain": ("bernoulli, uncertain", "bernoulli-uncertain"),
}


def shown(row: pl.DataFrame, column: str) -> str:
    """Return a value and its interval as the tables write them."""
    value, low, high = (f"{row[f'{column}{end}'][0]:.3f}"[1:] for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


def one(table: str, key: str, value: str) -> pl.DataFrame:
    """Return the row of a table under PGD at 4/255, or of a model."""
    found = pl.read_csv(PUBLISHED / table).filter(pl.col(key).str.starts_with(value))
    if table.startswith("tables/robustness"):
        found = found.filter(pl.col("condition") == "PGD", pl.col("eps") == "4/255")
    if table.startswith("tables/unnoticed"):
        found = found.filter(pl.col("condition") == "PGD 4/255")
    assert len(found) == 1
    return found


@pytest.mark.parametrize(
    ("page", "columns"),
    [
        (ROOT / "README.md", ("dice", "pooled_dice", "robust", "undetected")),
        (PUBLISHED / "README.md", ("dice", "iou", "pooled_dice", "pooled_iou")),
    ],
)
def test_the_table_holds_what_was_measured(page: Path, columns: tuple[str, ...]) -> None:
    rows = re.findall(
        r"^\| ((?:classical|evidential), [^|]+) \| (.+) \|$", page.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(rows) == len(VARIANTS)
    for name, cells in rows:
        variant, model = next(found for start, found in VARIANTS.items() if name.startswith(start))
        expected = []
        for column in columns:
            if column == "robust":
                expected.append(shown(one("tables/robustness.csv", "variant", variant), "dice"))
            elif column == "undetected":
                expected.append(shown(one("tables/unnoticed.csv", "variant", variant), "undetected"))
            else:
                expected.append(shown(one("clean.csv", "model", model), column))
        assert cells.split(" | ") == expected, name
