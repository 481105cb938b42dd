"""Scores of pixels against the same scores of unmerged histograms and bins worked by hand."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tests.reporting.fake_results import write_study

from trustseg.metrics import ause_from_counts, calibration_error_from_counts, nause_from_counts
from trustseg.reporting import pixel_scores
from trustseg.reporting.labels import CLEAN
from trustseg.reporting.results import load_calibration, load_histogram, load_results


def test_pixel_ranking_is_the_mean_over_seeds_of_the_whole_test_set(study: Path) -> None:
    results = load_results(study)
    cells = results.cells_of("beta, none")
    expected = []
    for seed in (0, 1):
        frames = [load_histogram(cell, CLEAN, "vacuity") for cell in cells if cell.seed == seed]
        sums = pl.concat(frames).group_by("bin").agg(pl.col("count").sum(), pl.col("wrong").sum()).sort("bin")
        expected.append(float(nause_from_counts(sums["count"].to_numpy(), sums["wrong"].to_numpy())))
    table = pixel_scores.pixel_ranking(results, "beta, none", CLEAN, "vacuity", score=nause_from_counts)
    found = pixel_scores.estimate(table, draws=50)
    assert found.value == pytest.approx(float(np.mean(expected)), abs=1e-4)
    assert found.patients == 20
    assert found.low <= found.value <= found.high


def test_merging_bins_keeps_totals_and_barely_moves_the_score() -> None:
    generator = np.random.default_rng(0)
    bins = np.arange(5600)
    count = generator.poisson(2000 * np.exp(-bins / 400)) + generator.integers(0, 3, bins.size)
    wrong = generator.binomial(count, np.clip(bins / 6000, 0, 1))
    merged = pixel_scores.merge_bins(pl.DataFrame({"bin": bins, "count": count, "wrong": wrong}))
    sums = merged.group_by("bin").agg(pl.col("count").sum(), pl.col("wrong").sum()).sort("bin")
    assert sums["count"].sum() == count.sum()
    assert sums["wrong"].sum() == wrong.sum()
    assert len(sums) <= 1001
    assert sums["bin"].to_list() == list(range(len(sums)))
    small = nause_from_counts(sums["count"].to_numpy(), sums["wrong"].to_numpy())
    assert small == pytest.approx(float(nause_from_counts(count, wrong)), abs=2e-5)


def test_merging_works_without_any_error() -> None:
    frame = pl.DataFrame({"bin": [3, 9], "count": [5, 5], "wrong": [0, 0]})
    assert pixel_scores.merge_bins(frame)["bin"].to_list() == [0, 1]


def test_ranking_of_a_measure_that_was_not_kept_is_undefined(study: Path) -> None:
    table = pixel_scores.pixel_ranking(load_results(study), "beta, none", CLEAN, "dissonance", score=ause_from_counts)
    assert np.isnan(pixel_scores.estimate(table, draws=5).value)
    assert np.isnan(pixel_scores.estimate_difference(table, table, draws=5).value)


def test_difference_with_itself_is_zero_and_paired(study: Path) -> None:
    results = load_results(study)
    table = pixel_scores.pixel_ranking(results, "beta, none", CLEAN, "vacuity", score=nause_from_counts)
    difference = pixel_scores.estimate_difference(table, table, draws=20)
    assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_calibration_error_equals_that_of_the_metric(study: Path) -> None:
    results = load_results(study)
    expected = []
    for seed in (0, 1):
        frames = [load_calibration(cell, CLEAN) for cell in results.cells_of("beta, none") if cell.seed == seed]
        sums = pl.concat(frames).group_by("bin").agg(pl.exclude("patient", "bin").sum()).sort("bin").drop("bin")
        expected.append(float(calibration_error_from_counts(torch.from_numpy(sums.cast(pl.Float64).to_numpy()))))
    found = pixel_scores.estimate(pixel_scores.pixel_calibration(results, "beta, none", CLEAN), draws=5)
    assert found.value == pytest.approx(float(np.mean(expected)), rel=1e-12)


def test_calibration_error_by_hand(tmp_path: Path) -> None:
    """Two bins of 4 and 6 pixels that are off by 0.25 and 0.5: ECE = 0.4 * 0.25 + 0.6 * 0.5."""
    folder = write_study(tmp_path / "study", heads=("beta",), regimes=("none",), seeds=1, images=4, gallery=False)
    sums = {"bin": [0, 14], "count": [4, 6], "sum_probability": [0.0, 6.0], "sum_reference": [1.0, 3.0]}
    frame = pl.DataFrame(sums).with_columns(condition=pl.lit("clean"), eps=pl.lit(0.0), patient=pl.lit("p"))
    results = load_results(folder)
    frame.write_parquet(results.cells[0].folder / "calibration.parquet")
    table = pixel_scores.pixel_calibration(results, "beta, none", CLEAN)
    assert pixel_scores.estimate(table, draws=5).value == pytest.approx(0.4)
