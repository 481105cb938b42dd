"""Unknown images: the scores equal those on tensors, areas are plain shares."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tests.reporting.fake_results import write_study

from trustseg.metrics.detection import auroc, average_precision, fpr_at_tpr
from trustseg.reporting.populations import population_tables, read_populations
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.results import load_results


@pytest.fixture(scope="module")
def stressed(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    """Two seeds; the unknown images get scores of their own, some tied with those of the test images."""
    folder = tmp_path_factory.mktemp("populations") / "study"
    write_study(folder, selections=("none",), seeds=2, images=20, patients=9, gallery=False, stress=True)
    for number, path in enumerate(sorted(folder.glob("cells/*/records.parquet"))):
        records = pl.read_parquet(path)
        elsewhere = (records["kind"] == "population").to_numpy()
        noise = pl.lit(pl.Series(np.random.default_rng(number).normal(0.05, 0.1, len(records)) * elsewhere))
        scores = [name for name in records.columns if name.startswith("u_")]
        records = records.with_columns((pl.col(name) + noise).round(2).alias(name) for name in scores)
        records.with_columns(
            predicted_px=pl.when(pl.col("kind") == "population", pl.col("image").str.contains("image_00"))
            .then(0)
            .otherwise("predicted_px")
        ).write_parquet(path)
    return collect(load_results(folder), draws=20)


def test_scores_equal_those_on_tensors_averaged_over_the_runs(stressed: ReportData) -> None:
    results = stressed.results
    found = read_populations(stressed, draws=30)
    assert set(found.images) == {"ct"}
    for variant in results.variants:
        for column in results.score_columns(variant):
            expected = []
            for cell in results.cells_of(variant):
                known = results.records.filter(pl.col("cell") == cell.id, pl.col("condition") == "clean")
                other = results.populations.filter(pl.col("cell") == cell.id)
                scores = torch.tensor(known[column].to_list() + other[column].to_list())
                unknown = torch.arange(len(scores)) >= len(known)
                expected.append([float(score(scores, unknown)) for score in (auroc, average_precision, fpr_at_tpr)])
            scores_found = found.detection[variant, "ct", column]
            values = [scores_found[name].value for name in ("auroc", "aupr", "fpr95")]
            assert values == pytest.approx(np.mean(expected, axis=0).tolist())
            assert scores_found["auroc"].low < values[0] < scores_found["auroc"].high
            assert scores_found["auroc"].patients == 18  # 9 of the test images and 9 others


def test_areas_are_shares(stressed: ReportData) -> None:
    found = read_populations(stressed, draws=30)
    rows = stressed.results.populations
    for variant in stressed.results.variants:
        mine = rows.filter(pl.col("variant") == variant)
        assert found.touched[variant, "ct"].value == pytest.approx((mine["predicted_px"] > 0).mean())
        assert found.area[variant, "ct"].value == pytest.approx((mine["predicted_px"] / mine["pixels"]).mean())
    tables = {table.key: table for table in population_tables(stressed, found)}
    frame = tables["population_area"].frame()
    assert frame["area"].to_list() == pytest.approx([100 * found.area[v, "ct"].value for v in frame["variant"]])
    assert len(tables["populations_all"].rows) == len(found.detection)


def test_other_populations_are_no_test_images(stressed: ReportData) -> None:
    assert stressed.results.records["image"].n_unique() == 20
    assert set(stressed.results.records["kind"]) == {"clean", "attack", "shift"}
    assert "ct" not in stressed.choices.attacks


def test_none_evaluated_none_reported(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), selections=("none",), seeds=1, images=4, gallery=False)
    data = collect(load_results(folder), draws=5)
    found = read_populations(data, draws=5)
    assert found.images == {}
    assert all(not table.rows for table in population_tables(data, found))
