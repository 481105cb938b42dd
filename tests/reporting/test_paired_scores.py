"""Paired differences against the report's own unpaired scores, and harm that nobody would see counted by hand."""

import math
from dataclasses import replace

import polars as pl
import pytest

from trustseg.reporting.evidence import Evidence
from trustseg.reporting.image_scores import mean_difference, read_scores, risk_area
from trustseg.reporting.paired_scores import SCORES, Side, paired_difference
from trustseg.reporting.pixel_scores import estimate, pixel_ranking
from trustseg.study import rankings

PGD = ("pgd", 4 / 255)


def side(evidence: Evidence, variant: str) -> Side:
    choices = evidence.choices
    return Side(variant, choices.measures[variant], choices.columns[variant])


@pytest.fixture
def sides(evidence: Evidence) -> tuple[Side, Side]:
    return side(evidence, "beta, random"), side(evidence, "beta, none")


def test_dice_is_that_of_the_report(evidence: Evidence, sides: tuple[Side, Side]) -> None:
    got = paired_difference(evidence.results, *sides, PGD, "dice", draws=200)
    wanted = mean_difference(evidence.results, "beta, random", "beta, none", PGD, "dice", draws=200)
    assert got.interval.value == pytest.approx(wanted.value)
    assert got.trainings == 2
    assert got.interval.patients == wanted.patients
    assert got.interval.high - got.interval.low >= 0.8 * (wanted.high - wanted.low)


def test_aurc_is_that_of_the_report(evidence: Evidence, sides: tuple[Side, Side]) -> None:
    got = paired_difference(evidence.results, *sides, PGD, "aurc", draws=50)
    values = [risk_area(read_scores(evidence.results, s.variant, PGD, s.column), draws=1).value for s in sides]
    assert got.interval.value == pytest.approx(values[0] - values[1], abs=1e-12)


def test_nause_is_that_of_the_report(evidence: Evidence, sides: tuple[Side, Side]) -> None:
    got = paired_difference(evidence.results, *sides, PGD, "nause", draws=50)
    results = evidence.results
    tables = [pixel_ranking(results, s.variant, PGD, s.measure, score=rankings.nause) for s in sides]
    values = [estimate(table, draws=1).value for table in tables]
    assert got.interval.value == pytest.approx(values[0] - values[1], abs=0.01)  # bins are merged by other totals


def test_a_side_equals_itself(evidence: Evidence) -> None:
    one = side(evidence, "beta, none")
    for score in SCORES:
        got = paired_difference(evidence.results, one, one, PGD, score, draws=20)
        assert (got.interval.value, got.interval.low, got.interval.high) == (0, 0, 0), score


def test_undetected_harm_by_hand(evidence: Evidence) -> None:
    # Ten images of ten patients: uncertainty 0 to 9 clean, threshold at 7.2; the attack halves Dice of the first four.
    def rows(variant: str, condition: str, dice: list[float], u: list[float]) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "variant": variant,
                "condition": condition,
                "eps": 0.0 if condition == "clean" else 4 / 255,
                "image": [f"i{k}" for k in range(10)],
                "patient": [f"p{k}" for k in range(10)],
                "seed": 0,
                "mask_px": 5,
                "dice": dice,
                "iou": dice,
                "u": u,
            }
        )

    sure, clean, hit = [float(k) for k in range(10)], [0.9] * 10, [0.4] * 4 + [0.85] * 6
    records = pl.concat(
        [
            rows("a", "clean", clean, sure),
            rows("a", "pgd", hit, sure),  # four are harmed and none stands out
            rows("b", "clean", clean, sure),
            rows("b", "pgd", hit, [9.0, 9.0, *sure[2:]]),  # two of them now do
        ]
    )
    results = replace(evidence.results, records=records)
    got = paired_difference(results, Side("a", "u", "u"), Side("b", "u", "u"), PGD, "undetected_harm", draws=50)
    assert got.interval.value == pytest.approx(0.4 - 0.2)


def test_without_a_shared_image_there_is_no_difference(evidence: Evidence, sides: tuple[Side, Side]) -> None:
    records = evidence.results.records.filter(pl.col("variant") != "beta, none")
    results = replace(evidence.results, records=records)
    for score in ("dice", "aurc", "undetected_harm"):
        got = paired_difference(results, *sides, PGD, score, draws=20)
        assert math.isnan(got.interval.value), score
        assert got.p == 1.0
