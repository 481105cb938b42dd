"""Deferral: the table holds what score_policy says, the promise is void off clean images, the figure shows both."""

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.reporting.fake_results import write_study

from trustseg.deferral import load_policy
from trustseg.reporting.deferral import Deferrals, aim, deferral_tables, describe_place, headline_places, read_deferrals
from trustseg.reporting.deferral_charts import deferral_charts
from trustseg.reporting.evidence import Evidence, collect
from trustseg.reporting.results import load_results
from trustseg.reporting.series import Chart
from trustseg.study.deferral import score_policy

DRAWS = 40


@pytest.fixture(scope="module")
def stressed(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder = tmp_path_factory.mktemp("deferral") / "study"
    write_study(folder, regimes=("none",), seeds=1, images=24, patients=16, gallery=False, stress=True)
    return collect(load_results(folder), draws=DRAWS)


@pytest.fixture(scope="module")
def deferrals(stressed: Evidence) -> Deferrals:
    return read_deferrals(stressed, draws=DRAWS)


@pytest.fixture(scope="module")
def charts(stressed: Evidence, deferrals: Deferrals) -> dict[str, Chart]:
    return {chart.key: chart for chart in deferral_charts(stressed, deferrals)}


def test_scores_are_those_of_the_policy(stressed: Evidence, deferrals: Deferrals) -> None:
    for cell in stressed.results.cells:
        records = stressed.results.records.filter(pl.col("cell") == cell.id)
        expected = score_policy(load_policy(cell.folder / "policy.json"), records, draws=DRAWS)
        assert expected["condition"].n_unique() > 12
        for row in expected.iter_rows(named=True):
            found = deferrals.score(cell.variant, (row["condition"], row["eps"]), row["score"])
            assert (found.value, found.low, found.high, found.patients) == pytest.approx(
                (row["value"], row["low"], row["high"], row["patients"]), nan_ok=True
            )


def test_the_promise_holds_for_clean_images_alone(stressed: Evidence, deferrals: Deferrals) -> None:
    tables = {table.key: table for table in deferral_tables(stressed, deferrals)}
    frame = tables["deferral_all"].frame()
    assert frame.filter(pl.col("condition") == "clean")["promise"].unique().to_list() == ["holds"]
    assert frame.filter(pl.col("condition") != "clean")["promise"].unique().to_list() == ["void"]
    assert len(tables["deferral"].rows) == 2 * len(headline_places(stressed))
    assert tables["deferral_policies"].frame()["statement"].unique().to_list() == [
        "At most 0.2 of the images are reviewed."
    ]


def test_the_figure_is_the_table(stressed: Evidence, deferrals: Deferrals, charts: dict[str, Chart]) -> None:
    chart = charts["deferral"]
    assert len(chart.panels) == 3 * chart.columns
    reviews = [panel for panel in chart.panels if panel.y_label == "share sent to a human"]
    for panel in reviews:
        *lines, target = panel.lines
        assert target.y == [0.2, 0.2]
        assert [line.name for line in lines] == list(deferrals.policies)
        for line in lines:
            assert line.x[0] == 0
            assert line.y[0] == deferrals.score(line.name, ("clean", 0.0), "review_rate").value


def test_an_attack_on_the_uncertainty_slips_past(stressed: Evidence, deferrals: Deferrals) -> None:
    """The synthetic attack makes every image look surer than the threshold."""
    place = next(place for place in headline_places(stressed) if place[0] == "deferral_aware")
    for variant in deferrals.policies:
        assert deferrals.score(variant, place, "review_rate").value == 0


def test_the_marker_lies_on_its_curve(charts: dict[str, Chart]) -> None:
    for chart in (charts["deferral_attacks"], charts["deferral_shifts"]):
        for panel in chart.panels:
            curves = {line.name: line for line in panel.lines if "policy" not in line.name}
            for line in panel.lines:
                if "policy" in line.name:
                    curve = curves[line.entry]
                    # both are the mean error of the same kept images, where no scores are tied
                    place = int(np.abs(np.subtract(curve.x, line.x[0])).argmin())
                    assert line.y[0] == pytest.approx(curve.y[place], abs=0.02)


def test_a_study_without_policies(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", heads=("beta",), regimes=("none",), seeds=1, images=4, gallery=False)
    evidence = collect(load_results(folder), draws=5)
    found = read_deferrals(evidence, draws=5)
    assert found.policies == {}
    assert all(not table.rows for table in deferral_tables(evidence, found))


def test_an_unreachable_target_sends_everything_to_a_human(stressed: Evidence, tmp_path: Path) -> None:
    folder = write_study(
        tmp_path / "study", heads=("beta",), regimes=("none",), seeds=1, images=6, gallery=False, stress=True
    )
    path = next(folder.glob("cells/*/policy.json"))
    path.write_text(path.read_text().replace('"threshold": 0.3', '"threshold": "-inf"'))
    evidence = collect(load_results(folder), draws=5)
    found = read_deferrals(evidence, draws=5)
    clean = ("clean", 0.0)
    assert found.score("beta, none", clean, "review_rate").value == 1
    assert found.score("beta, none", clean, "undetected_failures").value == 0
    chart = deferral_charts(evidence, found)[0]
    assert dataclasses.replace(chart).panels[0].lines[0].y[0] == 1


def test_words() -> None:
    assert describe_place(("clean", 0.0)) == "clean"
    assert describe_place(("text_markers_5", 0.0)) == "text markers, severity 5"
    assert aim("risk", 0.05) == "share of failures among the kept at most 5 %"
