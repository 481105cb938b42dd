"""How much of the target a shift hides, and what the shift costs."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.reporting.fake_results import write_study
from tests.reporting.fake_stress import SEVERITIES, SHIFTS
from tests.reporting.under_stress import mean_dice, row_of, value_of

from trustseg.reporting import load_results
from trustseg.reporting.contents import Contents
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.shifted import shift_table, table_version


def test_the_share_of_the_lesion_that_a_shift_hides(tmp_path: Path) -> None:
    folder = write_study(
        tmp_path / "study", heads=("beta",), selections=("none",), images=6, patients=6, gallery=False, stress=True
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
    assert before.frame().equals(table.only(kept, title=before.title).frame())


def test_mean_corruption_is_the_mean_over_shifts(stressed: ReportData, stress: Contents) -> None:
    variant = "classical, no adversarial training"
    row = row_of(stress, "corruption", variant=variant)
    means = {
        severity: float(np.mean([mean_dice(stressed, variant, f"{name}_{severity}") for name in SHIFTS]))
        for severity in SEVERITIES
    }
    for severity, mean in means.items():
        assert value_of(row, f"severity_{severity}") == pytest.approx(mean, abs=1e-9)
    assert value_of(row, "cost") == pytest.approx(
        float(np.mean(list(means.values()))) - value_of(row, "clean"), abs=1e-9
    )
    line = stress.charts["corruption"].panels[0].lines[0]
    assert list(line.x) == [0, *SEVERITIES]
    assert table_version(stressed.results) == "1"


def test_small_multiples_put_the_costliest_shift_first(stress: Contents) -> None:
    assert [panel.title for panel in stress.charts["shifts"].panels] == ["rotation", "jpeg", "gaussian noise"]
    row = row_of(stress, "shifts", variant="evidential, no adversarial training", shift="jpeg")
    assert value_of(row, "severity_1") > value_of(row, "severity_5")
