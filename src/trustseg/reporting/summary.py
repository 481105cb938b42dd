"""The answer of a study as one small table: as a data frame, and on a terminal."""

from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from trustseg.reporting.overview import summary
from trustseg.reporting.report_data import collect
from trustseg.reporting.results import Results, load_results

__all__ = ["print_summary", "summary_table"]


def summary_table(study: Path | Results, *, draws: int = 2000) -> pl.DataFrame:
    """Return one row per variant: each score with the ends of its 95 % interval in ``_low`` and ``_high`` columns.

    Args:
        study: a study folder, or what ``load_results`` made of it.
        draws: bootstrap draws, > 0.

    Raises:
        MissingFileError: if the folder holds no finished cell.
        DataError: if a file in it cannot be read.
    """
    results = load_results(study) if isinstance(study, Path) else study
    return summary(collect(results, draws=draws)).frame()


def print_summary(table: pl.DataFrame, *, console: Console | None = None) -> None:
    """Print what ``summary_table`` returned, small enough for a terminal of 80 columns.

    Args:
        table: one row per variant, e.g. ``tables/summary.csv`` of a report.
        console: where to print; the terminal by default.
    """
    attack = str(table["robust_dice_under"][0]) if "robust_dice_under" in table.columns else ""
    titles = {
        "variant": "variant",
        "dice": "Dice clean",
        "robust_dice": f"Dice {attack}",
        "nause": "nAUSE",
    }
    held = {key: title for key, title in titles.items() if key in table.columns}
    shown = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for key, title in held.items():
        shown.add_column(Text(title), justify="left" if key == "variant" else "right", no_wrap=True)
    for row in table.iter_rows(named=True):
        shown.add_row(*(_cell(row, key) for key in held))
    (console or Console()).print(shown)


def _cell(row: dict[str, Any], key: str) -> Text:
    if key == "variant":
        return Text(str(row[key]))
    value, low, high = (f"{row[key + end]:.2f}" for end in ("", "_low", "_high"))
    return Text(f"{value} [{low}, {high}]")
