"""Deferral: the table holds what score_policy says, the promise is void off clean images."""

import dataclasses
from pathlib import Path

import polars as pl
import pytest
from tests.reporting.conftest import DEFERRAL_DRAWS
from tests.reporting.fake_results import write_study

from trustseg.deferral import load_policy
from trustseg.reporting.deferral import Deferrals, deferral_tables, headline_conditions, read_deferrals
from trustseg.reporting.deferral_charts import deferral_charts
from trustseg.reporting.report_data import ReportData, collect
from trustseg.reporting.results import load_results
from trustseg.study.deferral import score_policy


def test_scores_are_those_of_the_policy(deferring: ReportData, deferrals: Deferrals) -> None:
    for cell in deferring.results.cells:
        records = deferring.results.records.filter(pl.col("cell") == cell.id)
        expected = score_policy(load_policy(cell.folder / "policy.json"), records, draws=DEFERRAL_DRAWS)
        assert expected["condition"].n_unique() > 12
        for row in expected.iter_rows(named=True):
            found = deferrals.score(cell.variant, (row["condition"], row["eps"]), row["score"])
            assert (found.value, found.low, found.high, found.patients) == pytest.approx(
                (row["value"], row["low"], row["high"], row["patients"]), nan_ok=True
            )


def test_the_promise_holds_for_clean_images_alone(deferring: ReportData, deferrals: Deferrals) -> None:
    tables = {table.key: table for table in deferral_tables(deferring, deferrals)}
    frame = tables["deferral_all"].frame()
    assert frame.filter(pl.col("condition") == "clean")["promise"].unique().to_list() == ["holds"]
    assert frame.filter(pl.col("condition") != "clean")["promise"].unique().to_list() == ["void"]
    assert len(tables["deferral"].rows) == 2 * len(headline_conditions(deferring))
    assert tables["deferral_policies"].frame()["statement"].unique().to_list() == [
        "At most 0.2 of the images are reviewed."
    ]


def test_an_attack_on_the_uncertainty_slips_past(deferring: ReportData, deferrals: Deferrals) -> None:
    """The synthetic attack makes every image look surer than the threshold."""
    place = next(place for place in headline_conditions(deferring) if place[0] == "deferral_aware")
    for variant in deferrals.policies:
        assert deferrals.score(variant, place, "review_rate").value == 0


def test_a_study_without_policies(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), regimes=("none",), seeds=1, images=4, gallery=False)
    data = collect(load_results(folder), draws=5)
    found = read_deferrals(data, draws=5)
    assert found.policies == {}
    assert all(not table.rows for table in deferral_tables(data, found))


def test_an_unreachable_target_sends_everything_to_a_human(deferring: ReportData, tmp_path: Path) -> None:
    folder = write_study(
        tmp_path / "study", heads=("beta",), regimes=("none",), seeds=1, images=6, gallery=False, stress=True
    )
    path = next(folder.glob("cells/*/policy.json"))
    path.write_text(path.read_text().replace('"threshold": 0.3', '"threshold": "-inf"'))
    data = collect(load_results(folder), draws=5)
    found = read_deferrals(data, draws=5)
    clean = ("clean", 0.0)
    assert found.score("beta, none", clean, "review_rate").value == 1
    assert found.score("beta, none", clean, "undetected_failures").value == 0
    chart = deferral_charts(data, found)[0]
    assert dataclasses.replace(chart).panels[0].lines[0].y[0] == 1
