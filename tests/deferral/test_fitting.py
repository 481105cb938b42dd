"""Policies keep their promise: golden thresholds, enumeration, simulation, SciPy; and every way to be infeasible."""

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from tests.deferral.records import records_of
from tests.vectors import load_vectors

from trustseg.deferral import Policy, fit_policy
from trustseg.deferral.fitting import clopper_pearson
from trustseg.errors import ConfigError, DataError, UnknownNameError


def fit(records: pl.DataFrame, **options: Any) -> Policy:  # noqa: ANN401
    return fit_policy(records, measure="entropy", aggregation="mean", **options)


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


def test_review_rate_by_simulation() -> None:
    rng = np.random.default_rng(0)
    rates = []
    for _ in range(300):
        scores, new = rng.gamma(2.0, size=39), rng.gamma(2.0, size=200)
        rates.append(fit(records_of(scores.tolist()), at_most=0.2).review(new).mean())
    # 40 * 0.2 is whole, so that the mean is exactly 0.2; its standard error is about 0.0037
    assert np.mean(rates) == pytest.approx(0.2, abs=0.012)


def test_policies_by_subgroup_keep_the_bound_in_each_where_one_for_all_does_not() -> None:
    rng = np.random.default_rng(5)
    rates: dict[str, list[float]] = {"easy": [], "hard": [], "hard, by one policy for all": []}
    for _ in range(200):
        site = rng.permutation(["easy"] * 60 + ["hard"] * 20)
        scores = rng.random(80) + (site == "hard")  # the hard site is less certain throughout
        records = records_of(scores.tolist()).with_columns(group_site=pl.Series(site))
        whole = fit_policy(records, measure="entropy", aggregation="mean", at_most=0.2)
        for name, shift in (("easy", 0), ("hard", 1)):
            own = fit_policy(records, measure="entropy", aggregation="mean", at_most=0.2, group=f"site={name}")
            rates[name].append(1 - float(np.clip(own.threshold - shift, 0, 1)))  # exact, as scores are uniform
        rates["hard, by one policy for all"].append(1 - float(np.clip(whole.threshold - 1, 0, 1)))
    means = {name: np.mean(values) for name, values in rates.items()}
    assert 0.17 < means["easy"] < 0.21
    assert 0.14 < means["hard"] < 0.21
    assert means["hard, by one policy for all"] > 0.6
    assert own.statement.startswith("Only for images with site=hard: ")
    assert own.patients == 20


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


def test_the_bound_covers_exactly() -> None:
    # The chance of a bound below the truth, summed over every outcome of 30 trials, is at most delta.
    bounds = clopper_pearson(np.arange(31), 30, delta=0.1)
    for truth in (0.02, 0.1, 0.37, 0.9):
        assert stats.binom.pmf(np.arange(31), 30, truth)[bounds < truth].sum() <= 0.1


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
    with pytest.raises(DataError, match="no calibration image has foreground"):
        fit(records_of(scores, dice, mask_px=0), target="missed_lesions")


def test_nothing_there_and_nothing_predicted_has_not_failed() -> None:
    records = records_of([0.5] * 30, [math.nan] * 30, mask_px=0, predicted_px=0)
    assert fit(records, target="risk", at_most=0.1).threshold == 0.5


def cohort(rng: np.random.Generator, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores uniform in [0, 1] and Dice 0 with a chance of score^2 / 2: the risk of the kept is t^2 / 6."""
    scores = rng.random(count)
    return scores, np.where(rng.random(count) < scores**2 / 2, 0.0, 1.0)


def test_the_risk_is_kept_but_for_delta() -> None:
    rng = np.random.default_rng(1)
    broken = used = 0
    for _ in range(400):
        scores, dice = cohort(rng, 150)
        threshold = fit(records_of(scores.tolist(), dice.tolist()), target="risk", at_most=0.1, delta=0.1).threshold
        used += threshold > 0
        broken += threshold > 0 and min(threshold, 1.0) ** 2 / 6 > 0.1
    assert used > 300
    assert broken / 400 < 0.1 + 3 * math.sqrt(0.1 * 0.9 / 400)


def test_missed_lesions_are_kept_but_for_delta() -> None:
    rng = np.random.default_rng(2)
    broken = used = 0
    for _ in range(400):
        scores, dice = cohort(rng, 150)
        policy = fit(records_of(scores.tolist(), dice.tolist()), target="missed_lesions", at_most=0.08, delta=0.1)
        used += policy.threshold > 0
        broken += policy.threshold > 0 and min(policy.threshold, 1.0) ** 3 / 6 > 0.08
    assert used == 400
    assert broken / 400 < 0.1 + 3 * math.sqrt(0.1 * 0.9 / 400)


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


def test_bad_input_gets_its_sentence() -> None:
    good = records_of([0.1, 0.2])
    for name, value in (("at_most", 0.0), ("at_most", 1.0), ("tau", 0.0), ("tau", math.nan), ("delta", 1.5)):
        with pytest.raises(ConfigError, match=f"{name} is {value}, expected a share"):
            fit(good, **{name: value})
    with pytest.raises(UnknownNameError, match="did you mean 'risk'"):
        fit(good, target="riks")
    with pytest.raises(DataError, match=r"no score vacuity_mean; choose one of entropy_mean"):
        fit_policy(good, measure="vacuity", aggregation="mean")
    with pytest.raises(DataError, match="no clean image"):
        fit(records_of([0.1], condition="fgsm", eps=0.1))
    with pytest.raises(DataError, match="1 calibration images have no entropy_mean"):
        fit(records_of([0.1, math.nan]))
    with pytest.raises(DataError, match="records are empty"):
        fit(good.head(0))
    with pytest.raises(DataError, match="lack patient, mask_px"):
        fit(good.drop("patient", "mask_px"))
    with pytest.raises(DataError, match="of several models"):
        fit(good.with_columns(cell=pl.Series(["one", "two"])))
    nothing = good.with_columns(u_vacuity_mean=pl.lit(None, dtype=pl.Float64))
    with pytest.raises(DataError, match="no score vacuity_mean"):
        fit_policy(nothing, measure="vacuity", aggregation="mean")
