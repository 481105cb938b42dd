"""How much of the lesion a shift hides stands beside what the shift costs."""

from pathlib import Path

import polars as pl
import pytest
from tests.reporting.fake_results import write_study

from trustseg.reporting.evidence import collect
from trustseg.reporting.results import load_results
from trustseg.reporting.shifted import shift_table


def test_the_share_of_the_lesion_that_a_shift_hides(tmp_path: Path) -> None:
    folder = write_study(
        tmp_path / "study", heads=("beta",), regimes=("none",), images=6, patients=6, gallery=False, stress=True
    )
    before = shift_table(collect(load_results(folder), draws=5), draws=5)
    assert "covered" not in before.frame().columns
    for path in folder.glob("cells/*/records.parquet"):
        of_shifts = pl.when(kind="shift").then(pl.col("severity") / 10)
        covered = pl.when(pl.col("image") == pl.col("image").min()).then(float("nan")).otherwise(of_shifts)
        pl.read_parquet(path).with_columns(covered=covered).write_parquet(path)
    table = shift_table(collect(load_results(folder), draws=5), draws=5)
    assert [row["covered"] for row in table.rows] == pytest.approx([0.5, 0.5, 0.5])  # at severity 5
    kept = [column.key for column in before.columns]
    assert before.frame().equals(table.only(*kept, title=before.title).frame())
