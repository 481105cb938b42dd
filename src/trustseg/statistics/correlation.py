"""Rank correlation, whole and partial."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from trustseg.statistics.drawing import as_columns

__all__ = ["spearman", "spearman_of_blocks"]


def spearman(x: ArrayLike, y: ArrayLike, *, given: ArrayLike | None = None) -> float:
    """Return Spearman's rank correlation of x (N,) and y (N,), ties at their mean rank; rows with a NaN are left out.

    It is NaN if undefined: fewer than two rows, a constant, or nothing left once ``given`` is held.

    Args:
        given: a third value (N,) to hold constant, e.g. the predicted area, for the partial rank correlation.

    Example:
        >>> round(spearman([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]), 3)
        0.8

    Reference:
        Partial correlation: Kendall and Stuart, "The Advanced Theory of Statistics", volume 2, chapter 27, on ranks.
    """
    columns = np.stack(as_columns(x, x, y, *([] if given is None else [given])))
    columns = columns[:, ~np.isnan(columns).any(axis=0)]
    if columns.shape[1] < 2 or bool((columns == columns[:, :1]).all(axis=1).any()):
        return float("nan")
    correlation = np.corrcoef(stats.rankdata(columns, axis=1))
    if given is None:
        return float(correlation[0, 1])
    with_x, with_y = correlation[0, 2], correlation[1, 2]
    left = (1 - with_x**2) * (1 - with_y**2)
    if left < 1e-12:  # x or y has the ranks of `given`: nothing is left to correlate
        return float("nan")
    return float(np.clip((correlation[0, 1] - with_x * with_y) / np.sqrt(left), -1, 1))


def spearman_of_blocks(first: ArrayLike, second: ArrayLike, times: ArrayLike) -> float:
    """Return Spearman's rank correlation of items that occur several ``times`` (N,); NaN if they share one value.

    The same as repeating each item and ranking anew, without the sorting: a bootstrap needs it thousands of times.

    Args:
        first: rank of each item's first value among the distinct first values (N,), whole numbers >= 0.
        second: likewise for the second value (N,).

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
