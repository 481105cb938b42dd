"""The ratio of two sums over rows, on all rows and in each draw of patients."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trustseg.statistics.drawing import draw_patients
from trustseg.statistics.interval import t_quantile

__all__ = ["RatioDraws", "draw_ratio", "studentised"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class RatioDraws(NamedTuple):
    """A ratio of sums on all rows and in each draw (D,), and what it was made of.

    ``above`` and ``below`` are sums by patient (P,), ``times`` how often each is drawn (D, P), ``rows`` the patient of
    each row that is defined.
    """

    value: float
    drawn: Floats
    above: Floats
    below: Floats
    times: Floats
    rows: Ints
    undefined: int


def draw_ratio(numerator: Floats, denominator: Floats, patients: ArrayLike, draws: int, seed: int) -> RatioDraws:
    """Return the ratio of the sums of two columns (N,); rows in which either is NaN are left out."""
    names, owner, multiplicities = draw_patients(patients, draws, seed)
    known = ~(np.isnan(numerator) | np.isnan(denominator))
    rows = owner[known]
    sums = [np.bincount(rows, part[known], minlength=len(names)) for part in (numerator, denominator)]
    above, below = (part.astype(np.float64, copy=False) for part in sums)
    times = multiplicities.astype(np.float64)  # products of whole numbers are slow
    value, drawn = float(_divide(above.sum(), below.sum())), _divide(times @ above, times @ below)
    return RatioDraws(value, drawn, above, below, times, rows, int((~known).sum()))


def studentised(sums: RatioDraws) -> Floats:
    """Return draws whose percentiles are the bootstrap-t interval of a ratio of sums over patients.

    A draw in which few large values are missing is too low and, at once, seems too exact: percentiles do not see that.

    Reference:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 12.5. Deviation: no draw counts for more
        standard errors than the t quantile with one degree of freedom.
    """
    value, drawn, above, below, times, *_ = sums
    own = np.sqrt(np.sum((above - value * below) ** 2)) / below.sum()
    squares = times @ above**2 - 2 * drawn * (times @ (above * below)) + drawn**2 * (times @ below**2)
    errors = np.sqrt(np.maximum(squares, 0)) / (times @ below)
    limit = t_quantile(1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        away = np.clip((drawn - value) / errors, -limit, limit)
    return np.asarray(value - own * np.where(np.isnan(away) & ~np.isnan(drawn), 0.0, away))


def _divide(above: ArrayLike, below: ArrayLike) -> Floats:
    """Return the quotient, NaN where it is not finite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = np.true_divide(above, below)
    return np.where(np.isfinite(quotient), quotient, np.nan)
