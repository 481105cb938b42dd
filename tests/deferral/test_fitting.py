"""Policies keep their promise: golden thresholds, enumeration, simulation, SciPy; and every way to be infeasible."""

import importlib
import itertools
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from tests.deferral.records import fit, records_of
from tests.vectors import load_vectors

from trustseg.deferral.bounds import clopper_pearson
from trustseg.errors import ConfigError, DataError, UnknownNameError

# --- review rate -----------------------------------------------------------------------------------------------------


def test_golden_thresholds() -> None:
    for case in load_vectors("selective")["review"]["cases"]:
        expected = case["expect"]["threshold"]
        found = fit(records_of(case["scores"]), at_most=case["rate"]).threshold
        assert found == (math.inf if expected is None else expected)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(1, 19))
def test_split_conformal_quantile_where_each_patient_has_one_image(scores: list[int], twentieths: int) -> None:
    rate = Fraction(twentieths, 20)
    k = math.ceil((len(scores) + 1) * (1 - rate))
    expected = math.inf if k > len(scores) else sorted(scores)[k - 1]
    assert fit(records_of([float(score) for score in scores]), at_most=float(rate)).threshold == expected


@pytest.mark.parametrize("rate", [0.2, 0.25, 0.5])
def test_review_rate_over_every_split_of_a_tiny_cohort(rate: float) -> None:
    # Exchangeable means that each of the n + 1 patients is as likely to be the new one: enumerate them all.
    cohort = {"a": [0.1, 0.9], "b": [0.4], "c": [0.5, 0.5, 0.8], "d": [0.3], "e": [0.7, 0.2]}
    shares = []
    for new in cohort:
        rest = [(name, score) for name in cohort if name != new for score in cohort[name]]
        policy = fit(records_of([score for _, score in rest], patients=[name for name, _ in rest]), at_most=rate)
        shares.append(np.mean(policy.review(cohort[new])))
    assert np.mean(shares) <= rate + 1e-12
    assert np.mean(shares) > 0


def test_a_policy_of_a_subgroup_is_that_of_its_images() -> None:
    rng = np.random.default_rng(5)
    records = records_of(rng.random(80).tolist()).with_columns(group_site=pl.Series(["easy"] * 60 + ["hard"] * 20))
    own, alone = fit(records, group="site=hard"), fit(records[60:])
    assert own.statement == f"Only for images with site=hard: {alone.statement}"
    assert replace(own, statement=alone.statement, group="") == alone != fit(records)


def test_images_of_a_patient_share_its_weight() -> None:
    # The patient with four images above counts once: 1 of 4 patients, (1 + 1) / 5 = 0.4.
    records = records_of([0.9, 0.9, 0.9, 0.9, 0.1, 0.2, 0.3], patients=["a", "a", "a", "a", "b", "c", "d"])
    assert fit(records, at_most=0.4).threshold == 0.3
    assert fit(records, at_most=0.39).threshold == 0.9


def test_too_few_patients_for_a_review_rate_review_nothing() -> None:
    policy = fit(records_of([0.1, 0.2, 0.3]), at_most=0.2)
    assert policy.threshold == math.inf
    assert policy.statement.startswith("Nothing is reviewed")
    assert "at least 4 calibration patients" in policy.statement
    assert not policy.review([0.1, 99.0]).any()
    assert fit(records_of([0.1, 0.2, 0.3, 0.4]), at_most=0.2).threshold == 0.4


# --- risk and missed lesions -----------------------------------------------------------------------------------------


def test_clopper_pearson_against_scipy() -> None:
    for trials, delta in itertools.product((1, 2, 17, 120), (0.05, 0.2)):
        for failures in {0, 1, trials // 2, trials}:
            exact = stats.binomtest(failures, trials).proportion_ci(1 - 2 * delta, method="exact").high
            assert float(clopper_pearson(failures, trials, delta=delta)) == pytest.approx(exact, rel=1e-12)
    assert float(clopper_pearson(0, 14, delta=0.05)) == pytest.approx(1 - 0.05 ** (1 / 14), rel=1e-12)
    assert float(clopper_pearson(0, 0, delta=0.05)) == 1.0


def test_risk_keeps_up_to_the_first_bound_above_it() -> None:
    # 60 good images, then failures only: with delta 0.05 and risk 0.2 the bound passes while k of n stays small.
    scores = [(number + 1) / 128 for number in range(100)]
    records = records_of(scores, [0.9] * 60 + [0.1] * 40)
    policy = fit(records, target="risk", at_most=0.2)
    kept = int((~policy.review(scores)).sum())
    assert clopper_pearson(kept - 60, kept, delta=0.05) <= 0.2 < clopper_pearson(kept - 59, kept + 1, delta=0.05)
    assert policy.threshold == scores[kept - 1]  # these scores are marks of the scale
    assert "at most 0.2 (100 patients for calibration)" in policy.statement


def test_a_patient_fails_with_its_worst_kept_image() -> None:
    scores, dice, patients = [], [], []
    for number in range(40):  # a second image, surer than nothing, that failed
        scores += [0.25, 0.5]
        dice += [0.9, 0.1]
        patients += [f"p{number}"] * 2
    policy = fit(records_of(scores, dice, patients=patients), target="risk", at_most=0.1)
    assert policy.threshold == 0.25
    dice[0::2] = [0.1] * 40
    assert fit(records_of(scores, dice, patients=patients), target="risk", at_most=0.1).threshold == -math.inf


@pytest.mark.parametrize("target", ["risk", "missed_lesions"])
def test_infeasible_targets_review_everything_and_say_so(target: Any) -> None:  # noqa: ANN401
    scores = [0.5] * 50  # either all wrong images are kept or none
    policy = fit(records_of(scores, [0.1] * 50), target=target)
    assert policy.threshold == -math.inf
    assert policy.review([*scores, -math.inf, math.nan]).all()
    assert policy.statement.startswith("Everything is reviewed: on 50 patients")
    assert "needed" not in policy.statement
    few = fit(records_of([0.1, 0.2, 0.3]), target=target)
    assert few.threshold == -math.inf
    assert few.statement.endswith("; at least 14 are needed.")


def test_missed_lesions_count_patients_with_foreground_only() -> None:
    healthy, positive = 30, 30
    scores = [0.01 * (number + 1) for number in range(healthy + positive)]
    dice = [0.0] * healthy + [0.9] * positive  # false alarms on empty masks are no missed lesions
    masks = [0] * healthy + [10] * positive
    policy = fit(records_of(scores, dice, mask_px=masks), target="missed_lesions", at_most=0.1)
    assert not policy.review(scores).any()
    assert "(30 patients with foreground for calibration)" in policy.statement
    blind = records_of(scores, [math.nan] * healthy + [0.0] * positive, mask_px=masks, predicted_px=0)
    assert fit(blind, target="missed_lesions", at_most=0.1).review(scores[30:]).all()
    # Nothing there and nothing predicted has not failed.
    records = records_of([0.5] * 30, [math.nan] * 30, mask_px=0, predicted_px=0)
    assert fit(records, target="risk", at_most=0.1).threshold == 0.5


def cohort(rng: np.random.Generator, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores uniform in [0, 1] and Dice 0 with a chance of score^2 / 2: the risk of the kept is t^2 / 6."""
    scores = rng.random(count)
    return scores, np.where(rng.random(count) < scores**2 / 2, 0.0, 1.0)


@pytest.mark.parametrize(("target", "at_most", "power"), [("risk", 0.1, 2), ("missed_lesions", 0.08, 3)])
def test_the_bound_is_kept_but_for_delta(target: str, at_most: float, power: int) -> None:
    rng = np.random.default_rng(power)
    broken = used = 0
    for _ in range(400):
        scores, dice = cohort(rng, 150)
        threshold = fit(records_of(scores.tolist(), dice.tolist()), target=target, at_most=at_most, delta=0.1).threshold
        used += threshold > 0
        broken += threshold > 0 and min(threshold, 1.0) ** power / 6 > at_most
    assert used > 300
    assert broken / 400 < 0.1 + 3 * math.sqrt(0.1 * 0.9 / 400)


@pytest.mark.oracle
def test_a_fixed_sequence_is_that_of_mapie() -> None:
    pytest.importorskip("mapie", minversion="1", exc_type=ImportError)
    control = importlib.import_module("mapie.risk_control.fwer_control")
    rng = np.random.default_rng(1)
    for _ in range(20):
        scores = (np.sort(rng.random(80)) * 64).round() / 64
        failed = rng.random(80) < scores**2 / 3
        grid = np.unique(scores)
        kept = np.searchsorted(scores, grid, side="right")
        start = int((kept >= 22).argmax())  # the 22 trials that 0.1 needs at least with delta = 0.1
        failures = np.array([failed[:count].sum() for count in kept])
        # The bound is at most 0.1 where so few failures are unlikely at a rate of 0.1.
        p_values = stats.binom.cdf(failures[start:], kept[start:], 0.1)
        rejected = control.control_fwer(p_values, 0.1, "fixed_sequence")
        expected = grid[start + max(rejected)] if len(rejected) else -np.inf
        records = records_of(scores.tolist(), np.where(failed, 0.1, 0.9).tolist())
        assert fit(records, target="risk", at_most=0.1, delta=0.1).threshold == expected


# --- any target ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["review_rate", "risk", "missed_lesions"])
def test_equal_scores_are_all_kept_or_all_reviewed(target: Any) -> None:  # noqa: ANN401
    policy = fit(records_of([0.3] * 40), target=target)
    assert not policy.review([0.3] * 3).any()
    assert policy.statement.endswith("All scores are equal: this score cannot tell images apart.")


@pytest.mark.parametrize("target", ["review_rate", "risk", "missed_lesions"])
def test_other_conditions_and_the_order_of_rows_do_not_matter(target: Any) -> None:  # noqa: ANN401
    scores, dice = cohort(np.random.default_rng(3), 80)
    records = records_of(scores.tolist(), dice.tolist())
    attacked = records_of((9 * scores).tolist(), [0.0] * 80, condition="pgd", eps=0.01)
    policy = fit(records, target=target)
    assert fit(pl.concat([attacked, records.sample(fraction=1, shuffle=True, seed=0)]), target=target) == policy
    assert (policy.images, policy.patients, policy.target) == (80, 80, target)


@pytest.mark.parametrize("target", ["risk", "missed_lesions"])
def test_negative_zero_and_infinite_scores(target: Any) -> None:  # noqa: ANN401
    scores = [-math.inf, *(-2.0 + 0.05 * number for number in range(60)), 0.0, math.inf]
    assert fit(records_of(scores), target=target).threshold == math.inf
    threshold = fit(records_of(scores, [0.9] * 41 + [0.1] * 22), target=target).threshold
    assert 0.0 <= threshold < 0.5


GOOD = records_of([0.1, 0.2])


@pytest.mark.parametrize(
    ("records", "options", "words"),
    [
        *(
            (GOOD, {name: value}, f"{name} is {value}, expected a share")
            for name, value in (("at_most", 0.0), ("at_most", 1.0), ("tau", 0.0), ("tau", math.nan), ("delta", 1.5))
        ),
        (GOOD, {"target": "riks"}, "did you mean 'risk'"),
        (GOOD, {"measure": "vacuity"}, "no score vacuity_mean; choose one of entropy_mean"),
        (GOOD.with_columns(u_vacuity_mean=pl.lit(None, pl.Float64)), {"measure": "vacuity"}, "no score vacuity_mean"),
        (records_of([0.1], condition="fgsm", eps=0.1), {}, "no clean image"),
        (records_of([0.1, math.nan]), {}, "1 calibration images have no entropy_mean"),
        (GOOD.head(0), {}, "records are empty"),
        (GOOD.drop("patient", "mask_px"), {}, "lack patient, mask_px"),
        (GOOD.with_columns(cell=pl.Series(["one", "two"])), {}, "of several models"),
        (records_of([0.1, 0.2], mask_px=0), {"target": "missed_lesions"}, "no calibration image has foreground"),
    ],
)
def test_bad_input_gets_its_sentence(records: pl.DataFrame, options: dict[str, Any], words: str) -> None:
    with pytest.raises((ConfigError, DataError, UnknownNameError), match=words):
        fit(records, **options)
