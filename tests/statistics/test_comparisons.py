"""Comparisons against closed forms, t-tests, closed testing and simulation; what may be said of a claim."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from trustseg.errors import ShapeError
from trustseg.statistics import Comparison, bootstrap_difference, compare_drawn, compare_images, holm
from trustseg.statistics.comparisons import Claim, Conclusion

NAN = float("nan")


def crossed(
    rng: np.random.Generator, *, seeds: int, patients: int, of_seed: float, of_patient: float, noise: float
) -> NDArray[np.float64]:
    """Differences (S, N), one image a patient, with a spread over trainings, over patients and of both."""
    return (
        of_seed * rng.normal(size=(seeds, 1))
        + of_patient * rng.normal(size=(1, patients))
        + noise * rng.normal(size=(seeds, patients))
    )


def compared(values: NDArray[np.float64], *, draws: int = 2000, seed: int = 0) -> Comparison:
    return compare_images(values, np.zeros_like(values), np.arange(values.shape[1]), draws=draws, seed=seed)


def exact(value: float, spread: float, *, draws: int = 4000) -> Comparison:
    """A comparison whose draws are the quantiles of a normal distribution."""
    drawn = value + spread * stats.norm.ppf((np.arange(draws) + 0.5) / draws)
    return compare_drawn([value], drawn[:, None], np.arange(10_000), seed=0)


def test_one_seed_is_the_patient_bootstrap() -> None:
    rng = np.random.default_rng(0)
    patients = rng.integers(0, 25, 60)
    first, second = rng.normal(size=(2, 60))
    first[3] = NAN
    got = compare_images(first[None], second[None], patients)
    assert got.interval == bootstrap_difference(first, second, patients)
    assert got.trainings == 1


def test_spread_is_that_of_both_sources() -> None:
    values = crossed(np.random.default_rng(1), seeds=6, patients=400, of_seed=1.0, of_patient=4.0, noise=0.0)
    wanted = math.sqrt(values.mean(1).var(ddof=1) / 6 + values.mean(0).var(ddof=1) / 400)
    assert compared(values, draws=20_000).standard_error == pytest.approx(wanted, rel=0.02)


@pytest.mark.parametrize("seeds", [2, 3])
def test_few_trainings_are_drawn_without_bias(seeds: int) -> None:
    values = np.arange(float(seeds))[:, None] + np.zeros((seeds, 30))  # patients alike: all spread is of trainings
    wanted = np.arange(float(seeds)).std(ddof=1) / math.sqrt(seeds)
    assert compared(values, draws=20_000).standard_error == pytest.approx(wanted, rel=0.02)


def test_intervals_cover_as_often_as_they_say() -> None:
    rng, both, patients_only = np.random.default_rng(2), 0, 0
    for seed in range(200):
        values = crossed(rng, seeds=8, patients=40, of_seed=0.5, of_patient=1.0, noise=0.5)
        got = compared(values, draws=400, seed=seed).interval
        one = compared(values.mean(0, keepdims=True), draws=400, seed=seed).interval
        both += got.low <= 0 <= got.high
        patients_only += one.low <= 0 <= one.high
    assert 0.88 <= both / 200 <= 0.99
    assert patients_only / 200 < 0.85  # what the seed adds is real


def test_p_is_that_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(3)
    for shift in (0.05, 0.15, 0.25):
        first, second = rng.normal(size=200) + shift, np.zeros(200)
        wanted = stats.ttest_rel(first, second).pvalue
        assert compare_images(first[None], second[None], np.arange(200), draws=20_000).p == pytest.approx(
            wanted, abs=0.02
        )


def test_beyond_all_draws_the_normal_tail_counts() -> None:
    got = exact(0.0375, 0.01, draws=300)  # no draw reaches 0; by draws alone p would be 2 / 301
    assert got.p == pytest.approx(2 * stats.norm.sf(3.75), rel=0.2)
    assert exact(1.0, 0.01, draws=300).p == 2e-6  # and no smaller
    assert exact(0.0, 0.0).p == 1.0  # every draw is at 0


def test_what_could_have_been_detected() -> None:
    factor = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    values = np.random.default_rng(4).normal(size=(1, 500))
    got = compared(values, draws=20_000)
    assert got.detectable == pytest.approx(factor * values.std(ddof=1) / math.sqrt(500), rel=0.03)


def test_few_trainings_detect_less() -> None:
    got = compared(np.random.default_rng(4).normal(size=(3, 500)), draws=20_000)
    assert got.widened > 1
    assert got.detectable == pytest.approx((1.96 * got.widened + 0.84) * got.standard_error)


def test_effect_is_the_mean_over_its_spread() -> None:
    values = np.array([[0.1, 0.3, NAN, 0.4], [0.3, 0.3, NAN, NAN]])
    assert compared(values).effect == pytest.approx(np.mean([0.2, 0.3, 0.4]) / np.std([0.2, 0.3, 0.4], ddof=1))
    assert compared(values).interval.undefined == 1
    assert math.isnan(compared(np.full((2, 4), 0.1)).effect)


def test_equivalence_is_two_one_sided_tests() -> None:
    for value, spread, margin in ((0.0, 0.01, 0.02), (0.005, 0.01, 0.02), (0.01, 0.01, 0.02), (0.0, 0.01, 0.01)):
        got = exact(value, spread)
        wanted = max(stats.norm.sf((value + margin) / spread), stats.norm.cdf((value - margin) / spread))
        assert got.p_of("equal", margin) == pytest.approx(wanted, abs=1e-3)
        inside = abs(value) + stats.norm.ppf(0.95) * spread < margin  # the 90 % interval lies within the margin
        assert got.within(margin) == inside


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p_values: list[float]) -> None:
    everyone = range(len(p_values))
    families = [set(c) for size in everyone for c in itertools.combinations(everyone, size + 1)]
    wanted = [
        max(min(1.0, len(family) * min(p_values[k] for k in family)) for family in families if i in family)
        for i in everyone
    ]
    assert holm(p_values) == pytest.approx(wanted)


def test_holm_of_nothing_and_of_ties() -> None:
    assert holm([]) == []
    assert holm([0.02, 0.02]) == [0.04, 0.04]
    assert holm([0.9, 0.8, 1.0]) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("claim", "value", "spread", "margin", "conclusion"),
    [
        ("higher", 0.05, 0.01, 0.01, "supported"),
        ("higher", -0.05, 0.01, 0.01, "contradicted"),
        ("higher", 0.0, 0.002, 0.01, "contradicted"),  # shown to be within the margin
        ("higher", 0.0, 0.02, 0.01, "inconclusive"),
        ("higher", 0.0, 0.002, 0.0, "inconclusive"),  # without a margin nothing shows that there is no difference
        ("lower", -0.05, 0.01, 0.01, "supported"),
        ("lower", 0.05, 0.01, 0.01, "contradicted"),
        ("not_lower", 0.0, 0.002, 0.01, "supported"),
        ("not_lower", 0.05, 0.01, 0.01, "supported"),
        ("not_lower", -0.05, 0.01, 0.01, "contradicted"),
        ("not_lower", -0.01, 0.01, 0.01, "inconclusive"),
        ("not_higher", 0.05, 0.01, 0.01, "contradicted"),
        ("equal", 0.0, 0.002, 0.01, "supported"),
        ("equal", 0.05, 0.01, 0.01, "contradicted"),
        ("equal", 0.0, 0.02, 0.01, "inconclusive"),
    ],
)
def test_what_may_be_said(claim: Claim, value: float, spread: float, margin: float, conclusion: Conclusion) -> None:
    got = exact(value, spread)
    assert got.conclusion(claim, margin=margin, p=got.p_of(claim, margin)) == conclusion


def test_without_an_interval_nothing_is_said() -> None:
    got = compare_images([[NAN, NAN]], [[0.0, 0.0]], ["a", "b"], draws=20)
    assert (got.p, got.p_of("equal", 1.0), got.within(1.0)) == (1.0, 1.0, False)
    assert got.conclusion("equal", margin=1.0, p=0.0) == "inconclusive"
    assert math.isnan(got.standard_error)
    assert math.isnan(got.detectable)


def test_a_seed_without_values_leaves_no_interval() -> None:
    got = compare_images([[NAN, NAN], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]], ["a", "b"])
    assert math.isnan(got.interval.value)
    assert got.conclusion("higher", margin=0.0, p=0.001) == "inconclusive"


def test_bad_input_gets_its_sentence() -> None:
    with pytest.raises(ShapeError, match=r"expected \(S, N\) for \(N,\)"):
        compare_images([0.5], [0.5], ["a"])
    with pytest.raises(ShapeError, match="at least one row"):
        compare_images(np.zeros((1, 0)), np.zeros((1, 0)), [])
    with pytest.raises(ShapeError, match=r"expected \(D, S\) for \(S,\)"):
        compare_drawn([0.1], [[0.1, 0.2]], ["a"], seed=0)
