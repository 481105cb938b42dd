"""The patient bootstrap against enumeration and closed forms; pairing, undefined values, histograms."""

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from trustseg.errors import ShapeError
from trustseg.statistics import (
    bootstrap_contrast,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_rows,
    bootstrap_statistic,
    draw_patients,
)
from trustseg.statistics.interval import corrected

NAN = float("nan")


@pytest.fixture
def cohort() -> tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.float64]]:
    """Patients with 1 to 4 images each, and two values an image that share the patient's level."""
    rng = np.random.default_rng(0)
    patients = np.repeat([f"sub-{i:02d}" for i in range(40)], rng.integers(1, 5, 40))
    level = dict(zip(np.unique(patients), rng.normal(size=40), strict=True))
    first = np.array([level[name] for name in patients]) + 0.3 * rng.normal(size=len(patients))
    return patients, first, first + 0.5 + 0.1 * rng.normal(size=len(patients))


def test_draws_depend_on_patients_and_seed_only() -> None:
    names, _, times = draw_patients(["b", "a", "b", "c"], draws=500, seed=1)
    again, _, same = draw_patients(["c", "a", "a", "b", "b", "b"], draws=500, seed=1)
    assert names.tolist() == again.tolist() == ["a", "b", "c"]
    assert np.array_equal(times, same)
    assert not np.array_equal(times, draw_patients(["a", "b", "c"], draws=500, seed=2)[2])
    assert times.shape == (500, 3)
    assert (times.sum(axis=1) == 3).all()
    # each patient comes a Binomial(3, 1/3) number of times
    assert np.bincount(times[:, 0], minlength=4)[:4] / 500 == pytest.approx(
        stats.binom.pmf(range(4), 3, 1 / 3), abs=0.07
    )


def test_mean_takes_all_images_of_a_drawn_patient() -> None:
    # Two patients: the difference of a draw is one of three numbers, with chances 1/4, 1/2, 1/4.
    owner, drawn = np.array([0, 0, 0, 1]), np.array([0.0, 2.0, 2.0, 8.0])
    got = bootstrap_difference([0.0, 0.0, 0.0, 8.0], np.zeros(4), ["a", "a", "a", "b"])
    low, high = np.quantile(corrected(2.0, drawn, owner=owner), (0, 1))
    assert (got.value, got.low, got.high) == pytest.approx((2.0, low, high))
    assert (got.count, got.patients, got.undefined, got.undefined_draws) == (4, 2, 0, 0)
    assert got.few_patients


def test_mean_against_every_possible_draw() -> None:
    values, patients = np.array([0.1, 0.9, 0.4, 0.2, 0.7]), np.array([3, 3, 1, 2, 2])
    rows = {name: np.flatnonzero(patients == name) for name in (1, 2, 3)}
    every = [values[np.concatenate([rows[name] for name in draw])].mean() for draw in product((1, 2, 3), repeat=3)]
    got = bootstrap_difference(values, np.zeros(5), patients, draws=20_000)
    spread = corrected(values.mean(), np.array(every), owner=np.array([2, 2, 0, 1, 1]))
    low, high = np.quantile(spread, (0.025, 0.975), method="inverted_cdf")
    assert (got.low, got.high) == pytest.approx((low, high), abs=1e-12)


def test_many_single_images_give_the_normal_interval() -> None:
    values = np.random.default_rng(1).normal(size=2000)
    got = bootstrap_mean(values, np.arange(2000))
    half = 1.96 * values.std() / math.sqrt(2000)
    assert (got.low, got.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)
    assert not got.few_patients


def test_differences_are_paired(cohort: tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.float64]]) -> None:
    patients, first, second = cohort
    got, alone = bootstrap_difference(second, first, patients), bootstrap_mean(first, patients)
    assert got.value == pytest.approx(np.mean(second - first))
    assert got.high - got.low < 0.2 * (alone.high - alone.low)
    assert bootstrap_difference(first, second, patients).low == pytest.approx(-got.high)


def test_every_bootstrap_agrees_on_the_mean(
    cohort: tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.float64]],
) -> None:
    patients, first, _ = cohort
    table = np.stack([first - first.min(), np.ones_like(first)], axis=1)
    wanted = bootstrap_mean(first - first.min(), patients, seed=3)
    for got in (
        bootstrap_statistic(lambda rows: float(table[rows, 0].mean()), patients, seed=3),
        bootstrap_ratio(table[:, 0], table[:, 1], patients, seed=3),
        bootstrap_rows(table, patients, lambda sums: sums[:, 0] / sums[:, 1], seed=3),
    ):
        assert (got.value, got.low, got.high) == pytest.approx((wanted.value, wanted.low, wanted.high), rel=1e-12)
        assert (got.count, got.patients) == (wanted.count, 40)


def test_undefined_values_are_left_out_and_counted() -> None:
    patients = [f"p{i}" for i in range(30)]
    values = [NAN, NAN] + [0.5] * 28
    got = bootstrap_mean(values, patients)
    assert (got.value, got.low, got.count, got.patients, got.undefined) == (0.5, 0.5, 28, 28, 2)
    pair = bootstrap_difference(values, [0.25] * 29 + [NAN], patients)
    assert (pair.value, pair.count, pair.undefined) == (0.25, 27, 3)


def test_the_interval_stays_within_the_bounds_of_the_values() -> None:
    distances, errors, patients = [0.7, 0.9, 1.0], [-1.0, -0.9, -0.7], ["a", "b", "c"]
    assert bootstrap_mean(distances, patients).high == 1
    assert bootstrap_mean(distances, patients, bounds=(0, math.inf)).high > 1
    assert bootstrap_mean(errors, patients).low < -1  # which are no shares
    assert bootstrap_mean(errors, patients, bounds=(-1, math.inf)).low == -1
    flips = [0.0] * 3 + [1.0] * 17
    assert bootstrap_mean(flips, range(20), bounds=(0, math.inf)) != bootstrap_mean(flips, range(20))  # not Wilson's


def test_too_many_undefined_draws_leave_no_interval() -> None:
    rare = bootstrap_mean([1.0, NAN, NAN], ["a", "b", "c"])  # (2/3)^3 of the draws lack "a"
    assert rare.undefined_draws / 2000 == pytest.approx(8 / 27, abs=0.05)
    assert rare.value == 1.0
    assert math.isnan(rare.low)
    assert math.isnan(rare.high)
    assert f"{rare}" == "1.000 [no interval]"
    never = bootstrap_mean([NAN, NAN], ["a", "b"])
    assert (never.count, never.patients, never.undefined, never.undefined_draws) == (0, 0, 2, 2000)
    assert never.text() == "undefined"


def test_ratio_without_foreground_is_undefined() -> None:
    assert bootstrap_ratio([0, 0], [0, 0], ["a", "b"]).text() == "undefined"
    assert bootstrap_ratio([8, 0], [10, 2], ["a", "a"]).value == pytest.approx(2 / 3)


def test_rows_in_chunks_equal_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    table, patients = rng.integers(0, 5, (50, 30)), rng.integers(0, 22, 50)
    table[:, 7] = 0
    calls: list[int] = []

    def statistic(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        calls.append(len(sums))
        return np.asarray((sums * np.arange(30)).sum(axis=1) / sums.sum(axis=1), dtype=np.float64)

    once = bootstrap_rows(table, patients, statistic)
    monkeypatch.setattr("trustseg.statistics.bootstrap._CHUNK_BYTES", 8 * 30 * 64)
    chunked = bootstrap_rows(table, patients, statistic)
    assert (once.low, once.high) == pytest.approx((chunked.low, chunked.high), rel=1e-12)
    assert calls == [2000, 1, *[64] * 31, 16, 1]


def test_patients_are_told_apart_without_case() -> None:
    values = np.random.default_rng(0).normal(size=6)
    got = bootstrap_mean(values, ["sub-S1", "sub-s1", "b", "B", "c", "d"])
    assert got == bootstrap_mean(values, ["s", "s", "b", "b", "c", "d"])
    assert got.patients == 4


def test_a_share_has_the_interval_of_wilson() -> None:
    none = bootstrap_mean([0.0] * 30, np.arange(30))
    t = stats.t.ppf(0.975, 29)
    assert (none.low, none.high) == pytest.approx((0.0, t**2 / (30 + t**2)))
    alone = bootstrap_mean([1.0, 0.0] * 200, np.arange(400))
    pairs = bootstrap_mean([1.0, 1.0, 0.0, 0.0] * 100, np.repeat(np.arange(200), 2))
    assert alone.high - alone.low == pytest.approx(2 * 1.966 * 0.5 / 20, rel=0.03)
    assert pairs.high - pairs.low == pytest.approx(math.sqrt(2) * (alone.high - alone.low), rel=0.05)
    rate = bootstrap_ratio([1.0, 0.0, 0.0] * 20, [1.0, 1.0, 0.0] * 20, np.arange(60))
    assert (rate.value, rate.count) == (0.5, 60)
    assert 0.3 < rate.low < rate.high < 0.7


def test_a_share_stays_within_0_and_1_and_a_difference_does_not() -> None:
    values = np.array([0.99, 1.0, 0.7, 1.0, 0.98])
    assert bootstrap_mean(values, np.arange(5)).high <= 1
    assert (
        bootstrap_difference(values, np.zeros(5) + 0.05, np.arange(5)).high > bootstrap_mean(values, np.arange(5)).low
    )
    assert bootstrap_difference([0.3, 0.0, 0.0], np.zeros(3), np.arange(3)).low < 0


def test_rare_large_values_reach_far_up() -> None:
    values = np.zeros(60)
    values[:5] = [1.0, 2.0, 3.0, 5.0, 30.0]
    got = bootstrap_mean(values, np.arange(60))
    times = np.random.default_rng(0).multinomial(60, np.full(60, 1 / 60), size=2000)
    assert got.high > 1.5 * np.quantile(times @ values / 60, 0.975)
    assert got.warning
    assert not bootstrap_mean(np.random.default_rng(0).normal(size=60), np.arange(60)).warning


def test_a_contrast_equals_a_loop_over_the_draws() -> None:
    generator = np.random.default_rng(3)
    first, second = generator.integers(0, 7, 30), generator.integers(0, 5, 12)
    x, y = generator.normal(size=30), generator.normal(size=12)
    found = bootstrap_contrast(lambda a, b: (a @ x) / a.sum(-1) - (b @ y) / b.sum(-1), first, second, draws=200, seed=4)
    draws = [draw_patients(names, draws=200, seed=seed) for names, seed in ((first, 4), (second, 5))]
    values = []
    for number in range(200):
        rows = [
            np.concatenate([np.repeat(np.flatnonzero(owner == name), count) for name, count in zip(*pair, strict=True)])
            for owner, pair in zip((first, second), [(names, times[number]) for names, _, times in draws], strict=True)
        ]
        values.append(x[rows[0]].mean() - y[rows[1]].mean())
    assert found.value == pytest.approx(x.mean() - y.mean())
    owner = np.concatenate([first, 100 + second])
    spread = corrected(found.value, np.array(values), owner=owner)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(spread, (0.025, 0.975))))
    assert (found.count, found.patients) == (42, len(set(first)) + len(set(second)))


def test_patients_of_equal_names_are_different_ones() -> None:
    found = bootstrap_contrast(lambda a, b: a[:, 0] - b[:, 0], ["p", "q"], ["p", "q"], draws=300)
    assert found.patients == 4
    assert found.low < 0 < found.high


def test_undefined_draws_leave_no_interval() -> None:
    found = bootstrap_contrast(lambda a, b: np.full(len(a), np.nan), ["p"], ["q"], draws=10)
    assert np.isnan(found.value)
    assert np.isnan(found.low)


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (lambda: bootstrap_mean([], []), "at least one row"),
        (lambda: bootstrap_contrast(lambda a, b: a.sum(-1), ["p"], []), "at least one row"),
        (lambda: bootstrap_difference([1.0, 2.0], [1.0], ["a", "b"]), r"expected \(N,\) for all"),
        (lambda: draw_patients(["a"], draws=0), "draws is 0"),
        (lambda: bootstrap_rows(np.ones((3, 4)), ["a", "b"], lambda sums: sums[:, 0]), r"expected \(2, K\)"),
    ],
)
def test_bad_input_gets_its_sentence(refused: Callable[[], object], words: str) -> None:
    with pytest.raises(ShapeError, match=words):
        refused()
