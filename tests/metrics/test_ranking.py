"""Rankings against enumeration of every tie order and worked numbers."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.vectors import load_vectors

from trustseg.metrics.counts import auroc_from_counts
from trustseg.metrics.ranking import augrc_from_counts, aurc_from_counts, ause_from_counts, nause_from_counts

SCORES: dict[str, Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]] = {
    "aurc": aurc_from_counts,
    "augrc": augrc_from_counts,
    "ause": ause_from_counts,
    "nause": nause_from_counts,
}


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


def _blocks(uncertainty: list[float], error: list[float]) -> tuple[np.ndarray, np.ndarray]:
    _, block = np.unique(uncertainty, return_inverse=True)
    return np.bincount(block), np.bincount(block, error)


def test_golden_literals_with_ties() -> None:
    """The cases of 0/1 errors with ties that trustseg.metrics is held against, worked out in exact arithmetic."""
    blocks = _blocks([0.0, 0.0, 0.0, 0.2, 0.2, 0.7], [0, 1, 0, 1, 0, 1])
    wanted = (0.37916666666666665, 0.2361111111111111, 0.375, 0.6081081081081081)
    assert [float(score(*blocks)) for score in SCORES.values()] == pytest.approx(wanted, rel=1e-12)
    one = _blocks([0.5] * 4, [1, 1, 0, 0])
    wanted = (0.5, 0.3125, 0.5833333333333334, 1.0)
    assert [float(score(*one)) for score in SCORES.values()] == pytest.approx(wanted, rel=1e-12)


def test_golden_files() -> None:
    """AURC and AUGRC take any error; AUSE and nAUSE here know the oracle of 0/1 errors only."""
    for case in load_vectors("selective")["ranking"]["cases"]:
        blocks = _blocks(case["uncertainty"], case["error"])
        names = ("aurc", "augrc", "ause", "nause") if set(case["error"]) <= {0, 1} else ("aurc", "augrc")
        for name in names:
            wanted = case["expect"][name]
            assert float(SCORES[name](*blocks)) == pytest.approx(
                np.nan if wanted is None else wanted, rel=1e-9, abs=1e-12, nan_ok=True
            )


def test_worked_example_without_ties() -> None:
    error = _ordered([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], [0, 0, 1, 0, 0, 1, 0, 1])
    count = np.ones(8)
    assert aurc_from_counts(count, error) == pytest.approx(0.22217261904761904, rel=1e-12)
    assert augrc_from_counts(count, error) == pytest.approx(0.15625, rel=1e-12)
    assert ause_from_counts(count, error) == pytest.approx(0.31666666666666665, rel=1e-12)
    assert nause_from_counts(count, error) == pytest.approx(0.43726027397260275, rel=1e-12)


def test_worked_example_with_real_errors() -> None:
    error = _ordered([0.05, 0.3, 0.1, 0.5, 0.2, 0.4], [0.0025, 0.49, 0.01, 0.25, 0.64, 0.16])
    assert aurc_from_counts(np.ones(6), error) == pytest.approx(0.17185416666666667, rel=1e-12)
    assert augrc_from_counts(np.ones(6), error) == pytest.approx(0.12958333333333333, rel=1e-12)
    assert aurc_from_counts(np.ones(6), np.sort(error)) == pytest.approx(0.1021875, rel=1e-12)


@pytest.mark.parametrize("blocks", [[[0, 0, 1, 1]], [[0.2, 0.0], [1.0, 0.5, 0.5]], [[1.0]], [[0], [1, 0, 0], [1, 1]]])
def test_ties_are_averaged_over_every_order(blocks: list[list[float]]) -> None:
    count, error = np.array([len(block) for block in blocks]), np.array([sum(block) for block in blocks])
    wanted = _areas_over_all_orders(blocks)
    assert aurc_from_counts(count, error) == pytest.approx(wanted[0], rel=1e-12)
    assert augrc_from_counts(count, error) == pytest.approx(wanted[1], rel=1e-12)


def test_empty_blocks_and_leading_axes_change_nothing() -> None:
    count, error = np.array([3, 2, 4]), np.array([0, 1, 3])
    wide_count, wide_error = np.array([0, 3, 0, 2, 4, 0]), np.array([0, 0, 0, 1, 3, 0])
    assert aurc_from_counts(wide_count, wide_error) == aurc_from_counts(count, error)
    stacked = nause_from_counts(np.stack([count, count]), np.stack([error, error[::-1]]))
    assert stacked.shape == (2,)
    assert stacked[0] == nause_from_counts(count, error)


def test_undefined_is_nan_never_zero() -> None:
    assert np.isnan(aurc_from_counts(np.array([0, 0]), np.array([0, 0])))
    assert np.isnan(ause_from_counts(np.array([2, 2]), np.array([0, 0])))
    assert np.isnan(nause_from_counts(np.array([2, 2]), np.array([0, 0])))
    assert np.isnan(nause_from_counts(np.array([2, 2]), np.array([2, 2])))
    assert ause_from_counts(np.array([2, 2]), np.array([2, 2])) == pytest.approx(0.0, abs=1e-12)


def test_auroc_and_augrc_agree() -> None:
    """AUGRC = r(1 - r)(1 - AUROC) + r^2 / 2 + r / (2N) for 0/1 errors: a cross-check of two functions."""
    generator = np.random.default_rng(1)
    score, wrong = generator.integers(0, 5, 40), generator.random(40) < 0.3
    count = np.bincount(score, minlength=5)
    area = auroc_from_counts(count, np.bincount(score, wrong, 5))
    rate = wrong.mean()
    expected = rate * (1 - rate) * (1 - area) + rate**2 / 2 + rate / 80
    assert augrc_from_counts(count, np.bincount(score, wrong, 5)) == pytest.approx(expected, rel=1e-12)
