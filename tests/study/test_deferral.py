"""Scores of a policy by hand, their intervals against the bootstrap, and every empty denominator."""

import dataclasses
import math

import numpy as np
import polars as pl
import pytest
from tests.deferral.records import records_of
from tests.policies import POLICY

from trustseg.deferral import HOLDS, VOID, Policy, apply_policy
from trustseg.statistics import bootstrap_mean
from trustseg.study.deferral import SCORES, score_decisions


def score_policy(policy: Policy, records: pl.DataFrame, *, draws: int, seed: int = 0) -> pl.DataFrame:
    return score_decisions(apply_policy(policy, records), policy, draws=draws, seed=seed)


def values_of(table: pl.DataFrame) -> dict[str, float]:
    return dict(table.select("score", "value").iter_rows())


def test_every_score_by_hand() -> None:
    # kept: good, failed, unseen lesion, nothing there; reviewed: good, failed, false area on an empty mask
    records = records_of(
        [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8],
        [0.9, 0.3, 0.0, math.nan, 0.8, 0.2, 0.0],
        mask_px=[9, 9, 9, 0, 9, 9, 0],
        predicted_px=[9, 9, 0, 0, 9, 9, 9],
    )
    table = score_policy(POLICY, records, draws=20)
    expected = {
        "coverage": 4 / 7,
        "review_rate": 3 / 7,
        "residual_risk": (0.1 + 0.7 + 1.0) / 3,
        "undetected_failures": 2 / 7,
        "missed_lesions": 2 / 5,
        "false_alarms": 1 / 7,
    }
    assert values_of(table) == pytest.approx(expected)
    assert table["score"].to_list() == list(SCORES)
    assert dict(table.select("score", "undefined").iter_rows())["residual_risk"] == 1
    assert table["operating_points"].unique().to_list() == [7]


def test_conditions_apart_with_their_guarantee() -> None:
    clean = records_of([0.1, 0.9], [0.9, 0.1])
    attacked = records_of([0.1, 0.1], [0.1, 0.1], condition="pgd", eps=0.02)
    table = score_policy(POLICY, pl.concat([clean, attacked]), draws=20)
    of_clean, of_attacked = (values_of(part) for part in table.partition_by("condition", maintain_order=True))
    assert (of_clean["review_rate"], of_clean["undetected_failures"]) == (0.5, 0.0)
    assert (of_attacked["review_rate"], of_attacked["undetected_failures"]) == (0.0, 1.0)
    assert table["guarantee"].to_list() == [HOLDS] * 6 + [VOID] * 6
    assert table["eps"].unique().sort().to_list() == [0.0, 0.02]


def test_intervals_are_those_of_the_patient_bootstrap() -> None:
    rng = np.random.default_rng(0)
    scores, patients = rng.random(60), [f"p{number // 2}" for number in range(60)]
    records = records_of(scores.tolist(), rng.random(60).tolist(), patients=patients)
    row = score_policy(POLICY, records, draws=300, seed=4).row(by_predicate=pl.col("score") == "coverage", named=True)
    expected = bootstrap_mean(scores <= 0.5, patients, draws=300, seed=4)
    assert (row["value"], row["low"], row["high"]) == pytest.approx((expected.value, expected.low, expected.high))
    assert (row["images"], row["patients"]) == (60, 30)


def test_reviewing_everything_leaves_no_risk_to_speak_of() -> None:
    policy = dataclasses.replace(POLICY, threshold=-math.inf)
    values = values_of(score_policy(policy, records_of([0.1, 0.2], [0.9, math.nan]), draws=20))
    assert (values["coverage"], values["review_rate"], values["undetected_failures"]) == (0.0, 1.0, 0.0)
    assert math.isnan(values["residual_risk"])


def test_no_lesion_leaves_missed_lesions_undefined() -> None:
    values = values_of(score_policy(POLICY, records_of([0.1], [0.0], mask_px=0), draws=20))
    assert math.isnan(values["missed_lesions"])
    assert values["undetected_failures"] == 1.0
