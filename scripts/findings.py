"""Fill the tables of docs/findings.md from the committed tables of docs/results.

Usage: python scripts/findings.py [PAGE]     (default: docs/findings.md; after scripts/publish_results.py)

A table stands between ``<!-- table: STUDY/TABLE COLUMN, COLUMN -->`` and ``<!-- end -->``. ``COLUMN~`` adds the 95 %
interval from COLUMN_low and COLUMN_high; ``COLUMN=VALUE`` keeps the rows with that value and is not shown,
``COLUMN!=VALUE`` keeps the others.
"""

import math
import re
import sys
from pathlib import Path

import polars as pl
from marks import fill

from trustseg.metrics import METRICS

ROOT = Path(__file__).parent.parent
START = r"<!-- table: (?P<study>\S+)/(?P<table>\S+) (?P<columns>[^\n]+?) -->"
END = "<!-- end -->"
TITLES = {
    **{name: entry.label for name, entry in METRICS.items()},
    "compared": "Compared",
    "condition": "Measured under",
    "detectable": "Detectable",
    "difference": "Difference [95 %]",
    "dose": "Share attacked",
    "mean_over": "Mean over",
    "name": "Claim",
    "p": "p (Holm)",
    "robust_dice": "Dice under PGD",
    "score": "Score",
    "value": "Dice under PGD",
    "variant": "Variant",
    "verdict": "Verdict",
}
"""Column of a table -> what stands above it; another name stands there as it is."""

WORDS = {"mode=append, loss=trades": "TRADES", "mode=append, loss=strength": "strength-aware"}
"""Keys and values of a grid, as they stand in the name of a variant -> what they are called."""

_SHARE = re.compile(r"fraction=([\d.]+)")
_OF_ONE_VARIANT = re.compile(r"(?P<variant>.+) by (?P<first>[^,]+) minus (?P=variant) by (?P<second>[^,]+)")


def main(page: Path) -> None:
    """Write the tables into ``page``."""
    fill(page, START, END, _table)


def _table(wanted: re.Match[str]) -> str:
    rows = pl.read_csv(ROOT / "docs" / "results" / wanted["study"] / "tables" / f"{wanted['table']}.csv")
    shown = []
    for column in wanted["columns"].split(", "):
        name, equals, value = column.partition("=")
        if equals:
            kept = pl.col(name.removesuffix("!")).cast(pl.String) == value
            rows = rows.filter(~kept if name.endswith("!") else kept)
        else:
            shown.append(column)
    names = [TITLES.get(name, name) for name in (column.removesuffix("~") for column in shown)]
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
    if isinstance(row[name], float) and math.isnan(row[name]):
        return "not measured"
    return f"{value} [{_number(row[f'{name}_low'])}, {_number(row[f'{name}_high'])}]" if column != name else value


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return "" if value is None else _words(str(value))


def _words(text: str) -> str:
    """Return a name as it is said.

    Example:
        >>> _words("beta, random, fraction=0.25 by mutual information minus beta, random, fraction=0.25 by entropy")
        'beta, random, 25 % attacked: mutual information minus entropy'
    """
    text = _OF_ONE_VARIANT.sub(r"\g<variant>: \g<first> minus \g<second>", text)
    text = _SHARE.sub(lambda match: f"{100 * float(match[1]):g} % attacked", text)
    for keys, words in WORDS.items():
        text = text.replace(keys, words)
    return text.replace("pgd", "PGD")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "findings.md")
