"""Paired differences against the report's own unpaired scores, and harm that nobody would see counted by hand."""

import math
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from tests.reporting.deployed_runs import PGD, a_run, some_records

from trustseg.metrics import nause_from_counts
from trustseg.reporting.image_scores import numbers, per_image, read_scores, risk_area
from trustseg.reporting.paired_scores import SCORES, Side, calibration_difference, paired_difference
from trustseg.reporting.pixel_scores import estimate, pixel_calibration, pixel_ranking
from trustseg.reporting.report_data import ReportData
from trustseg.statistics import bootstrap_difference


def side(data: ReportData, variant: str) -> Side:
    choices = data.choices
    return Side(variant, choices.measures[variant], choices.columns[variant])


@pytest.fixture
def sides(data: ReportData) -> tuple[Side, Side]:
    return side(data, "evidential, random selection"), side(data, "evidential, no adversarial training")


def test_dice_is_that_of_the_report(data: ReportData, sides: tuple[Side, Side]) -> None:
    got = paired_difference(data.results, *sides, PGD, "dice", draws=200)
    first, second = (per_image(data.results, s.variant, PGD) for s in sides)
    assert first["image"].equals(second["image"])
    one, other = (numbers(each, "dice") for each in (first, second))
    wanted = bootstrap_difference(one, other, first["patient"].to_numpy(), draws=200)
    assert got.interval.value == pytest.approx(wanted.value)
    assert got.trainings == 2
    assert got.interval.patients == wanted.patients
    assert got.interval.high - got.interval.low >= 0.8 * (wanted.high - wanted.low)


def test_aurc_is_that_of_the_report(data: ReportData, sides: tuple[Side, Side]) -> None:
    got = paired_difference(data.results, *sides, PGD, "aurc", draws=50)
    values = [risk_area(read_scores(data.results, s.variant, PGD, s.column), draws=1).value for s in sides]
    assert got.interval.value == pytest.approx(values[0] - values[1], abs=1e-12)


def test_calibration_is_that_of_the_report(data: ReportData, sides: tuple[Side, Side]) -> None:
    got = calibration_difference(data.results, *sides, PGD, draws=50)
    values = [estimate(pixel_calibration(data.results, s.variant, PGD), draws=1).value for s in sides]
    assert got.interval.value == pytest.approx(values[0] - values[1])
    assert got.trainings == 2


def test_nause_is_that_of_the_report(data: ReportData, sides: tuple[Side, Side]) -> None:
    got = paired_difference(data.results, *sides, PGD, "nause", draws=50)
    results = data.results
    tables = [pixel_ranking(results, s.variant, PGD, s.measure, score=nause_from_counts) for s in sides]
    values = [estimate(table, draws=1).value for table in tables]
    assert got.interval.value == pytest.approx(values[0] - values[1], abs=0.01)  # bins are merged by other totals


def test_a_side_equals_itself(data: ReportData) -> None:
    one = side(data, "evidential, no adversarial training")
    for score in ("dice", "iou", *SCORES.keys() - {"undetected_harm"}):  # which needs a policy, see below
        got = paired_difference(data.results, one, one, PGD, score, draws=20)
        assert (got.interval.value, got.interval.low, got.interval.high) == (0, 0, 0), score


def test_undetected_harm_by_hand(data: ReportData, tmp_path: Path) -> None:
    """The policy of each run decides, fitted on its validation images; the scores of clean test images do not count."""
    clean, hit = [0.9] * 10, [0.4] * 4 + [0.85] * 6
    records = pl.concat(
        [
            some_records("a", "clean", clean, [0.0] * 10),
            some_records("a", "pgd", hit, [0.3] * 10),  # four are harmed and a false alarm raised, all are kept
            some_records("b", "clean", clean, [5.0] * 10),
            some_records("b", "pgd", hit, [0.7, 0.7, *([0.3] * 8)]),  # two of them are sent to a human
        ]
    )
    cells = tuple(a_run(tmp_path, name, column="u_entropy_mean", threshold=0.6) for name in "ab")
    results = replace(data.results, records=records, cells=cells)
    sides = [Side(name, "entropy", "u_entropy_mean") for name in "ab"]
    got = paired_difference(results, sides[0], sides[1], PGD, "undetected_harm", draws=50)
    assert got.interval.value == pytest.approx(0.5 - 0.3)


def test_a_run_without_a_policy_says_nothing(data: ReportData, tmp_path: Path) -> None:
    cells = tuple(a_run(tmp_path, name, column="u_entropy_mean", threshold=0.6) for name in "ab")
    (cells[1].folder / "policy.json").unlink()
    records = pl.concat(some_records(v, c, [0.9] * 10, [0.3] * 10) for v in "ab" for c in ("clean", "pgd"))
    results = replace(data.results, records=records, cells=cells)
    sides = [Side(name, "entropy", "u_entropy_mean") for name in "ab"]
    got = paired_difference(results, sides[0], sides[1], PGD, "undetected_harm", draws=20)
    assert math.isnan(got.interval.value)


def test_without_a_shared_image_there_is_no_difference(data: ReportData, sides: tuple[Side, Side]) -> None:
    records = data.results.records.filter(pl.col("variant") != "evidential, no adversarial training")
    results = replace(data.results, records=records)
    for score in ("dice", "aurc", "undetected_harm"):
        got = paired_difference(results, *sides, PGD, score, draws=20)
        assert math.isnan(got.interval.value), score
        assert got.p == 1.0
