"""Paired differences against the report's own unpaired scores, and harm that nobody would see counted by hand."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from tests.reporting.given import EVIDENTIAL, PGD, deferring_run, some_records, with_records

from trustseg.metrics import METRICS, metrics_of
from trustseg.reporting.differences import Side, paired_difference
from trustseg.reporting.image_rankings import ranking_of, read_scores
from trustseg.reporting.image_scores import per_image
from trustseg.reporting.pixel_scores import estimate, pixel_table
from trustseg.reporting.report_data import ReportData
from trustseg.reporting.results import Results
from trustseg.statistics import bootstrap_difference
from trustseg.tables import floats_of

Sides = tuple[Side, Side]


@pytest.fixture
def sides(data: ReportData) -> Sides:
    measures, columns = data.measures, data.columns
    first, second = (Side(name, measures[name], columns[name]) for name in ("evidential, random selection", EVIDENTIAL))
    return first, second


def test_dice_is_that_of_the_report(data: ReportData, sides: Sides) -> None:
    got = paired_difference(replace(data.results, draws=200), *sides, PGD, "dice")
    first, second = (per_image(data.results, side.variant, PGD) for side in sides)
    assert first["image"].equals(second["image"])
    one, other = (floats_of(each, "dice") for each in (first, second))
    wanted = bootstrap_difference(one, other, first["patient"].to_numpy(), draws=200)
    assert got.interval.value == pytest.approx(wanted.value)
    assert got.trainings == 2
    assert got.interval.patients == wanted.patients
    assert got.interval.high - got.interval.low >= 0.8 * (wanted.high - wanted.low)


def _aurc(results: Results, side: Side) -> float:
    return ranking_of(read_scores(results, side.variant, PGD, side.column), draws=1).value


def _calibration(results: Results, side: Side) -> float:
    return estimate(pixel_table(results, side.variant, PGD, METRICS["ece"]), draws=1).value


def _nause(results: Results, side: Side) -> float:
    return estimate(pixel_table(results, side.variant, PGD, METRICS["nause"], measure=side.measure), draws=1).value


@pytest.mark.parametrize(
    ("score", "of_one", "tolerance"),
    [("aurc", _aurc, 1e-12), ("ece", _calibration, 1e-9), ("nause", _nause, 0.01)],  # nAUSE merges bins by other totals
)
def test_scores_are_those_of_the_report(
    data: ReportData, sides: Sides, score: str, of_one: Callable[[Results, Side], float], tolerance: float
) -> None:
    got = paired_difference(data.results, *sides, PGD, score)
    first, second = (of_one(data.results, side) for side in sides)
    assert got.interval.value == pytest.approx(first - second, abs=tolerance)
    assert got.trainings == 2


def test_a_side_equals_itself(data: ReportData, sides: Sides) -> None:
    for score in ("dice", "iou", *metrics_of("pixel_ranking", "image_ranking", "calibration")):
        got = paired_difference(data.results, sides[1], sides[1], PGD, score)
        assert (got.interval.value, got.interval.low, got.interval.high) == (0, 0, 0), score


def test_undetected_harm_by_hand(data: ReportData, tmp_path: Path) -> None:
    """The policy of each run decides, fitted on its validation images; a run without one says nothing."""
    clean, hit = [0.9] * 10, [0.4] * 4 + [0.85] * 6
    records = pl.concat(
        [
            some_records("a", "clean", clean, [0.0] * 10),
            some_records("a", "pgd", hit, [0.3] * 10),  # four are harmed and a false alarm raised, all are kept
            some_records("b", "clean", clean, [5.0] * 10),
            some_records("b", "pgd", hit, [0.7, 0.7, *([0.3] * 8)]),  # two of them are sent to a human
        ]
    )
    cells = tuple(deferring_run(tmp_path, name, threshold=0.6) for name in "ab")
    results = with_records(data, records, cells=cells).results
    first, second = (Side(name, "entropy", "u_entropy_mean") for name in "ab")
    got = paired_difference(results, first, second, PGD, "undetected_harm")
    assert got.interval.value == pytest.approx(0.5 - 0.3)
    (cells[1].folder / "policy.json").unlink()
    got = paired_difference(results, first, second, PGD, "undetected_harm")
    assert math.isnan(got.interval.value)


def test_without_a_shared_image_there_is_no_difference(data: ReportData, sides: Sides) -> None:
    results = with_records(data, data.results.records.filter(pl.col("variant") != EVIDENTIAL)).results
    for score in ("dice", "aurc", "undetected_harm"):
        got = paired_difference(results, *sides, PGD, score)
        assert math.isnan(got.interval.value), score
        assert got.p == 1.0
