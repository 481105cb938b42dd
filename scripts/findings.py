"""Fill the tables of docs/findings.md from the committed tables of docs/results.

Usage: python scripts/findings.py [PAGE]     (default: docs/findings.md; after scripts/publish_results.py)

A table stands between ``<!-- table: STUDY/TABLE COLUMN, COLUMN -->`` and ``<!-- end -->``. ``COLUMN~`` adds the 95 %
interval from COLUMN_low and COLUMN_high; ``COLUMN=VALUE`` keeps the rows with that value and is not shown.
"""

import re
import sys
from pathlib import Path

import polars as pl
from marks import fill

ROOT = Path(__file__).parent.parent
START = r"<!-- table: (?P<study>\S+)/(?P<table>\S+) (?P<columns>[^\n]+?) -->"
END = "<!-- end -->"


def main(page: Path) -> None:
    """Write the tables into ``page``."""
    fill(page, START, END, _table)


def _table(wanted: re.Match[str]) -> str:
    rows = pl.read_csv(ROOT / "docs" / "results" / wanted["study"] / "tables" / f"{wanted['table']}.csv")
    shown = []
    for column in wanted["columns"].split(", "):
        name, equals, value = column.partition("=")
        if equals:
            rows = rows.filter(pl.col(name).cast(pl.String) == value)
        else:
            shown.append(column)
    names = [column.removesuffix("~").replace("_", " ") for column in shown]
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    lines += [f"| {' | '.join(_cell(row, column) for column in shown)} |" for row in rows.rows(named=True)]
    return "\n".join(lines)


def _cell(row: dict[str, object], column: str) -> str:
    name = column.removesuffix("~")
    value = _number(row[name])
    if name == "p" and value == "0.000":
        return "< 0.001"
    if row[name] is None:
        return ""
    return f"{value} [{_number(row[f'{name}_low'])}, {_number(row[f'{name}_high'])}]" if column != name else value


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is None else str(value)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "findings.md")
