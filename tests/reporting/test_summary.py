"""The small table is that of the page, and fits a terminal."""

import io
import math
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from trustseg.reporting import load_results, print_summary, summary_table


def test_print_summary_fits_a_terminal(study: Path, page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pl.read_csv(page.parent / "tables" / "summary.csv")
    frame = frame.with_columns(robust_dice_under=pl.lit("PGD-10 4/255"))
    print_summary(frame, console=Console(width=80, color_system=None))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in "".join(lines)
    assert "Dice PGD-10 4/255" in lines[0]
    value, low, high = (frame[f"dice{end}"][0] for end in ("", "_low", "_high"))
    assert f"bernoulli, none        {value:.2f} [{low:.2f}, {high:.2f}]" in "\n".join(lines)
    assert summary_table(study, draws=60)["dice"].to_list() == frame["dice"].to_list()


def test_a_folder_and_its_results_give_one_table(study: Path) -> None:
    results = load_results(study)
    assert summary_table(study, draws=5).equals(summary_table(results, draws=5))


def printed(**columns: object) -> list[str]:
    """Return the lines of a table of one row."""
    stream = io.StringIO()
    print_summary(pl.DataFrame({name: [value] for name, value in columns.items()}), console=Console(file=stream))
    return stream.getvalue().splitlines()


def test_columns_that_are_not_held_are_left_out_and_the_undefined_is_said() -> None:
    head, _, row = printed(variant="a [b]", dice=0.126, dice_low=math.nan, dice_high=math.nan, other=1)
    assert head.split() == ["variant", "Dice", "clean"]
    assert row.split() == ["a", "[b]", "0.13", "[nan,", "nan]"]  # brackets are no markup
