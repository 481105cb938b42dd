"""Formulas on counts: arrays and tensors give the same numbers, each of its own kind, and edges are undefined."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from trustseg.errors import ConfigError, ShapeError
from trustseg.metrics import (
    augrc_from_counts,
    aurc_from_counts,
    auroc_from_counts,
    ause_from_counts,
    average_precision_from_counts,
    calibration_error_from_counts,
    error_of_kept,
    fpr_at_tpr_from_counts,
    nause_from_counts,
    undetected_harm,
)

Score = Callable[..., Any]
OF_BLOCKS: tuple[Score, ...] = (
    aurc_from_counts,
    augrc_from_counts,
    ause_from_counts,
    nause_from_counts,
    auroc_from_counts,
    average_precision_from_counts,
    fpr_at_tpr_from_counts,
)


def assert_arrays_equal_tensors(score: Score, *arrays: np.ndarray, **options: object) -> None:
    """Hold what a function makes of arrays against what it makes of tensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = score(*arrays, **options)
    expected = score(*map(torch.from_numpy, arrays), **options)
    assert isinstance(expected, torch.Tensor)
    assert not isinstance(found, torch.Tensor)
    assert expected.dtype == torch.float64
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("score", OF_BLOCKS, ids=lambda score: score.__name__)
@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (5, 0), (3, 40), (2, 3, 9)])
def test_blocks_of_arrays_are_those_of_tensors(score: Score, shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(len(shape))
    for most in (0, 1, 3, 1000):
        counts = generator.integers(0, most + 1, shape)
        for share in (0.0, 0.4, 1.0):
            assert_arrays_equal_tensors(score, counts, generator.binomial(counts, share))


def test_bins_of_arrays_are_those_of_tensors() -> None:
    counts = np.random.default_rng(0).integers(0, 4, (3, 15, 1))
    bins = np.concatenate([counts, counts * 0.3, counts // 2], -1)
    assert_arrays_equal_tensors(calibration_error_from_counts, bins)
    assert_arrays_equal_tensors(calibration_error_from_counts, np.zeros((15, 3)))


def test_other_arguments_of_arrays_are_those_of_tensors() -> None:
    generator = np.random.default_rng(1)
    counts = generator.integers(0, 5, 30)
    errors = counts * generator.random(30)
    order = np.argsort(errors / np.maximum(counts, 1))
    assert_arrays_equal_tensors(error_of_kept, counts, errors, generator.uniform(0.1, counts.sum(), 20))
    assert_arrays_equal_tensors(fpr_at_tpr_from_counts, counts, counts // 2, tpr=0.5)
    for score in (ause_from_counts, nause_from_counts):
        found = score(counts, errors, oracle=(counts[order], errors[order]))
        items, sums, best, least = (torch.from_numpy(part) for part in (counts, errors, counts[order], errors[order]))
        assert float(found) == pytest.approx(float(score(items, sums, oracle=(best, least))), rel=1e-12)


@pytest.mark.parametrize("threshold", [-np.inf, 0.0, 0.25, np.inf])
def test_harm_in_arrays_is_that_in_tensors(threshold: float) -> None:
    generator = np.random.default_rng(0)
    clean, dice, scores = generator.integers(0, 5, (3, 200)) / 4  # ties with the threshold, falls of exactly the drop
    given = (clean, dice, scores, generator.random(200) < 0.3, generator.integers(0, 4, 200) / 200)
    found = undetected_harm(*given, threshold=threshold, drop=0.25)
    expected = undetected_harm(*map(torch.from_numpy, given), threshold=threshold, drop=0.25)
    assert (found.dtype, found.tolist()) == (np.bool_, expected.tolist())


def test_gradients_are_left_behind() -> None:
    counts, errors = (torch.ones(3, requires_grad=True) for _ in range(2))
    for score in OF_BLOCKS:
        assert not score(counts, errors).requires_grad
    half = torch.full((2,), 0.5, requires_grad=True)
    assert undetected_harm(half + 0.4, half, half, half > 1, half, threshold=1.0).tolist() == [True, True]


def test_what_does_not_fit_is_refused() -> None:
    for score in OF_BLOCKS:
        with pytest.raises(ShapeError, match=r"\(2,\) and \(3,\)"):
            score(np.ones(2), np.ones(3))
    with pytest.raises(ShapeError, match="more errors than items"):
        nause_from_counts(np.array([1.0]), np.array([1.5]))
    with pytest.raises(ConfigError, match="tpr"):
        fpr_at_tpr_from_counts(np.ones(2), np.ones(2), tpr=0.0)


def test_auroc_and_augrc_agree() -> None:
    """AUGRC = r(1 - r)(1 - AUROC) + r^2 / 2 + r / (2N) for 0/1 errors: a cross-check of two functions."""
    generator = np.random.default_rng(1)
    score, wrong = generator.integers(0, 5, 40), generator.random(40) < 0.3
    count = np.bincount(score, minlength=5)
    area = auroc_from_counts(count, np.bincount(score, wrong, 5))
    rate = wrong.mean()
    expected = rate * (1 - rate) * (1 - area) + rate**2 / 2 + rate / 80
    assert augrc_from_counts(count, np.bincount(score, wrong, 5)) == pytest.approx(expected, rel=1e-12)
