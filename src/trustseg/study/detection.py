"""How well a score tells two kinds of items apart, from counts alone: AUROC, AUPR and FPR95, in NumPy."""

import numpy as np
from numpy.typing import ArrayLike

from trustseg.study.rankings import Floats, cumulated, divided

__all__ = ["auroc", "auroc_of_blocks", "average_precision_of_blocks", "fpr_at_tpr_of_blocks"]


def auroc(negative: ArrayLike, positive: ArrayLike) -> float:
    """Return the chance that a positive scores above a negative, ties counting half.

    Args:
        negative: scores of the negatives (N,), finite.
        positive: scores of the positives (M,), finite.

    Returns:
        In [0, 1]; NaN when one of the two is empty.

    Example:
        >>> auroc([0.1, 0.2], [0.2, 0.3])
        0.875
    """
    low, high = np.sort(np.asarray(negative, np.float64)), np.asarray(positive, np.float64)
    below = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(divided(below.sum() / 2.0, low.size * high.size))


def auroc_of_blocks(negative: ArrayLike, positive: ArrayLike) -> Floats:
    """Return the chance that a positive scores above a negative, ties counting half.

    Args:
        negative: negatives in each block of equal scores (..., K), blocks in rising order of the score, >= 0.
        positive: positives in each block (..., K), >= 0.

    Returns:
        (...) in [0, 1]; NaN unless there is a positive and a negative.

    Example:
        >>> float(auroc_of_blocks([1, 1, 0], [0, 1, 1]))
        0.875
    """
    misses, hits, below, _ = cumulated(negative, positive)
    return divided((hits * (below + misses / 2)).sum(-1), hits.sum(-1) * misses.sum(-1))


def average_precision_of_blocks(negative: ArrayLike, positive: ArrayLike) -> Floats:
    """Return the area under the precision-recall curve (AUPR) without interpolation; arguments as above.

    Returns:
        (...) in (0, 1]; NaN without a positive. A useless score gives the share of positives.

    Example:
        >>> round(float(average_precision_of_blocks([0, 1, 0], [1, 0, 1])), 4)
        0.8333

    Reference:
        Davis and Goadrich, "The Relationship Between Precision-Recall and ROC Curves", ICML 2006, section 4.
    """
    misses, hits, below, found_below = cumulated(negative, positive)
    found = hits.sum(-1, keepdims=True) - found_below
    taken = found + misses.sum(-1, keepdims=True) - below
    return divided((hits * found / np.maximum(taken, 1)).sum(-1), hits.sum(-1))


def fpr_at_tpr_of_blocks(negative: ArrayLike, positive: ArrayLike, *, tpr: float = 0.95) -> Floats:
    """Return the share of negatives above the highest threshold that finds the share ``tpr`` of the positives.

    Args:
        negative: negatives in each block of equal scores (..., K), blocks in rising order of the score, >= 0.
        positive: positives in each block (..., K), >= 0.
        tpr: true-positive rate to reach, in (0, 1].

    Returns:
        (...) in [0, 1]; NaN unless there is a positive and a negative.

    Example:
        >>> float(fpr_at_tpr_of_blocks([1, 0, 1, 0], [0, 1, 0, 1]))
        0.5

    Reference:
        Liang et al., ICLR 2018, arXiv:1706.02690, section 4.3.
    """
    misses, hits, below, found_below = cumulated(negative, positive)
    total = hits.sum(-1, keepdims=True)
    found = total - found_below
    # The last block from below that still leaves enough positives at or above it, up to the rounding of the product.
    enough = (found >= tpr * total * (1 - 1e-12)) & (total > 0)
    wrong = np.where(enough, misses.sum(-1, keepdims=True) - below, np.inf).min(-1, initial=np.inf)
    return divided(np.where(np.isfinite(wrong), wrong, np.nan), misses.sum(-1))
