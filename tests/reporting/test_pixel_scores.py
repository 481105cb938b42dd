"""Scores of pixels against the same scores of unmerged histograms and bins worked by hand."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tests.reporting.given import CLEAN, EVIDENTIAL, one_run

from trustseg.metrics import ause, ause_from_counts, calibration_error_from_counts, nause_from_counts, uncertainty_keys
from trustseg.reporting.cell_tables import load_calibration, load_histogram
from trustseg.reporting.pixel_scores import (
    estimate,
    merge_bins,
    minority_of,
    pixel_calibration,
    pixel_ranking,
    squared_error_ranking,
)
from trustseg.reporting.results import Results, load_results


def test_pixel_ranking_is_the_mean_over_seeds_of_the_whole_test_set(study: Path) -> None:
    results = load_results(study)
    cells = results.cells_of(EVIDENTIAL)
    expected = []
    for seed in (0, 1):
        frames = [load_histogram(cell, CLEAN, "vacuity") for cell in cells if cell.seed == seed]
        sums = pl.concat(frames).group_by("bin").agg(pl.col("count").sum(), pl.col("wrong").sum()).sort("bin")
        expected.append(float(nause_from_counts(sums["count"].to_numpy(), sums["wrong"].to_numpy())))
    table = pixel_ranking(results, EVIDENTIAL, CLEAN, "vacuity", score=nause_from_counts)
    found = estimate(table, draws=50)
    assert found.value == pytest.approx(float(np.mean(expected)), abs=1e-4)
    assert found.patients == 20
    assert found.low <= found.value <= found.high


def test_merging_bins_keeps_totals_and_barely_moves_the_score() -> None:
    generator = np.random.default_rng(0)
    bins = np.arange(5600)
    count = generator.poisson(2000 * np.exp(-bins / 400)) + generator.integers(0, 3, bins.size)
    wrong = generator.binomial(count, np.clip(bins / 6000, 0, 1))
    merged = merge_bins(pl.DataFrame({"bin": bins, "count": count, "wrong": wrong}))
    sums = merged.group_by("bin").agg(pl.col("count").sum(), pl.col("wrong").sum()).sort("bin")
    assert sums["count"].sum() == count.sum()
    assert sums["wrong"].sum() == wrong.sum()
    assert len(sums) <= 1001
    assert sums["bin"].to_list() == list(range(len(sums)))
    small = nause_from_counts(sums["count"].to_numpy(), sums["wrong"].to_numpy())
    assert small == pytest.approx(float(nause_from_counts(count, wrong)), abs=2e-5)


def test_merging_works_without_any_error() -> None:
    frame = pl.DataFrame({"bin": [3, 9], "count": [5, 5], "wrong": [0, 0]})
    assert merge_bins(frame)["bin"].to_list() == [0, 1]


def test_ranking_of_a_measure_that_was_not_kept_is_undefined(study: Path) -> None:
    table = pixel_ranking(load_results(study), EVIDENTIAL, CLEAN, "dissonance", score=ause_from_counts)
    assert np.isnan(estimate(table, draws=5).value)


def test_calibration_error_equals_that_of_the_metric(study: Path) -> None:
    results = load_results(study)
    expected = []
    for seed in (0, 1):
        frames = [load_calibration(cell, CLEAN) for cell in results.cells_of(EVIDENTIAL) if cell.seed == seed]
        sums = pl.concat(frames).group_by("bin").agg(pl.exclude("patient", "bin").sum()).sort("bin").drop("bin")
        expected.append(float(calibration_error_from_counts(torch.from_numpy(sums.cast(pl.Float64).to_numpy()))))
    found = estimate(pixel_calibration(results, EVIDENTIAL, CLEAN), draws=5)
    assert found.value == pytest.approx(float(np.mean(expected)), rel=1e-12)


def test_calibration_error_by_hand(tmp_path: Path) -> None:
    """Two bins of 4 and 6 pixels that are off by 0.25 and 0.5: ECE = 0.4 * 0.25 + 0.6 * 0.5."""
    folder = one_run(tmp_path / "study")
    sums = {"bin": [0, 14], "count": [4, 6], "sum_probability": [0.0, 6.0], "sum_reference": [1.0, 3.0]}
    frame = pl.DataFrame(sums).with_columns(condition=pl.lit("clean"), eps=pl.lit(0.0), patient=pl.lit("p"))
    results = load_results(folder)
    frame.write_parquet(results.cells[0].folder / "calibration.parquet")
    table = pixel_calibration(results, EVIDENTIAL, CLEAN)
    assert estimate(table, draws=5).value == pytest.approx(0.4)


@pytest.mark.parametrize("measure", ["entropy", "variance"])
def test_doubt_is_the_inverse_of_the_measure(measure: str) -> None:
    doubt = np.array([0.0, 1e-12, 1e-4, 0.03, 0.2, 0.4999, 0.5])
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.nan_to_num(-doubt * np.log(doubt)) - (1 - doubt) * np.log1p(-doubt)
    values = entropy if measure == "entropy" else doubt * (1 - doubt)
    np.testing.assert_allclose(minority_of(values, measure=measure), doubt, rtol=1e-3)


def _stored(folder: Path, pixels: pl.DataFrame) -> Results:
    """Write histograms of given pixels into a study of one run."""
    results = load_results(one_run(folder))
    keys = ["condition", "eps", "measure", "patient", "bin"]
    frames = [
        pixels.with_columns(
            measure=pl.lit(name),
            condition=pl.lit("clean"),
            eps=pl.lit(0.0),
            bin=pl.Series(uncertainty_keys(torch.tensor(pixels[name].to_list()), resolution="coarse").numpy()),
        )
        for name in ("entropy", "vacuity")
    ]
    table = pl.concat(frames).group_by(keys).agg(pl.len().alias("count"), pl.col("wrong").sum(), pl.col("brier").sum())
    table.write_parquet(results.cells[0].folder / "histograms.parquet")
    return results


def test_equals_the_exact_score(tmp_path: Path) -> None:
    generator = np.random.default_rng(5)
    p = generator.beta(0.3, 0.6, 20_000)
    y = generator.random(p.size) < np.clip(p * 1.2 - 0.05, 0, 1)
    entropy = -p * np.log(p) - (1 - p) * np.log1p(-p)
    vacuity = entropy * generator.uniform(0.5, 1, p.size)
    error = (p - y) ** 2
    patients = [f"p{number % 9}" for number in range(p.size)]
    columns = {"patient": patients, "entropy": entropy, "vacuity": vacuity, "brier": error}
    results = _stored(tmp_path / "study", pl.DataFrame(columns | {"wrong": ((p > 0.5) != y).astype(int)}))
    for name, scores in (("entropy", entropy), ("vacuity", vacuity)):
        found = estimate(squared_error_ranking(results, EVIDENTIAL, CLEAN, name), draws=20)
        expected = float(ause(torch.from_numpy(scores), torch.from_numpy(error)))
        assert found.value == pytest.approx(expected, abs=2e-3)
        assert found.low < found.value < found.high


def test_without_entropy_or_variance_it_is_undefined(tmp_path: Path) -> None:
    folder = one_run(tmp_path / "study")
    path = next(folder.glob("cells/*/histograms.parquet"))
    pl.read_parquet(path).filter(pl.col("measure") == "vacuity").write_parquet(path)
    table = squared_error_ranking(load_results(folder), EVIDENTIAL, CLEAN, "vacuity")
    assert np.isnan(estimate(table, draws=5).value)


def test_no_error_at_all_is_undefined(tmp_path: Path) -> None:
    pixels = pl.DataFrame({"patient": ["a", "b"], "entropy": [0.0] * 2, "vacuity": [0.1] * 2, "wrong": 0, "brier": 0.0})
    results = _stored(tmp_path / "study", pixels)
    assert np.isnan(estimate(squared_error_ranking(results, EVIDENTIAL, CLEAN, "vacuity"), draws=5).value)
