"""Certified deferral against closed forms, brute force in fractions, and a model whose worst case is known."""

import math
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import binomtest
from tests.deferral.records import certify, fit, records_of

from trustseg.deferral import (
    CertifiedPolicy,
    certified_bound,
    certified_level,
    certified_radius,
    patients_needed,
)
from trustseg.deferral.attacked_weights import attacked_weights
from trustseg.deferral.certified import check_certified, grey_levels
from trustseg.errors import ConfigError, DataError

Floats = NDArray[np.float64]
NORMAL = NormalDist()
SPLITS = 200


def fitted(scores: Any, dice: Any, patients: Any = None, **settings: Any) -> CertifiedPolicy:  # noqa: ANN401 - any array
    return certify(records_of(list(scores), list(dice), patients=patients, condition="noise"), **settings)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0, 3.0])
def test_levels_bounds_and_radii_are_inverses_and_the_bound_is_concave(ratio: float) -> None:
    shares = [0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 0.999]
    for share in shares:
        bound = certified_bound(share, radius=2 * ratio, noise=2.0)
        assert bound == pytest.approx(NORMAL.cdf(NORMAL.inv_cdf(share) + ratio), rel=1e-9)
        assert certified_level(bound, radius=ratio / 4, noise=0.25) == pytest.approx(share, rel=1e-9)
        assert certified_radius(share, bound, noise=0.5) == pytest.approx(ratio / 2, abs=1e-7)  # near 1, Phi rounds
        for other in shares:  # what carries it over to means
            middle = certified_bound((share + other) / 2, radius=ratio, noise=1.0)
            ends = certified_bound(share, radius=ratio, noise=1.0), certified_bound(other, radius=ratio, noise=1.0)
            assert middle >= sum(ends) / 2 - 1e-12


def test_no_set_of_images_gains_more_by_a_shift_than_a_half_space() -> None:
    rng, radius, noise = np.random.default_rng(0), 0.7, 0.5
    grid = np.linspace(-6, 6, 6001) * noise
    density = np.exp(-(grid**2) / (2 * noise**2))
    moved = np.exp(-((grid - radius) ** 2) / (2 * noise**2))
    for _ in range(50):  # losses of one variable, any shape: sums of waves, clipped to [0, 1]
        waves = rng.normal(size=(4, 1)) * np.sin(rng.uniform(0, 6, (4, 1)) * grid + rng.uniform(0, 6, (4, 1)))
        loss = np.clip(waves.sum(0) + rng.normal(), 0, 1)
        before, after = (float((loss * weight).sum() / weight.sum()) for weight in (density, moved))
        assert after <= certified_bound(min(max(before, 1e-12), 1 - 1e-12), radius=radius, noise=noise) + 1e-6


@pytest.mark.parametrize("at_most", [0.2, 0.4])
def test_the_threshold_by_a_loop_in_fractions(at_most: float) -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        scores, failed = rng.integers(0, 6, 24) / 8, rng.random(24) < 0.3
        patients = [f"p{number % 17}" for number in range(24)]
        policy = fitted(scores, np.where(failed, 0.1, 0.9), patients, at_most=at_most, radius=0.05)
        best = -1.0
        for candidate in [*np.arange(8) / 8, math.inf]:  # images with a score below it are kept
            losses = [
                Fraction(sum(1 for row in own if failed[row] and scores[row] < candidate), len(own))
                for own in ([row for row in range(24) if patients[row] == name] for name in sorted(set(patients)))
            ]
            if (sum(losses) + 1) / Fraction(len(losses) + 1) <= Fraction(policy.level):
                best = candidate
        assert policy.threshold == (np.nextafter(best, -1) if best <= scores[failed].max() else math.inf)
        assert policy.kept == np.mean(scores < best)


def test_the_level_holds_over_every_choice_of_the_new_patient() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        scores, failed = rng.integers(0, 9, 13) / 8, rng.random(13) < 0.4
        losses = []
        for new in range(13):
            rest = np.arange(13) != new
            policy = fitted(scores[rest], np.where(failed[rest], 0.1, 0.9), at_most=0.3, radius=0.2)
            losses.append(bool(failed[new] and not policy.review(scores[new])))
        assert np.mean(losses) <= policy.level


def test_with_confidence_the_bound_is_that_of_clopper_and_pearson() -> None:
    rng = np.random.default_rng(3)
    patients = [f"p{number // 2}" for number in range(400)]
    scores, failed = rng.normal(size=400), rng.random(400) < 0.2
    policy = fitted(scores, np.where(failed, 0.1, 0.9), patients, at_most=0.1, radius=0.1, delta=0.05)

    def upper(threshold: float) -> float:
        harmed = {name for name, score, bad in zip(patients, scores, failed, strict=True) if bad and score <= threshold}
        return float(binomtest(len(harmed), 200).proportion_ci(0.9, method="exact").high)

    assert upper(policy.threshold) <= policy.level < upper(np.nextafter(policy.threshold, math.inf))


def worst_case(means: Floats, failed: NDArray[np.bool_], policy: CertifiedPolicy, *, radius: float) -> float:
    """Return the risk under the strongest attack on a score w'x, ||w|| = 1: every image moves by -radius w."""
    z = (policy.threshold - means + radius) / policy.noise
    return float(np.mean(failed * ndtr(z)))


def test_the_bound_holds_under_the_worst_attack_where_that_of_a_plain_policy_does_not() -> None:
    """200 splits of 800 patients; the score is linear in the image, so that the best attack is known."""
    rng, radius, noise = np.random.default_rng(4), 0.5, 0.5
    failed = rng.random(800) < 0.4
    means = np.where(failed, rng.normal(1.5, 0.3, 800), rng.normal(-0.5, 0.5, 800))  # w'x of each image
    dice = np.where(failed, 0.2, 0.9)
    risks: dict[str, list[float]] = {"mean": [], "confident": [], "plain": []}
    for _ in range(SPLITS):
        order = rng.permutation(800)
        own, new = order[:400], order[400:]
        noisy = means[own] + noise * rng.standard_normal(400)
        for name, delta in (("mean", None), ("confident", 0.05)):
            policy = fitted(noisy, dice[own], radius=radius, noise=noise, at_most=0.1, delta=delta)
            risks[name].append(worst_case(means[new], failed[new], policy, radius=radius))
        plain = fit(records_of(list(means[own]), list(dice[own])), target="missed_lesions", at_most=0.1)
        risks["plain"].append(float(np.mean(failed[new] & ~plain.review(means[new] - radius))))
    held = {name: np.mean(np.array(values) <= 0.1) for name, values in risks.items()}
    assert held["confident"] >= 0.95
    assert np.mean(risks["mean"]) <= 0.1
    assert held["plain"] <= 0.05


def test_the_bound_is_tight_where_all_images_are_alike() -> None:
    """There Jensen's inequality is an equality: what is lost is 1 / (n + 1) of the level, in expectation, no more."""
    rng, radius, noise, patients = np.random.default_rng(5), 0.25, 0.5, 300
    everywhere = np.ones(1, bool)
    risks: dict[str, list[float]] = {"mean": [], "confident": []}
    for _ in range(SPLITS):
        noisy = noise * rng.standard_normal(patients)
        for name, delta in (("mean", None), ("confident", 0.05)):
            policy = fitted(noisy, np.zeros(patients), radius=radius, noise=noise, at_most=0.1, delta=delta)
            risks[name].append(worst_case(np.zeros(1), everywhere, policy, radius=radius))
    slack = 0.1 - certified_bound(policy.level - 1 / (patients + 1), radius=radius, noise=noise)
    error = 3 * np.std(risks["mean"]) / math.sqrt(SPLITS)
    assert 0.1 - slack - error <= np.mean(risks["mean"]) <= 0.1 + error
    broken = np.mean(np.array(risks["confident"]) > 0.1)
    assert 0.01 <= broken <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / SPLITS)


def test_the_threshold_of_several_draws_by_a_loop() -> None:
    rng, draws = np.random.default_rng(6), 4
    for _ in range(10):
        table = records_of(
            list(rng.integers(0, 9, 80) / 8), list(np.where(rng.random(80) < 0.2, 0.1, 0.9)), condition="noise"
        ).with_columns(
            image=pl.Series([f"i{number // draws}" for number in range(80)]),
            patient=pl.Series([f"p{number // draws % 13}" for number in range(80)]),
            draw=pl.Series(np.arange(80) % draws),
        )
        table = table.sample(fraction=1, shuffle=True, seed=0)
        policy = certify(table, radius=0.1, at_most=0.4)
        weights, best = attacked_weights(draws, radius=0.1, noise=0.5), -math.inf
        for candidate in [*np.arange(9) / 8, math.inf]:
            bad = table.with_columns(bad=(pl.col("dice") < 0.5) & (pl.col("u_entropy_mean") < candidate))
            losses = bad.group_by("patient", "image").agg(pl.sum("bad"))
            losses = losses.with_columns(loss=pl.Series(weights[losses["bad"].to_numpy()]))
            means = losses.group_by("patient").agg(pl.mean("loss"))["loss"]
            if (means.sum() + 1) / (len(means) + 1) <= 0.4:
                best = candidate
        below = table["u_entropy_mean"].to_numpy() < best
        assert policy.review(table["u_entropy_mean"].to_numpy()).tolist() == (~below).tolist()


def test_with_several_draws_the_worst_case_over_unlike_images_is_met() -> None:
    """Of the bound of 0.1, 1 / (n + 1) and under 0.025 to the weights are lost; with one draw, half of it."""
    rng, radius, noise, draws, patients = np.random.default_rng(7), 0.5, 0.5, 32, 300
    failed = rng.random(4000) < 0.4
    means = np.where(failed, rng.normal(1.5, 0.3, 4000), rng.normal(-0.5, 0.5, 4000))
    risks: dict[str, list[float]] = {"one": [], "several": []}
    for _ in range(40):
        own = rng.permutation(4000)[:patients]
        noisy = means[own, None] + noise * rng.standard_normal((patients, draws))
        names = [f"p{number}" for number in range(patients)]
        dice = np.where(failed[own], 0.2, 0.9).repeat(draws)
        table = records_of(list(noisy.ravel()), list(dice), condition="noise").with_columns(
            image=pl.Series(np.repeat(names, draws)),
            patient=pl.Series(np.repeat(names, draws)),
            draw=pl.Series(np.tile(np.arange(draws), patients)),
        )
        for name, rows in (("one", table.filter(draw=0)), ("several", table)):
            policy = certify(rows, radius=radius)
            risks[name].append(worst_case(means, failed, policy, radius=radius))
    assert 0.1 - 1 / 301 - 0.025 <= np.mean(risks["several"]) <= 0.1
    assert np.mean(risks["one"]) < 0.75 * np.mean(risks["several"])
    assert np.std(risks["several"]) < 0.6 * np.std(risks["one"])


def test_too_few_patients_say_how_many_are_needed() -> None:
    assert [patients_needed(certified_level(0.1, radius=r, noise=1.0)) for r in (0, 0.25, 0.5, 1)] == [9, 15, 26, 88]
    with pytest.raises(DataError, match="there are 25 calibration patients, at least 26 are needed"):
        fitted(range(25), [0.9] * 25)
    assert fitted(range(26), [0.9] * 26).threshold == math.inf
    assert fitted(range(26), [0.1] * 26).threshold == np.nextafter(0, -1)
    needed = patients_needed(certified_level(0.1, radius=0.25, noise=0.5), delta=0.05)
    assert (1 - 0.0374) ** needed <= 0.05 < (1 - 0.0374) ** (needed - 1)
    with pytest.raises(DataError, match=f"at least {needed} are needed"):
        fitted(range(26), [0.9] * 26, delta=0.05)
    assert fitted(range(needed), [0.9] * needed, delta=0.05).patients == needed


GOOD = records_of([0.1] * 30, condition="noise")
TWICE = pl.concat([GOOD.with_columns(draw=pl.lit(draw)) for draw in (0, 1)])


@pytest.mark.parametrize(
    ("table", "settings", "words"),
    [
        (records_of([0.1] * 30), {}, "noisy draws of images"),
        (pl.concat([GOOD, GOOD]), {}, "repeated without a draw"),
        (pl.concat([GOOD, GOOD[:1]]).with_columns(draw=pl.int_range(pl.len())), {}, "unequal numbers"),
        (GOOD.with_columns(u_entropy_mean=pl.lit(math.nan)), {}, "30 calibration images have no entropy_mean"),
        (GOOD.with_columns(dice=pl.lit(None, pl.Float64)), {}, "30 calibration images have no reference"),
        *(
            (GOOD, {name: value}, name)
            for name, value in (("radius", -1), ("noise", 0), ("radius", math.inf), ("at_most", 1), ("tau", 0))
        ),
        (GOOD, {"delta": 1}, "delta"),
        (TWICE, {"delta": 0.05}, "2 draws of each image"),
        (GOOD, {"radius": 50}, "no risk is small enough"),
    ],
)
def test_what_no_policy_is_fitted_on(table: pl.DataFrame, settings: dict[str, float], words: str) -> None:
    with pytest.raises((ConfigError, DataError), match=words):
        certify(table, **({"radius": 0.1} | settings))


def test_a_policy_belongs_to_one_model_one_size_and_one_noise() -> None:
    policy = fitted(range(40), [0.1] + [0.9] * 39, model="0123")
    fits: dict[str, Any] = {"model": "0123", "size": 64, "channels": 1}
    check_certified(policy, **fits)
    for change in ({"model": "4567"}, {"model": ""}, {"size": 96}, {"channels": 3}):
        with pytest.raises(DataError, match=f"for {next(iter(change))} "):
            check_certified(policy, **(fits | change))
    assert grey_levels(1.5, 96) == pytest.approx(255 / 64)
    assert grey_levels(1.5, 96, 3) == pytest.approx(255 / 64 / math.sqrt(3))
