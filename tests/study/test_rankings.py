"""Rankings against enumeration of every tie order and worked numbers."""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike, NDArray
from tests.vectors import load_vectors

from trustseg.metrics import scores_from_histogram
from trustseg.metrics import undetected_harm as undetected_harm_of_tensors
from trustseg.statistics import spearman
from trustseg.study.detection import auroc
from trustseg.study.rankings import (
    augrc,
    aurc,
    ause,
    nause,
    oracle_aurc,
    risk_curve,
    spearman_of_blocks,
    undetected_harm,
)

SCORES: dict[str, Callable[[ArrayLike, ArrayLike], NDArray[np.float64]]] = {
    "aurc": aurc,
    "augrc": augrc,
    "ause": ause,
    "nause": nause,
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


def _assert_same_in_both(count: np.ndarray, error: np.ndarray) -> None:
    """Hold the scores of a histogram of 0/1 errors against those of trustseg.metrics, which work on tensors."""
    expected = scores_from_histogram(torch.from_numpy(count), torch.from_numpy(error))
    for name, score in SCORES.items():
        wanted = float(getattr(expected, name))
        assert float(score(count, error)) == pytest.approx(wanted, rel=1e-10, abs=1e-13, nan_ok=True), name


@pytest.mark.parametrize("seed", range(20))
def test_histograms_with_ties_score_as_in_metrics(seed: int) -> None:
    generator = np.random.default_rng(seed)
    count = generator.integers(0, generator.choice([2, 5, 1000]), generator.integers(1, 60))
    _assert_same_in_both(count, generator.binomial(count, generator.random(count.size)))


@pytest.mark.parametrize(("count", "wrong"), [([0], [0]), ([1], [0]), ([1], [1]), ([5], [5]), ([0, 9], [0, 4])])
def test_edges_score_as_in_metrics(count: list[int], wrong: list[int]) -> None:
    _assert_same_in_both(np.asarray(count), np.asarray(wrong))


def _blocks(uncertainty: list[float], error: list[float]) -> tuple[np.ndarray, np.ndarray]:
    _, block = np.unique(uncertainty, return_inverse=True)
    return np.bincount(block), np.bincount(block, error)


def test_golden_literals_with_ties() -> None:
    """The cases of 0/1 errors with ties that trustseg.metrics is held against, worked out in exact arithmetic."""
    blocks = _blocks([0.0, 0.0, 0.0, 0.2, 0.2, 0.7], [0, 1, 0, 1, 0, 1])
    wanted = (0.37916666666666665, 0.2361111111111111, 0.375, 0.6081081081081081)
    assert [float(score(*blocks)) for score in (aurc, augrc, ause, nause)] == pytest.approx(wanted, rel=1e-12)
    one = _blocks([0.5] * 4, [1, 1, 0, 0])
    wanted = (0.5, 0.3125, 0.5833333333333334, 1.0)
    assert [float(score(*one)) for score in (aurc, augrc, ause, nause)] == pytest.approx(wanted, rel=1e-12)


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


def test_spearman_of_blocks_equals_spearman_of_repeated_items() -> None:
    generator = np.random.default_rng(2)
    first, second, times = (generator.integers(0, high, 30) for high in (6, 8, 4))
    found = spearman_of_blocks(first, second, times)
    assert found == pytest.approx(spearman(np.repeat(first, times), np.repeat(second, times)), rel=1e-12)
    assert np.isnan(spearman_of_blocks([0, 0], [0, 1], [1, 1]))
    assert np.isnan(spearman_of_blocks([0, 1], [0, 1], [0, 0]))
    assert np.isnan(spearman_of_blocks([], [], []))


@pytest.mark.parametrize("threshold", [-np.inf, 0.0, 0.25, 0.5, np.inf])
def test_undetected_harm_equals_that_on_tensors(threshold: float) -> None:
    generator = np.random.default_rng(0)
    clean, dice, scores = generator.integers(0, 5, (3, 200)) / 4  # ties with the threshold, falls of exactly the drop
    empty, area = generator.random(200) < 0.3, generator.integers(0, 4, 200) / 200
    found = undetected_harm(clean, dice, scores, empty, area, threshold=threshold, drop=0.25)
    tensors = [torch.from_numpy(part) for part in (clean, dice, scores, empty, area)]
    expected = undetected_harm_of_tensors(*tensors, threshold=threshold, drop=0.25)
    assert found.tolist() == expected.tolist()


def test_harm_with_an_unknown_score_is_reviewed() -> None:
    assert not undetected_harm([0.9], [0.1], [np.nan], [False], [0.0], threshold=np.inf).any()
    assert undetected_harm([np.nan], [0.0], [0.1], [True], [0.01], threshold=0.2).all()
