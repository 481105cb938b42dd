"""How well an uncertainty ranks errors, from counts alone: AURC, AUGRC, AUSE, nAUSE and their curves, in NumPy.

Items are given as blocks ordered from the surest to the least sure: ``count`` items in a block share one uncertainty,
and ``error`` is the sum of their errors. Inside a block every order is equally likely, so ties are averaged exactly.
All functions work on the last axis and take any number of leading axes, which is how a bootstrap asks for 2000 at once.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma

__all__ = [
    "Floats",
    "augrc",
    "aurc",
    "ause",
    "cumulated",
    "divided",
    "nause",
    "oracle_aurc",
    "risk_curve",
    "spearman_of_blocks",
    "undetected_harm",
]

Floats = NDArray[np.float64]


def aurc(count: ArrayLike, error: ArrayLike) -> Floats:
    """Return the area under the risk-coverage curve: the mean over k of the mean error of the k surest items.

    Args:
        count: items in each block (..., K), from the surest block to the least sure, >= 0.
        error: sum of the errors in each block (..., K), >= 0.

    Returns:
        (...) in [0, largest error]; NaN without items.

    Example:
        >>> float(aurc([1, 1, 1, 1], [0, 0, 0, 1]))
        0.0625

    Reference:
        Geifman & El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017, arXiv:1705.08500.
        Ties are averaged: over a block of n items after n0 items with error c0, the risks sum to
        n e + (c0 - e n0)(H(n0 + n) - H(n0)), where e is the mean error of the block and H the harmonic numbers.
    """
    counts, errors, before, spent = cumulated(count, error)
    harmonic = digamma(before + counts + 1.0) - digamma(before + 1.0)
    return divided((errors + (spent - _mean_error(counts, errors) * before) * harmonic).sum(-1), counts.sum(-1))


def augrc(count: ArrayLike, error: ArrayLike) -> Floats:
    """Return the area under the generalised risk-coverage curve: the mean over k of (errors of the k surest) / N.

    Args:
        count: items in each block (..., K), from the surest block to the least sure, >= 0.
        error: sum of the errors in each block (..., K), >= 0.

    Returns:
        (...) in [0, largest error]; NaN without items.

    Example:
        >>> float(augrc([1, 1, 1, 1], [0, 0, 0, 1]))
        0.0625

    Reference:
        Traub et al., "Overcoming Common Flaws in the Evaluation of Selective Classification Systems", NeurIPS 2024,
        arXiv:2407.01032, equation 5; ties averaged.
    """
    counts, errors, _, spent = cumulated(count, error)
    return divided((counts * spent + errors * (counts + 1.0) / 2.0).sum(-1), counts.sum(-1) ** 2)


def oracle_aurc(items: ArrayLike, wrong: ArrayLike) -> Floats:
    """Return the smallest AURC that 0/1 errors allow, in closed form: [m - (N - m)(H(N) - H(N - m))] / N.

    Args:
        items: number of items N (...), >= 0.
        wrong: number of wrong items m (...), in [0, N].

    Returns:
        (...) in [0, 1]; NaN without items.

    Example:
        >>> float(oracle_aurc(4, 1))
        0.0625
    """
    total, errors = np.asarray(items, np.float64), np.asarray(wrong, np.float64)
    right = total - errors
    return divided(errors - right * (digamma(total + 1.0) - digamma(right + 1.0)), total)


def ause(count: ArrayLike, wrong: ArrayLike) -> Floats:
    """Return the area between the sparsification curves of the uncertainty and of an oracle, for 0/1 errors.

    AUSE = (AURC - oracle AURC) / error rate. A random order gives less than 1, and ever less as the error rate grows:
    compare AUSE only at equal error rates.

    Args:
        count: items in each block (..., K), from the surest block to the least sure, >= 0.
        wrong: wrong items in each block (..., K), between 0 and ``count``.

    Returns:
        (...) >= 0 up to rounding; NaN where nothing is wrong.

    Example:
        >>> float(ause([1, 1, 1, 1], [0, 0, 0, 1]))
        0.0

    Reference:
        Ilg et al., "Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow", ECCV 2018, arXiv:1802.07095,
        section 4. Deviation: errors are 0/1 and the curves are divided by the initial error.
    """
    items, errors = np.asarray(count, np.float64).sum(-1), np.asarray(wrong, np.float64).sum(-1)
    return divided((aurc(count, wrong) - oracle_aurc(items, errors)) * items, errors)


def nause(count: ArrayLike, wrong: ArrayLike) -> Floats:
    """Return AUSE divided by the AUSE of a random order: 0 is an oracle, 1 is chance, above 1 is worse than chance.

    Args:
        count: items in each block (..., K), from the surest block to the least sure, >= 0.
        wrong: wrong items in each block (..., K), between 0 and ``count``.

    Returns:
        (...) >= 0 up to rounding; NaN where nothing or everything is wrong.

    Example:
        >>> float(nause([4], [1]))
        1.0
    """
    items, errors = np.asarray(count, np.float64).sum(-1), np.asarray(wrong, np.float64).sum(-1)
    oracle = oracle_aurc(items, errors)
    chance = np.where(errors < items, divided(errors, items) - oracle, 0.0)
    return divided(aurc(count, wrong) - oracle, chance)


def risk_curve(count: ArrayLike, error: ArrayLike) -> tuple[Floats, Floats]:
    """Return coverage and mean error of what is kept when the least sure blocks are removed one after the other.

    Args:
        count: items in each block (K,), from the surest block to the least sure, >= 0.
        error: sum of the errors in each block (K,), >= 0.

    Returns:
        Coverage, increasing in (0, 1], and risk, one value a block that is not empty.

    Example:
        >>> coverage, risk = risk_curve([1, 0, 3], [0, 0, 2])
        >>> coverage.tolist(), risk.tolist()
        ([0.25, 1.0], [0.0, 0.5])
    """
    counts, errors, before, spent = cumulated(count, error)
    kept = (before + counts)[counts > 0]
    return divided(kept, kept[-1:]), divided((spent + errors)[counts > 0], kept)


def spearman_of_blocks(first: ArrayLike, second: ArrayLike, times: ArrayLike) -> float:
    """Return Spearman's rank correlation of items that occur several times, ties at their mean rank.

    The same as repeating each item and ranking anew, without the sorting: what a bootstrap needs thousands of times.

    Args:
        first: place of each item's first value among the distinct first values (N,), whole numbers >= 0.
        second: likewise for the second value (N,).
        times: how often each item occurs (N,), >= 0.

    Returns:
        In [-1, 1]; NaN if all items that occur share one value.

    Example:
        >>> round(spearman_of_blocks([0, 1, 2, 3], [0, 2, 1, 3], [1, 1, 1, 1]), 3)
        0.8
    """
    weights = np.asarray(times, np.float64)
    ranks = []
    for blocks in (np.asarray(first, np.intp), np.asarray(second, np.intp)):
        count = np.bincount(blocks, weights)
        ranks.append((np.cumsum(count) - count / 2)[blocks])
    left, right = (rank - weights @ rank / max(weights.sum(), 1.0) for rank in ranks)
    spread = (weights @ left**2) * (weights @ right**2)
    return float(weights @ (left * right) / np.sqrt(spread)) if spread > 0 else float("nan")


def undetected_harm(
    clean_dice: ArrayLike,
    dice: ArrayLike,
    scores: ArrayLike,
    empty: ArrayLike,
    false_positive_fraction: ArrayLike,
    *,
    threshold: float,
    drop: float = 0.1,
    false_alarm: float = 0.01,
) -> NDArray[np.bool_]:
    """Return which attacked images are harmed while nobody is called to look, as ``trustseg.metrics`` has it.

    Args:
        clean_dice: per-image Dice of the clean images (N,); not read where ``empty``.
        dice: per-image Dice of the attacked images (N,); not read where ``empty``.
        scores: uncertainty of the attacked images (N,), higher = less sure.
        empty: (N,) bool, the reference mask has no foreground.
        false_positive_fraction: share of pixels (N,) wrongly predicted as foreground; read only where ``empty``.
        threshold: the largest score that is kept, above it a case is deferred to a reader; minus infinity defers all.
        drop: smallest fall of Dice that counts as harm, > 0.
        false_alarm: smallest share of pixels that counts as harm, > 0.

    Returns:
        (N,) bool.

    Example:
        >>> undetected_harm([0.9, 0.9], [0.5, 0.5], [0.1, 0.3], [False, False], [0.0, 0.0], threshold=0.2).tolist()
        [True, False]
    """
    fall = np.asarray(clean_dice, np.float64) - np.asarray(dice, np.float64)
    harmed = np.where(empty, np.asarray(false_positive_fraction, np.float64) >= false_alarm, fall >= drop)
    kept = (np.asarray(scores, np.float64) <= threshold) & (threshold > -np.inf)
    return np.asarray(harmed & kept, np.bool_)


def cumulated(count: ArrayLike, error: ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
    """Return counts, errors, and how many items and how much error lie in the surer blocks."""
    counts, errors = np.asarray(count, np.float64), np.asarray(error, np.float64)
    return counts, errors, np.cumsum(counts, -1) - counts, np.cumsum(errors, -1) - errors


def _mean_error(counts: Floats, errors: Floats) -> Floats:
    means: Floats = np.divide(errors, counts, out=np.zeros_like(errors), where=counts > 0)
    return means


def divided(numerator: ArrayLike, denominator: ArrayLike) -> Floats:
    """Return the quotient, NaN where the denominator is 0."""
    above, below = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    quotient: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)
    return quotient
