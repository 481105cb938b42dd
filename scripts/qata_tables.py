"""Write the tables of QaTa-COV19 in README.md and docs/results/qata_cpu/README.md from the published tables.

Usage: python scripts/qata_tables.py     (after scripts/publish_results.py and scripts/clean_table.py)
"""

from pathlib import Path

import polars as pl
from marks import fill

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "docs" / "results" / "qata_cpu"
END = "<!-- end of table -->"
ATTACKED = "<!-- attacked: written by scripts/qata_tables.py -->"
CLEAN = "<!-- clean: written by scripts/qata_tables.py -->"


def attacked() -> str:
    """Return the variants with Dice clean and under PGD, and the share of harm that no policy noticed."""
    summary, harm = (pl.read_csv(PUBLISHED / "tables" / f"{name}.csv") for name in ("summary", "undetected_harm"))
    harm = harm.filter(pl.col("condition") == "PGD 4/255").drop("condition")
    rows = summary.join(harm, on="variant", how="left", maintain_order="left").to_dicts()
    columns = ("dice", "pooled_dice", "robust_dice", "undetected")
    lines = [f"| {row['variant']} | {' | '.join(_shown(row, name) for name in columns)} |" for row in rows]
    head = "| model | Dice per image | Dice pooled | Dice attacked | undetected harm ↓ |\n|---|---:|---:|---:|---:|"
    return "\n".join([head, *lines])


def clean() -> str:
    """Return the trainings with Dice, IoU and AURC on all clean test images."""
    rows = pl.read_csv(PUBLISHED / "clean.csv").sort("model").to_dicts()
    columns = ("dice", "iou", "pooled_dice", "pooled_iou", "aurc")
    lines = [f"| {row['model']} | {' | '.join(_shown(row, name) for name in columns)} |" for row in rows]
    head = "| training | Dice per image | IoU per image | Dice pooled | IoU pooled | AURC ↓ |\n|---|" + 5 * "---:|"
    return "\n".join([head, *lines])


def _shown(row: dict[str, float], name: str) -> str:
    """Return a value with its interval, three digits without the leading zero; an empty cell is not measured."""
    if row[name] is None:
        return "not measured"
    value, low, high = (f"{row[f'{name}{end}']:.3f}".removeprefix("0") for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


def main() -> None:
    """Write all tables."""
    for page, mark, table in (
        (ROOT / "README.md", ATTACKED, attacked),
        (PUBLISHED / "README.md", CLEAN, clean),
    ):
        fill(page, mark, END, lambda _, table=table: table())


if __name__ == "__main__":
    main()
