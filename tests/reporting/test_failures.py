"""Which score finds bad segmentations: against the scores on tensors, and by names for the same thing."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tests.reporting.fake_results import without_foreground, write_study

from trustseg.metrics import aurc, nause
from trustseg.metrics.detection import auroc
from trustseg.reporting.failures import finder_table, read_finders, same_orders
from trustseg.reporting.image_scores import read_scores
from trustseg.reporting.labels import CLEAN
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.results import load_results

TAU = 0.7


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """Ties in every score; the entropy and the variance are one score, and so are vacuity and a fifth."""
    folder = tmp_path_factory.mktemp("failures") / "study"
    write_study(folder, selections=("none",), seeds=2, images=26, patients=11, gallery=False)
    for number, path in enumerate(sorted(folder.glob("cells/*/records.parquet"))):
        records = pl.read_parquet(path)
        drawn = np.random.default_rng(number).integers(0, 9, (3, len(records))) / 10
        noise = [pl.lit(pl.Series(row)) for row in drawn]
        records = records.with_columns(
            u_entropy_mean=noise[0] + pl.col("u_entropy_mean").round(1),
            u_entropy_quantile_mean=noise[1],
            u_vacuity_mean=pl.when(pl.col("u_vacuity_mean").is_not_null()).then(noise[2]),
        )
        records.with_columns(
            u_variance_mean=pl.when(pl.col("u_variance_mean").is_not_null()).then(pl.col("u_entropy_mean") ** 2)
        ).write_parquet(path)
    return collect(load_results(folder), draws=20)


def test_scores_equal_those_on_tensors(small: ReportData) -> None:
    finders = read_finders(small, tau=TAU, draws=30)
    assert {finder.column for finder in finders} >= {"u_entropy_mean", "u_vacuity_mean"}
    for finder in finders:
        held = read_scores(small.results, finder.variant, CLEAN, finder.column)
        pairs = [
            (torch.from_numpy(u[np.isfinite(u)]), torch.from_numpy(r[np.isfinite(u)]))
            for u, r in zip(held.uncertainty, held.risk, strict=True)
        ]
        expected = [
            np.mean([float(aurc(u, r)) for u, r in pairs]),
            np.mean([float(nause(u, r)) for u, r in pairs]),  # nAURC: the quotient is the same
            np.mean([float(auroc(u, r > 1 - TAU)) for u, r in pairs]),
        ]
        found = [finder.aurc, finder.naurc, finder.auroc]
        assert [interval.value for interval in found] == pytest.approx(expected, nan_ok=True)
        assert finder.aurc.low <= finder.aurc.value <= finder.aurc.high
        assert -1 <= finder.size <= 1


def test_the_best_of_a_variant_comes_first(small: ReportData) -> None:
    frame = finder_table(small, read_finders(small, tau=TAU, draws=5), tau=TAU).frame()
    for _, rows in frame.group_by("variant"):
        assert rows["place"].to_list() == list(range(1, len(rows) + 1))
        assert rows["aurc"].is_sorted()


def test_two_names_for_one_score_are_told(small: ReportData) -> None:
    said = same_orders(small)
    assert any("entropy mean and variance mean" in sentence for sentence in said if "classical" in sentence)
    assert not any("vacuity mean" in sentence and "entropy" in sentence for sentence in said)


def test_no_failure_is_undefined(small: ReportData) -> None:
    assert all(np.isnan(finder.auroc.value) for finder in read_finders(small, tau=0.001, draws=5))


def test_no_image_with_foreground(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), selections=("none",), seeds=1, images=4, gallery=False)
    for path in folder.glob("cells/*/records.parquet"):
        without_foreground(pl.read_parquet(path)).write_parquet(path)
    data = collect(load_results(folder), draws=5)
    assert read_finders(data, draws=5) == []
    assert same_orders(data) == []
