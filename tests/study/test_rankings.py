"""Rankings against enumeration of every tie order and worked numbers."""

from itertools import permutations

import numpy as np
import pytest

from trustseg.study.rankings import augrc, aurc, auroc, ause, nause, oracle_aurc, risk_curve, spearman_of_blocks
from trustseg.study.statistics import spearman


def _ordered(uncertainty: list[float], error: list[float]) -> np.ndarray:
    return np.asarray(error, float)[np.argsort(uncertainty)]


def _areas_over_all_orders(blocks: list[list[float]]) -> tuple[float, float]:
    """AURC and AUGRC averaged over every order inside the blocks, by brute force."""
    orders: list[tuple[float, ...]] = [()]
    for block in blocks:
        orders = [head + tail for head in orders for tail in permutations(block)]
    cumulative = np.cumsum(np.array(orders), axis=1)
    ranks = np.arange(1, cumulative.shape[1] + 1)
    return float((cumulative / ranks).mean()), float((cumulative / ranks[-1]).mean())


def test_worked_example_without_ties() -> None:
    error = _ordered([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], [0, 0, 1, 0, 0, 1, 0, 1])
    count = np.ones(8)
    assert aurc(count, error) == pytest.approx(0.22217261904761904, rel=1e-12)
    assert augrc(count, error) == pytest.approx(0.15625, rel=1e-12)
    assert oracle_aurc(8, 3) == pytest.approx(0.10342261904761904, rel=1e-12)
    assert ause(count, error) == pytest.approx(0.31666666666666665, rel=1e-12)
    assert nause(count, error) == pytest.approx(0.43726027397260275, rel=1e-12)


def test_worked_example_with_real_errors() -> None:
    error = _ordered([0.05, 0.3, 0.1, 0.5, 0.2, 0.4], [0.0025, 0.49, 0.01, 0.25, 0.64, 0.16])
    assert aurc(np.ones(6), error) == pytest.approx(0.17185416666666667, rel=1e-12)
    assert augrc(np.ones(6), error) == pytest.approx(0.12958333333333333, rel=1e-12)
    assert aurc(np.ones(6), np.sort(error)) == pytest.approx(0.1021875, rel=1e-12)


@pytest.mark.parametrize("blocks", [[[0, 0, 1, 1]], [[0.2, 0.0], [1.0, 0.5, 0.5]], [[1.0]], [[0], [1, 0, 0], [1, 1]]])
def test_ties_are_averaged_over_every_order(blocks: list[list[float]]) -> None:
    count, error = [len(block) for block in blocks], [sum(block) for block in blocks]
    wanted = _areas_over_all_orders(blocks)
    assert aurc(count, error) == pytest.approx(wanted[0], rel=1e-12)
    assert augrc(count, error) == pytest.approx(wanted[1], rel=1e-12)


def test_empty_blocks_and_leading_axes_change_nothing() -> None:
    count, error = np.array([3, 2, 4]), np.array([0, 1, 3])
    wide_count, wide_error = np.array([0, 3, 0, 2, 4, 0]), np.array([0, 0, 0, 1, 3, 0])
    assert aurc(wide_count, wide_error) == aurc(count, error)
    stacked = nause(np.stack([count, count]), np.stack([error, error[::-1]]))
    assert stacked.shape == (2,)
    assert stacked[0] == nause(count, error)


def test_undefined_is_nan_never_zero() -> None:
    assert np.isnan(aurc([0, 0], [0, 0]))
    assert np.isnan(ause([2, 2], [0, 0]))
    assert np.isnan(nause([2, 2], [0, 0]))
    assert np.isnan(nause([2, 2], [2, 2]))
    assert ause([2, 2], [2, 2]) == pytest.approx(0.0, abs=1e-12)


def test_one_item() -> None:
    assert aurc([1], [1]) == 1.0
    assert augrc([1], [1]) == 1.0
    coverage, risk = risk_curve([1], [0.25])
    assert (coverage.tolist(), risk.tolist()) == ([1.0], [0.25])


def test_area_under_the_risk_curve_is_aurc_without_ties() -> None:
    error = np.random.default_rng(0).random(50)
    _, risk = risk_curve(np.ones(50), error)
    assert risk.mean() == pytest.approx(float(aurc(np.ones(50), error)), rel=1e-12)


def test_auroc_and_augrc_agree() -> None:
    """AUGRC = r(1 - r)(1 - AUROC) + r^2 / 2 + r / (2N) for 0/1 errors: a cross-check of two functions."""
    generator = np.random.default_rng(1)
    score, wrong = generator.integers(0, 5, 40), generator.random(40) < 0.3
    count = np.bincount(score, minlength=5)
    area = auroc(score[~wrong], score[wrong])
    rate = wrong.mean()
    expected = rate * (1 - rate) * (1 - area) + rate**2 / 2 + rate / 80
    assert augrc(count, np.bincount(score, wrong, 5)) == pytest.approx(expected, rel=1e-12)


def test_auroc_of_nothing_is_nan() -> None:
    assert np.isnan(auroc([], [1.0]))
    assert auroc([0.0], [0.0]) == 0.5


def test_spearman_of_blocks_equals_spearman_of_repeated_items() -> None:
    generator = np.random.default_rng(2)
    first, second, times = (generator.integers(0, high, 30) for high in (6, 8, 4))
    found = spearman_of_blocks(first, second, times)
    assert found == pytest.approx(spearman(np.repeat(first, times), np.repeat(second, times)), rel=1e-12)
    assert np.isnan(spearman_of_blocks([0, 0], [0, 1], [1, 1]))
    assert np.isnan(spearman_of_blocks([0, 1], [0, 1], [0, 0]))
    assert np.isnan(spearman_of_blocks([], [], []))
