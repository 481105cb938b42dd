"""AUSE with squared errors from histograms against the exact score of the pixels."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tests.reporting.fake_results import write_study

from trustseg.metrics import ause, uncertainty_keys
from trustseg.reporting.pixel_scores import estimate, minority_of, squared_error_ranking
from trustseg.reporting.results import Results, load_results


@pytest.mark.parametrize("measure", ["entropy", "variance"])
def test_doubt_is_the_inverse_of_the_measure(measure: str) -> None:
    doubt = np.array([0.0, 1e-12, 1e-4, 0.03, 0.2, 0.4999, 0.5])
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.nan_to_num(-doubt * np.log(doubt)) - (1 - doubt) * np.log1p(-doubt)
    values = entropy if measure == "entropy" else doubt * (1 - doubt)
    np.testing.assert_allclose(minority_of(values, measure=measure), doubt, rtol=1e-3)


def _stored(folder: Path, pixels: pl.DataFrame) -> Results:
    """Write histograms of given pixels into a study of one run."""
    results = load_results(write_study(folder, heads=("beta",), regimes=("none",), seeds=1, images=4, gallery=False))
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
        found = estimate(squared_error_ranking(results, "beta, none", ("clean", 0.0), name), draws=20)
        expected = float(ause(torch.from_numpy(scores), torch.from_numpy(error)))
        assert found.value == pytest.approx(expected, abs=2e-3)
        assert found.low < found.value < found.high


def test_without_entropy_or_variance_it_is_undefined(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), regimes=("none",), seeds=1, images=4, gallery=False)
    results = load_results(folder)
    path = results.cells[0].folder / "histograms.parquet"
    pl.read_parquet(path).filter(pl.col("measure") == "vacuity").write_parquet(path)
    table = squared_error_ranking(results, "beta, none", ("clean", 0.0), "vacuity")
    assert np.isnan(estimate(table, draws=5).value)


def test_no_error_at_all_is_undefined(tmp_path: Path) -> None:
    pixels = pl.DataFrame({"patient": ["a", "b"], "entropy": [0.0] * 2, "vacuity": [0.1] * 2, "wrong": 0, "brier": 0.0})
    results = _stored(tmp_path / "study", pixels)
    assert np.isnan(estimate(squared_error_ranking(results, "beta, none", ("clean", 0.0), "vacuity"), draws=5).value)
