"""Fill the tables of docs/findings.md from the committed tables of docs/results.

Usage: python scripts/findings.py [PAGE]     (default: docs/findings.md; after scripts/publish_results.py)

A table stands between ``<!-- table: STUDY/TABLE COLUMN, COLUMN -->`` and ``<!-- end -->``. ``COLUMN~`` adds the 95 %
interval from COLUMN_low and COLUMN_high; ``COLUMN=VALUE`` keeps the rows with that value and is not shown.
"""

import re
import sys
from pathlib import Path

import polars as pl

ROOT = Path(__file__).parent.parent
MARK = re.compile(r"(<!-- table: (\S+)/(\S+) (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(page: Path) -> None:
    """Write the tables into ``page``."""
    page.write_text(MARK.sub(_filled, page.read_text(encoding="utf-8")), encoding="utf-8")


def _filled(found: re.Match[str]) -> str:
    start, study, table, wanted, end = found.groups()
    rows = pl.read_csv(ROOT / "docs" / "results" / study / "tables" / f"{table}.csv")
    shown = []
    for column in wanted.split(", "):
        name, equals, value = column.partition("=")
        if equals:
            rows = rows.filter(pl.col(name).cast(pl.String) == value)
        else:
            shown.append(column)
    names = [column.removesuffix("~").replace("_", " ") for column in shown]
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    lines += [f"| {' | '.join(_cell(row, column) for column in shown)} |" for row in rows.rows(named=True)]
    return f"{start}\n" + "\n".join(lines) + f"\n\n{end}"


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
