"""Areas, sizes and the worst case against plain means of the records."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.reporting.fake_results import write_study
from tests.reporting.under_stress import EPS, mean_dice, plain, row_of, value_of

from trustseg.reporting import load_results
from trustseg.reporting.contents import Contents
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.robustness import ensemble_check


def test_area_is_that_of_the_mean_curve(stressed: ReportData, stress: Contents) -> None:
    rungs = [0.0, *(step / 255 for step in (1, 2, 4, 8))]
    means = [mean_dice(stressed, "beta, none", "pgd" if eps else "clean", eps) for eps in rungs]
    row = row_of(stress, "areas", variant="beta, none")
    assert value_of(row, "area_pgd") == pytest.approx(
        np.trapezoid(means, rungs) / rungs[-1], abs=1e-6
    )  # eps has 7 digits
    assert "area_deferral_aware" not in row  # one budget is no curve


def test_worst_case_by_size_covers_all_images(stressed: ReportData, stress: Contents) -> None:
    variant = "beta, none"
    frame = plain(stressed, variant, "pgd", EPS).filter(pl.col("mask_px") > 0)
    areas = (frame["mask_px"] / frame["pixels"]).to_numpy()
    low, high = np.quantile(areas[::2], (1 / 3, 2 / 3))  # two seeds of each image
    row = row_of(stress, "worst_case", variant=variant, condition="PGD 2/255")
    dice = frame["dice"].to_numpy()
    for key, chosen in (("small", areas <= low), ("large", areas > high), ("dice", areas > 0)):
        assert value_of(row, key) == pytest.approx(dice[chosen].mean(), abs=1e-9)
    parts = [row[key] for key in ("small", "medium", "large")]
    assert sum(getattr(part, "count", 0) for part in parts) == frame["image"].n_unique()
    empty = plain(stressed, variant, "pgd", EPS).filter(pl.col("mask_px") == 0)
    assert value_of(row, "empty") == pytest.approx((empty["predicted_px"] / empty["pixels"]).mean())


def test_the_ensemble_is_last_and_checked(stressed: ReportData, stress: Contents) -> None:
    conditions = [row["condition"] for row in stress.tables["worst_case"].rows if row["variant"] == "beta, none"]
    assert conditions[0] == "clean"
    assert conditions[-1] == "ensemble 2/255"
    assert "above that of no other attack" in ensemble_check(stressed)
    row = row_of(stress, "worst_case", variant="beta, none", condition="PGD 2/255")
    assert str(row["stronger"]).startswith("0 of ")


def test_an_ensemble_that_is_not_the_worst_case_is_named(stressed_study: Path, tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s", heads=("beta",), regimes=("none",), seeds=1, images=9, patients=9, stress=True)
    for path in folder.glob("cells/*/records.parquet"):
        weak = pl.when(pl.col("condition") == "ensemble").then(pl.col("dice").sqrt()).otherwise("dice")
        pl.read_parquet(path).with_columns(dice=weak).write_parquet(path)
    found = ensemble_check(collect(load_results(folder), draws=5))
    assert "not the worst case for beta, none under" in found
    assert "the ensemble is too weak" in found
