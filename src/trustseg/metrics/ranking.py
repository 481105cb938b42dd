"""The formulas of ranking, each written once: on counts, as NumPy arrays or tensors.

Blocks of items as in ``counts`` go from the surest to the least sure; ``errors`` is the sum of the errors in each block
(..., K), >= 0. Over the k of one block

    n items of mean error e, after n0 items of total error c0:   sum of c_k / k = n e + (c0 - e n0) (H_{n0+n} - H_{n0})
                                                                 sum of c_k     = n c0 + e n (n + 1) / 2

with c_k the expected error of the k surest items and H the harmonic numbers.
"""

from dataclasses import dataclass
from typing import Generic

import numpy as np
from scipy import special

from trustseg.errors import ShapeError
from trustseg.metrics.counts import Array, in_float64, library_of, ratio

__all__ = [
    "RankScores",
    "SparsificationCurve",
    "augrc_from_counts",
    "aurc_from_counts",
    "ause_from_counts",
    "error_of_kept",
    "filled_blocks",
    "nause_from_counts",
    "oracle_blocks",
    "scores_from_counts",
    "sparsification_from_counts",
]


@dataclass(frozen=True, slots=True)
class RankScores(Generic[Array]):
    """Every score of one ranking, or of several; NaN where undefined.

    Attributes:
        count: items N.
        mean_error: mean error of all items.
        aurc: area under the risk-coverage curve, mean over k of the mean error of the k surest.
        aurc_optimal: AURC of the oracle, which ranks by the error itself.
        e_aurc: ``aurc - aurc_optimal``.
        augrc: area under the generalised risk-coverage curve, mean over k of (total error of the k surest) / N.
        augrc_optimal: AUGRC of the oracle.
        ause: ``e_aurc / mean_error``; undefined without errors.
        ause_random: AUSE of a random ranking, ``1 - aurc_optimal / mean_error``.
        nause: ``ause / ause_random``: 0 oracle, 1 random, above 1 worse; undefined when all errors are equal.
    """

    count: Array
    mean_error: Array
    aurc: Array
    aurc_optimal: Array
    e_aurc: Array
    augrc: Array
    augrc_optimal: Array
    ause: Array
    ause_random: Array
    nause: Array


def aurc_from_counts(counts: Array, errors: Array) -> Array:
    """Return the area under the risk-coverage curve: the mean over k of the mean error of the k surest items.

    Reference:
        Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017, arXiv:1705.08500.
    """
    xp, items, wrong = in_float64(counts, errors)
    upto = items.cumsum(-1)
    before = upto - items
    digamma = special.digamma if xp is np else xp.special.digamma
    harmonic = xp.diff(digamma(xp.concatenate((before[..., :1], upto), -1) + 1))
    risks = wrong + (wrong.cumsum(-1) - wrong - ratio(xp, wrong, items, empty=0.0) * before) * harmonic
    area: Array = ratio(xp, risks.sum(-1), items.sum(-1))
    return area


def augrc_from_counts(counts: Array, errors: Array) -> Array:
    """Return the mean over k of (total error of the k surest items) / N.

    Reference:
        Traub et al., "Overcoming Common Flaws in the Evaluation of Selective Classification Systems", NeurIPS 2024,
        arXiv:2407.01032, equation 5.
    """
    xp, items, wrong = in_float64(counts, errors)
    totals = items * (wrong.cumsum(-1) - wrong) + wrong * (items + 1) / 2
    area: Array = ratio(xp, totals.sum(-1), items.sum(-1) ** 2)
    return area


def ause_from_counts(counts: Array, errors: Array, *, oracle: tuple[Array, Array] | None = None) -> Array:
    """Return the area between the sparsification curves of the uncertainty and of the oracle.

    Arguments as ``scores_from_counts``, source as ``trustseg.metrics.ause``.
    """
    return scores_from_counts(counts, errors, oracle=oracle).ause


def nause_from_counts(counts: Array, errors: Array, *, oracle: tuple[Array, Array] | None = None) -> Array:
    """Return AUSE over the AUSE of a random ranking; arguments as ``scores_from_counts``."""
    return scores_from_counts(counts, errors, oracle=oracle).nause


def scores_from_counts(counts: Array, errors: Array, *, oracle: tuple[Array, Array] | None = None) -> RankScores[Array]:
    """Return every score of a ranking.

    Args:
        oracle: counts and errors (..., L) of the same items in blocks of rising error; None if every error is 0 or 1,
            where the oracle follows from their number. A block with more errors than items is then a ShapeError.

    Example:
        >>> scores = scores_from_counts(np.array([4, 3, 1]), np.array([1, 1, 1]))
        >>> round(float(scores.aurc), 6), round(float(scores.ause), 6)
        (0.275645, 0.459259)
    """
    items, wrong = filled_blocks(counts, errors)
    best_items, best_wrong = oracle_blocks(items, wrong) if oracle is None else filled_blocks(*oracle)
    xp = library_of(items)
    count = items.sum(-1)
    mean_error = ratio(xp, wrong.sum(-1), count)
    area, best = aurc_from_counts(items, wrong), aurc_from_counts(best_items, best_wrong)
    # With a single distinct error every ranking is the oracle; rounding must not pretend otherwise.
    distinct = (best_items > 0).sum(-1) > 1
    excess = xp.where(distinct | (count == 0), area - best, 0.0)
    return RankScores(
        count=count,
        mean_error=mean_error,
        aurc=area,
        aurc_optimal=best,
        e_aurc=excess,
        augrc=augrc_from_counts(items, wrong),
        augrc_optimal=augrc_from_counts(best_items, best_wrong),
        ause=ratio(xp, excess, mean_error),
        ause_random=1 - ratio(xp, best, mean_error),
        nause=ratio(xp, excess, xp.where(distinct, mean_error - best, xp.nan)),
    )


@dataclass(frozen=True, slots=True)
class SparsificationCurve(Generic[Array]):
    """Mean error of the rest over the mean error of all, against the share removed; each (K,) float64.

    Attributes:
        removed: share of least sure items removed, rising from 0.
        model: removed by uncertainty. The mean of ``model - oracle`` over every item count is AUSE. A random order
            gives 1 everywhere; without any error both curves are NaN.
        oracle: removed by the error itself.
    """

    removed: Array
    model: Array
    oracle: Array


def sparsification_from_counts(
    counts: Array, errors: Array, removed: Array, *, oracle: tuple[Array, Array] | None = None
) -> SparsificationCurve[Array]:
    """Return the sparsification curves of one problem (K,) of ``scores_from_counts``, at shares removed in [0, 1)."""
    blocks = filled_blocks(counts, errors)
    best = oracle_blocks(*blocks) if oracle is None else filled_blocks(*oracle)
    xp, count = library_of(removed), blocks[0].sum()
    kept = (1 - removed) * count
    mean_error = ratio(xp, blocks[1].sum(), count)
    model, least = (ratio(xp, error_of_kept(*each, kept) / kept, mean_error) for each in (blocks, best))
    return SparsificationCurve(removed=removed, model=model, oracle=least)


def filled_blocks(counts: Array, errors: Array) -> tuple[Array, Array]:
    """Return counts and errors (..., K), in float64, without the blocks that are empty in every problem."""
    _, items, wrong = in_float64(counts, errors)
    filled = items > 0
    while filled.ndim > 1:
        filled = filled.any(0)
    return items[..., filled], wrong[..., filled]


def oracle_blocks(counts: Array, errors: Array) -> tuple[Array, Array]:
    """Return the blocks of the oracle of errors of 0 and 1: all right items, then all wrong ones."""
    xp, items, wrong = in_float64(counts, errors)
    if bool((wrong > items).any()):
        raise ShapeError("a bin has more errors than items; pass oracle=error_histogram(error, error)")
    total = wrong.sum(-1)
    return xp.stack((items.sum(-1) - total, total), -1), xp.stack((total * 0, total), -1)


def error_of_kept(counts: Array, errors: Array, kept: Array) -> Array:
    """Return the expected total error (M,) of the ``kept`` (M,) surest items of one problem, 0 < kept <= N."""
    xp, items, wrong = in_float64(counts, errors)
    zero = items.sum(-1)[None] * 0
    upto, spent = (xp.concatenate((zero, part.cumsum(-1))) for part in (items, wrong))
    block = xp.searchsorted(upto, kept).clip(None, len(items)) - 1
    total: Array = spent[block] + (kept - upto[block]) * ratio(xp, wrong, items)[block]
    return total
