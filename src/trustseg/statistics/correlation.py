"""Rank correlation, whole and partial."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from trustseg.statistics.bootstrap import as_columns

__all__ = ["spearman"]


def spearman(x: ArrayLike, y: ArrayLike, *, given: ArrayLike | None = None) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; rows with a NaN are left out.

    Args:
        x: (N,).
        y: (N,).
        given: a third value (N,) to hold constant, e.g. the predicted area, for the partial rank correlation.

    Returns:
        A number in [-1, 1]; NaN if undefined: fewer than two rows, a constant, or nothing left once ``given`` is held.

    Raises:
        ShapeError: if the lengths differ.

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
